import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { tellAuditEnd } from './bridge/audit-mark.ts'
import type { Upkeep } from './bridge/chores.ts'
import { Core } from './bridge/core.ts'
import type { MqttStore } from './bridge/mqtt-store.ts'
import { remotePeer } from './bridge/remote-requests.ts'
import type { BridgeSettings, World } from './bridge/settings.ts'
import { joinViews } from './bridge/view.ts'
import { type Broker, createBroker } from './broker/broker.ts'
import type { BrokerLimits } from './broker/limits.ts'
import {
  createPersistence,
  type DropKind,
  type MqttPersistence,
  type PersistenceLimits,
} from './broker/persistence.ts'
import { HomeAssistant, type OpenOutlet } from './homeassistant/home-assistant.ts'
import { fdsOf, type Inherited, NO_SOCKETS } from './host/activation.ts'
import { Certificates } from './host/certificates.ts'
import type { Config } from './host/config.ts'
import { isLoopback } from './host/config-checks.ts'
import type { HostLog } from './host/log.ts'
import { limitedLog } from './host/log-limiter.ts'
import { masterSecret, writeSecret } from './host/secret-file.ts'
import { createHttpCaller } from './http/invoke/caller.ts'
import { createMetrics, type Metrics, type Readings } from './http/metrics.ts'
import { type Phase, readinessOf } from './http/readiness.ts'
import { type HttpLimits, type HttpServer, type Readiness, startHttp } from './http/server.ts'
import { invariant } from './kernel/assert.ts'
import type { Clock } from './kernel/clock.ts'
import { StartError } from './kernel/errors.ts'
import { type Topics, topicsOf } from './protocol/topics.ts'
import { createBackups } from './store/backups.ts'
import { type Database, openDatabase } from './store/database.ts'
import { createMqttStore } from './store/mqtt-store.ts'
import { createStore } from './store/store.ts'
import type { Uplink } from './uplink/uplink.ts'

/**
 * The bridge is a set of pure decisions about limbs, kept in SQLite and spoken over MQTT. Everything that
 * touches the world is an adapter at the edge, named for its technology and handed in here. Data goes one
 * way: bytes, message, decision, commit, publish.
 *
 * This file is the one composition root: it constructs, starts, and stops in reverse.
 */

export interface AppOptions {
  readonly config: Config
  readonly log: HostLog
  readonly clock: Clock
  readonly version?: string
  /** Listening sockets of the service manager's; what is absent the bridge opens itself. */
  readonly inherited?: Inherited | undefined
  /** Of `admin`, at the first start; a new one is made otherwise. */
  readonly adminPassword?: string | undefined
}

export interface RunningBridge {
  readonly mqtt: { readonly host: string; readonly port: number }
  readonly tls: { readonly host: string; readonly port: number } | null
  readonly http: { readonly scheme: 'http' | 'https'; readonly host: string; readonly port: number } | null
  /** Path of the control socket. */
  readonly control: string
  /**
   * Where the first password of `admin` is, if `inFile`; it was made, or given, just now at the `firstStart`. A start
   * that failed after that was the first one all the same.
   */
  readonly adminPassword: { readonly file: string; readonly firstStart: boolean; readonly inFile: boolean }
  /** Reads the certificate files again. Never rejects: a bad new certificate is told, the old one stays. */
  reloadCertificates(): Promise<void>
  /** One line for people: what there is and how it is. */
  status(): string
  /** Resolves when database and broker have answered; rejects when the database says that it cannot be read. */
  probe(): Promise<void>
  /**
   * Takes over the live settings (host/live-settings.ts); the others are looked at when the bridge starts. Called at
   * every reload, whether a setting changed or not: what files they name is to be read again here.
   */
  apply(config: Config): void
  /** Listeners closed, statuses offline, queues drained, database closed. */
  stop(): Promise<void>
}

/** What is constructed is taken down in reverse, also when a later step of the start fails. */
class Teardown {
  readonly #steps: (() => Promise<void> | void)[] = []

  add(step: () => Promise<void> | void): void {
    this.#steps.push(step)
  }

  /** Every step runs; the first failure is thrown after the last one. */
  async run(): Promise<void> {
    const failures: unknown[] = []
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}

/** Database, statuses offline, listeners, `limb/bridge/status` online, ready: in this order. */
export async function startBridge(options: AppOptions): Promise<RunningBridge> {
  const teardown = new Teardown()
  try {
    return await start(options, teardown)
  } catch (error) {
    await teardown.run().catch(() => undefined)
    throw error
  }
}

async function start(options: AppOptions, teardown: Teardown): Promise<RunningBridge> {
  const { config, log, clock, version = '0.0.0', inherited = NO_SOCKETS } = options
  for (const problem of inherited.problems) log.warn({}, problem)
  const topics = topicsOf(config.mqtt.topicRoot)
  const metrics: Metrics = createMetrics({
    version,
    collect: () => ({
      ...readings(core, connected()),
      ...diskReadings(database),
      ...(certificates && { tls: certificates }),
      ...(backups.lastMadeAt !== null && { lastBackupAt: backups.lastMadeAt }),
      uplinks: uplinks.map((uplink) => uplink.readings()),
      queues: {
        queuedMessages: persistence.queued.messages,
        queuedBytes: persistence.queued.bytes,
        storedSessions: persistence.sessions.size,
        retainedMessages: mqttStore.retainedSize(),
        pendingWrites: database.writer.pending,
        waitingMessages: connected().waiting,
      },
    }),
  })
  /** What holds now: a reload replaces it. */
  let held = config
  let phase: Phase = 'starting'

  const database = openDatabase({
    file: config.store.path,
    clock,
    log,
    onCommit: (durationMs, works) => metrics.committed(durationMs, works),
  })
  teardown.add(() => database.close())
  const store = createStore(database)
  teardown.add(() => tellAuditEnd({ store, log }))
  const mqttStore = createMqttStore(database)
  const backups = createBackups({ database, folder: config.backup.folder, clock })
  teardown.add(() => backups.stop())

  let broker: Broker | undefined
  const connected = (): Broker => {
    invariant(broker, 'the broker is used before it is there')
    return broker
  }
  const certificates = await loadCertificates(options)
  if (certificates) teardown.add(() => certificates.stop())
  const uplinks: Uplink[] = []
  const readiness = () =>
    readinessOf({
      phase,
      database: store.health(),
      diskFreeBytes: freeBytes(database),
      connections: total(connected().counters.connections),
      maxConnections: held.mqtt.maxConnections,
    })
  const world: World = {
    clock,
    log,
    counters: metrics,
    topics,
    settings: settingsOf(config, version),
    store,
    publisher: {
      publish: (topic, payload, how) => connected().publisher.publish(topic, payload, how),
      clearRetained: (prefix) => connected().publisher.clearRetained(prefix),
    },
    sessions: { forget: (name) => connected().sessions.forget(name) },
    backups,
    upkeep: {
      ...diskUpkeep(database, mqttStore, topics),
      sweepSessions: (byAge) => sweepSessions(persistence, byAge ? held.mqtt.sessionExpirySeconds : null),
    },
    health: () => ({ ...readiness(), uplinks: uplinks.map((uplink) => uplink.readings()) }),
    invokeOverHttp: {
      master: masterOf(config),
      caller: createHttpCaller({ clock, networks: () => held.invocation.httpNetworks }),
    },
  }
  const core = new Core(world)
  await core.load()
  const adminPassword = await firstStart(core, options)
  await tellAuditEnd(world)
  const storedLimits = persistenceLimits(config, topics)
  const homeAssistant = new HomeAssistant({
    settings: config.homeAssistant,
    version,
    topics,
    registry: core.registry,
    clock,
  })
  const announced = config.homeAssistant.enabled ? announceHere(homeAssistant, world) : undefined
  const view = announced ? joinViews(core.view, announced.view) : core.view

  const dropped = limitedLog(log, clock, { seconds: 10 })
  const persistence = createPersistence({
    store: mqttStore,
    view,
    clock,
    log,
    limits: storedLimits,
    onDropped(kind) {
      metrics.count('messages_dropped', kind)
      dropped.warn(kind, { why: kind }, DROPPED[kind])
    },
  })
  broker = await createBroker({
    topics,
    inbound: core,
    persistence,
    view,
    clock,
    log,
    limits: brokerLimits(config),
    grants: grantsOf(config),
  })
  const running = broker
  teardown.add(() => running.stop())
  running.feed.listen((message) => {
    homeAssistant.heard(message)
    if (announced !== undefined && message.topic === announced.birthTopic) announced.birth(message.payload)
  })
  teardown.add(() => homeAssistant.stop())
  for (const settings of config.uplinks) {
    uplinks.push(await createUplink(settings, world, core, running, homeAssistant))
  }
  teardown.add(async () => {
    await Promise.all(uplinks.map((uplink) => uplink.stop()))
  })
  // Limbs and the bridge itself go offline while those who watch are still connected.
  teardown.add(() => core.stop())

  const control = await openControl(broker, config, inherited)
  const mqtt = await openMqtt(broker, config, inherited)
  const tls = certificates && config.tls.enabled ? await openTls(options, broker, certificates) : null
  const http = config.http.enabled ? await openHttp(options, metrics, broker, readiness, certificates) : null
  if (http) teardown.add(() => http.close())
  // First of all nobody new comes in: nobody is told `online` by a bridge that is about to end.
  teardown.add(() => running.closeListeners())
  if (http && !config.http.tls) refuseOpenPlaintext(http.host, config, 'limb-bridge-http.socket')
  core.ready()
  for (const uplink of uplinks) uplink.start()
  phase = 'running'

  return {
    mqtt,
    tls,
    http: http && { scheme: config.http.tls ? 'https' : 'http', host: http.host, port: http.port },
    control,
    adminPassword,
    reloadCertificates: async () => await certificates?.reload(),
    status: () => statusLine(core, running),
    async probe() {
      await store.read((tx) => tx.principals(null, 1))
      await running.settled()
    },
    apply(next) {
      held = next
      log.setLevel(next.log.level)
      for (const [section, values] of Object.entries(settingsOf(next, version))) {
        // In place: the use cases hold the sections, and look into them when they decide.
        if (typeof values === 'object') Object.assign(world.settings[section as keyof BridgeSettings], values)
      }
      Object.assign(storedLimits, persistenceLimits(next, topics))
      running.setLimits(brokerLimits(next))
      http?.setLimits(httpLimits(next))
    },
    stop() {
      phase = 'stopping'
      return teardown.run()
    },
  }
}

/** Null when nothing listens with TLS. */
async function loadCertificates({ config, log, clock }: AppOptions): Promise<Certificates | null> {
  const { tls, http } = config
  if (!tls.enabled && !(http.enabled && http.tls)) return null
  // The configuration was checked for them.
  const { certFile, keyFile, caFile, crlFile } = tls
  invariant(certFile !== null && keyFile !== null, 'TLS without a certificate')
  return await Certificates.load({ files: { certFile, keyFile, caFile, crlFile }, log, clock })
}

async function openTls(
  { config: { tls, mqtt }, inherited = NO_SOCKETS }: AppOptions,
  broker: Broker,
  certificates: Certificates,
): Promise<RunningBridge['tls']> {
  const fd = fdsOf(inherited, 'mqtts')[0]
  const settings = {
    material: certificates.material,
    minVersion: tls.minVersion,
    asksForCertificate: tls.caFile !== null,
    requiresCertificate: tls.requireClientCertificate,
    handshakeTimeoutMs: mqtt.connectSeconds * 1000,
  }
  const listener = await broker.listenTls(tls.host, tls.port, settings, fd)
  certificates.onChange((material) => listener.setMaterial(material))
  return { host: fd === undefined ? tls.host : listener.host, port: listener.port }
}

/** Copies, because a reload changes them. */
function settingsOf(config: Config, version: string): BridgeSettings {
  const { pairing, presence, policy, lease, invocation, backup, retention } = config
  const signIn = signInSettings(config)
  return structuredClone({ version, pairing, presence, policy, lease, invocation, backup, retention, signIn })
}

/** On the service manager's sockets if there are any; else where the configuration says. The first one is told. */
async function openMqtt(
  broker: Broker,
  config: Config,
  inherited: Inherited,
): Promise<RunningBridge['mqtt']> {
  const fds = fdsOf(inherited, 'mqtt')
  const [first, ...more] = fds
  if (first === undefined) {
    const { port } = await broker.listenTcp(config.mqtt.host, config.mqtt.port)
    return { host: config.mqtt.host, port }
  }
  const listener = await broker.listenInherited(first, false)
  const others = await Promise.all(more.map((fd) => broker.listenInherited(fd, false)))
  for (const { host } of [listener, ...others]) refuseOpenPlaintext(host, config, 'limb-bridge.socket')
  return { host: listener.host, port: listener.port }
}

/** The path of the first one. */
async function openControl(broker: Broker, config: Config, inherited: Inherited): Promise<string> {
  const { socket, mode } = config.control
  const fds = fdsOf(inherited, 'control')
  // Node does not tell the path of an inherited Unix socket; the configuration names it for the command line.
  if (fds.length === 0) await broker.listenUnix(socket, Number.parseInt(mode, 8))
  for (const fd of fds) await broker.listenInherited(fd, true)
  return socket
}

/** The configuration's own addresses are checked when it is read; these come from a socket unit. */
function refuseOpenPlaintext(host: string, config: Config, unit: string): void {
  if (config.mqtt.allowPlaintext || isLoopback(host)) return
  throw new StartError(
    `${unit} listens on ${host}, which others can reach without TLS; set mqtt.allowPlaintext: true if that is meant, ` +
      'or listen on 127.0.0.1',
  )
}

function statusLine(core: Core, broker: Broker): string {
  const sessions = Object.values(broker.counters.sessions).reduce((sum, count) => sum + count, 0)
  const { registry, pending } = core
  return `${registry.online} of ${registry.size} limbs online, ${pending.size} pending, ${sessions} sessions`
}

async function openHttp(
  { config, log, clock, inherited = NO_SOCKETS }: AppOptions,
  metrics: Metrics,
  broker: Broker,
  readiness: () => Readiness,
  certificates: Certificates | null,
): Promise<HttpServer> {
  const { minVersion, requireClientCertificate } = config.tls
  const secure = config.http.tls ? certificates : null
  const http = await startHttp({
    ...config.http,
    tls: secure
      ? { material: secure.material, minVersion, requiresCertificate: requireClientCertificate }
      : undefined,
    ...httpLimits(config),
    inheritedFd: fdsOf(inherited, 'http')[0],
    readiness,
    metrics,
    attach: (stream, peer) => broker.attach(stream, { ...peer, local: false, transport: 'websocket' }),
    log,
    clock,
  })
  secure?.onChange((material) => http.setMaterial(material))
  return http
}

function announceHere(homeAssistant: HomeAssistant, { topics, publisher }: World): OpenOutlet {
  return homeAssistant.open({
    topics,
    commands: true,
    publish: (topic, payload, retain) => publisher.publish(topic, payload, { qos: 1, retain }),
  })
}

/** Home Assistant's principal reads and writes below its own prefix, without a line in `mqtt.grants`. */
function grantsOf({ mqtt, homeAssistant }: Config): Config['mqtt']['grants'] {
  const { enabled, principal, prefix } = homeAssistant
  const own = { to: principal, publish: [`${prefix}/#`], subscribe: [`${prefix}/#`] }
  return enabled ? [...mqtt.grants, own] : mqtt.grants
}

/** The MQTT client is loaded by who has an uplink, and by nobody else. */
async function createUplink(
  settings: Config['uplinks'][number],
  { topics, store, clock, log }: World,
  core: Core,
  { feed }: Broker,
  homeAssistant: HomeAssistant,
): Promise<Uplink> {
  const { Uplink: Client } = await import('./uplink/uplink.ts')
  const outlet = settings.homeAssistant
    ? homeAssistant.open({
        topics: topicsOf(settings.prefix),
        commands: settings.requests.principals.includes(homeAssistant.principal),
        publish: (topic, payload, retain) => uplink.offer({ topic, payload, qos: 1, retain }),
      })
    : undefined
  const companion = outlet && {
    view: outlet.view,
    filter: outlet.filter,
    wrote: outlet.wrote,
    topic: outlet.birthTopic,
    heard: outlet.birth,
  }
  const peer = () => remotePeer(core, store, `uplink:${settings.name}`)
  const uplink: Uplink = new Client({ settings, topics, view: core.view, feed, companion, peer, clock, log })
  return uplink
}

/** What housekeeping does to the files. */
function diskUpkeep(
  database: Database,
  mqttStore: MqttStore,
  topics: Topics,
): Pick<Upkeep, 'walBytes' | 'checkpoint' | 'nextWithData'> {
  return {
    walBytes: () => database.sizes().walBytes,
    checkpoint: () => database.checkpoint(),
    async nextWithData(after) {
      // Behind every topic of that limb: 0 is the character after the slash.
      const last = after === '' ? '' : `${topics.nodePrefix}${after}0`
      const [topic] = await mqttStore.retainedTopics(topics.nodePrefix, last, 1)
      return topic?.slice(topics.nodePrefix.length).split('/')[0] ?? null
    },
  }
}

async function sweepSessions({ sessions }: MqttPersistence, expirySeconds: number | null): Promise<number> {
  if (expirySeconds !== null) return (await sessions.sweep(expirySeconds * 1000)).length
  await sessions.saveUnsaved()
  return 0
}

function readings(core: Core, broker: Broker): Readings {
  const { counters } = broker
  return {
    nodes: core.registry.byStatus,
    pendingRequests: core.pending.size,
    sessions: core.sessionRoles,
    leases: core.control.leases.size,
    openInvocations: core.control.openCalls,
    broker: counters,
  }
}

function diskReadings(database: Database): Readings {
  return { ...database.sizes(), diskFreeBytes: freeBytes(database) }
}

/** A disk that cannot even be asked has no room. */
function freeBytes(database: Database): number | null {
  try {
    return database.freeBytes()
  } catch {
    return 0
  }
}

function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

async function firstStart(core: Core, options: AppOptions): Promise<RunningBridge['adminPassword']> {
  const { config, adminPassword } = options
  const beside = config.store.path === ':memory:' ? config.control.socket : config.store.path
  const file = join(dirname(beside), 'admin-password')
  const first = await core.firstStart((password) => writeSecret(file, `${password}\n`), adminPassword)
  const given = first && adminPassword !== undefined
  return { file, firstStart: first, inFile: !given && existsSync(file) }
}

function httpLimits({ http, mqtt }: Config): HttpLimits {
  return {
    token: http.token,
    allowedOrigins: http.allowedOrigins,
    maxConnections: mqtt.maxConnections,
    maxConnectionsPerAddress: mqtt.maxConnectionsPerAddress,
    maxFrameBytes: mqtt.maxPacketBytes,
    maxConnectBytes: mqtt.maxConnectBytes,
  }
}

/** Limbs that are kept in memory only have secrets that last as long. */
function masterOf({ store }: Config): Uint8Array {
  return store.path === ':memory:'
    ? randomBytes(32)
    : masterSecret(join(dirname(store.path), 'invoke-secret'))
}

function brokerLimits({ mqtt }: Config): Partial<BrokerLimits> {
  return {
    maxConnections: mqtt.maxConnections,
    maxConnectionsPerAddress: mqtt.maxConnectionsPerAddress,
    connectTimeoutMs: mqtt.connectSeconds * 1000,
    maxConnectBytes: mqtt.maxConnectBytes,
    maxPacketBytes: mqtt.maxPacketBytes,
    maxMessagesPerSecond: mqtt.maxMessagesPerSecond,
    maxBytesPerSecond: mqtt.maxBytesPerSecond,
    maxTopicBytes: mqtt.maxTopicBytes,
    maxTopicLevels: mqtt.maxTopicLevels,
    maxInflightInbound: mqtt.maxInflightPerSession,
    maxSubscriptions: mqtt.maxSubscriptionsPerSession,
    maxKeepaliveSeconds: mqtt.maxKeepaliveSeconds,
    allowKeepaliveZero: mqtt.allowKeepaliveZero,
    maxInflightOutbound: mqtt.maxInflightPerSession,
    maxSessionBufferBytes: mqtt.maxSessionBufferBytes,
  }
}

function signInSettings({ mqtt }: Config): World['settings']['signIn'] {
  return { maxFailures: mqtt.maxFailedSignIns, refuseSeconds: mqtt.failedSignInSeconds }
}

const DROPPED: Readonly<Record<DropKind, string>> = {
  queue: 'a message was not kept for a session that is away: its queue is full (mqtt.maxQueuedPerSession)',
  retained: 'a retained message was not kept: there are too many (mqtt.maxRetained)',
  retained_below: 'a retained message of a limb was not kept: it has too many (mqtt.maxRetainedPerNode)',
}

/** A session's queue may fill some megabytes of disk, whatever the number of its messages. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024

function persistenceLimits({ mqtt }: Config, topics: Topics): PersistenceLimits {
  return {
    maxQueuedPerSession: mqtt.maxQueuedPerSession,
    maxQueuedBytesPerSession: MAX_QUEUED_BYTES,
    maxIncomingPerSession: mqtt.maxInflightPerSession,
    maxRetainedMessages: mqtt.maxRetained,
    retainedBelow(topic) {
      const address = topics.parse(topic)
      if (address?.kind !== 'data') return null
      return { prefix: topics.dataPrefix(address.nodeId), max: mqtt.maxRetainedPerNode }
    },
  }
}
