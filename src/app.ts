import { apiPorts } from './assembly/api.ts'
import { consoleOptions } from './assembly/console.ts'
import {
  loadCertificates,
  openControl,
  openHttp,
  openMqtt,
  openTls,
  refuseOpenPlaintext,
} from './assembly/listeners.ts'
import type { AppOptions, RunningBridge } from './assembly/options.ts'
import { diskReadings, freeBytes, keptBytes, readings, statusLine, total } from './assembly/readings.ts'
import { firstStart, masterOf } from './assembly/secrets.ts'
import { DROPPED, grantsOf, httpLimits, persistenceLimits, settingsOf } from './assembly/settings.ts'
import { diskUpkeep, rescue, sweepSessions } from './assembly/upkeep.ts'
import { announceHere, createUplink } from './assembly/uplinks.ts'
import { Core } from './bridge/core.ts'
import { joinViews } from './bridge/live/retained-view.ts'
import type { BridgeContext, BridgeSettings } from './bridge/settings.ts'
import { logAuditEnd } from './bridge/upkeep/audit-mark.ts'
import { type Broker, createBroker } from './broker/broker.ts'
import { createPersistence } from './broker/persistence/persistence.ts'
import { warningsOf } from './broker/warnings.ts'
import { HomeAssistant } from './homeassistant/home-assistant.ts'
import { NO_SOCKETS } from './host/systemd/activation.ts'
import { createHttpLimbClient } from './http/limb-client/client.ts'
import { createMetrics, type Metrics } from './http/metrics.ts'
import { type Phase, readinessOf } from './http/readiness.ts'
import type { HttpServer } from './http/server.ts'
import { invariant } from './kernel/assert.ts'
import { LogThrottle } from './kernel/log-throttle.ts'
import { RunningClock } from './kernel/running-clock.ts'
import { Teardown } from './kernel/teardown.ts'
import { topicsOf } from './protocol/topics.ts'
import { createBackups } from './store/sqlite/backup/backups.ts'
import { openDatabase } from './store/sqlite/database.ts'
import { createMqttStore } from './store/sqlite/mqtt/store.ts'
import { createStore } from './store/sqlite/store.ts'
import type { Uplink } from './uplink/uplink.ts'

/**
 * The bridge is a set of pure decisions about limbs, kept in SQLite and spoken over MQTT. Everything that
 * touches the world is an adapter at the edge, named for its technology and handed in here. Data goes one
 * way: bytes, message, decision, commit, publish.
 *
 * This file is the one composition root: it constructs, starts, and stops in reverse.
 */

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
      ...(backups.lastKnownAt !== null && { lastBackupAt: backups.lastKnownAt }),
      backupEverySeconds: held.backup.everyHours * 3600,
      uplinks: uplinks.map((uplink) => uplink.readings()),
      bounds: {
        logLinesDropped: log.droppedLines,
        pendingBytes: core.pending.bytes,
        ...web?.readings(),
        kept: keptBytes(held, { database, store, mqttStore, backups, persistence, core }),
      },
      auditRows: store.auditRows(),
      queues: {
        queuedMessages: persistence.queued.messages,
        queuedBytes: persistence.queued.bytes,
        storedSessions: persistence.sessions.size,
        retainedMessages: mqttStore.retainedSums().rows,
        pendingWrites: database.writer.pending,
        waitingMessages: connected().waiting,
      },
    }),
  })
  /** The configuration that holds now: a reload replaces it. */
  let held = config
  let phase: Phase = 'starting'

  const database = openDatabase({
    file: config.store.path,
    backupFolder: config.backup.folder,
    acceptOlder: options.acceptOlder ?? false,
    maxBytes: config.store.maxBytes,
    clock,
    log,
    onCommit: (durationMs, works) => metrics.committed(durationMs, works),
    // While this process lives, it holds what is nowhere else.
    onLost: () => void rescue(backups, log),
  })
  teardown.add(() => database.close())
  const store = createStore(database)
  teardown.add(() => logAuditEnd({ store, log }))
  const mqttStore = createMqttStore(database)
  const backups = createBackups({ database, folder: config.backup.folder, clock })

  let broker: Broker | undefined
  let web: HttpServer | null = null
  const connected = (): Broker => {
    invariant(broker, 'the broker is used before it is there')
    return broker
  }
  const certificates = await loadCertificates(options)
  if (certificates) teardown.add(() => certificates.stop())
  const uplinks: Uplink[] = []
  const readiness = () => {
    const lost = database.lost()
    return readinessOf({
      phase,
      database: lost === undefined ? store.health() : { ok: false, reason: lost },
      diskFreeBytes: lost === undefined ? freeBytes(database) : null,
      connections: total(connected().counters.connections),
      maxConnections: held.mqtt.maxConnections,
    })
  }
  const world: BridgeContext = {
    clock,
    log,
    counters: metrics,
    topics,
    running: new RunningClock(clock),
    settings: settingsOf(config, version),
    store,
    publisher: {
      publish: (topic, payload, how) => connected().publisher.publish(topic, payload, how),
      clearRetainedOf: (nodeId) => connected().publisher.clearRetainedOf(nodeId),
    },
    sessions: {
      forget: (name) => connected().sessions.forget(name),
      list: (name) => connected().sessions.list(name),
      forgetOne: (name, clientId) => connected().sessions.forgetOne(name, clientId),
    },
    backups,
    upkeep: {
      ...diskUpkeep(database, mqttStore, topics),
      sweepSessions: (byAge) => sweepSessions(persistence, byAge ? held.mqtt.sessionExpirySeconds : null),
    },
    health: () => ({
      ...readiness(),
      warnings: warningsOf(connected().counters),
      uplinks: uplinks.map((uplink) => uplink.readings()),
    }),
    invokeOverHttp: {
      master: masterOf(config),
      caller: createHttpLimbClient({
        clock,
        networks: () => held.invocation.httpNetworks,
        caFile: () => held.invocation.caFile,
      }),
    },
  }
  const core = new Core(world)
  await core.load()
  const adminPassword = await firstStart(core, options, database.replacesLost)
  await logAuditEnd(world)
  const storedLimits = persistenceLimits(config, topics)
  const homeAssistant = new HomeAssistant({
    settings: config.homeAssistant,
    presence: world.settings.presence,
    version,
    topics,
    registry: core.registry,
    clock,
  })
  const announced = config.homeAssistant.enabled ? announceHere(homeAssistant, world) : undefined
  const view = announced ? joinViews(core.view, announced.view) : core.view

  const dropped = new LogThrottle(clock, { quietMs: 10_000, lines: 1, maxKeys: 10 })
  teardown.add(() => dropped.stop())
  const persistence = createPersistence({
    store: mqttStore,
    view,
    clock,
    log,
    limits: storedLimits,
    onDropped(kind) {
      metrics.count('messages_dropped', kind)
      dropped.write(kind, (suppressed) => log.warn({ why: kind, suppressed }, DROPPED[kind]))
    },
  })
  broker = await createBroker({
    topics,
    inbound: core,
    persistence,
    view,
    clock,
    log,
    limits: config.mqtt,
    grants: grantsOf(config),
  })
  const running = broker
  teardown.add(() => running.stop())
  running.feed.listen((message) => {
    core.published(message)
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
  teardown.add(async () => {
    // At once: housekeeping would wait for the end of a backup.
    await Promise.all([core.stop(), backups.stop()])
  })

  const control = await openControl(broker, config, inherited)
  const mqtt = await openMqtt(broker, config, inherited)
  const tls = certificates && config.tls.enabled ? await openTls(options, broker, certificates) : null
  const http = config.http.enabled
    ? await openHttp(
        options,
        metrics,
        broker,
        readiness,
        certificates,
        apiPorts(core, view, running, options),
        consoleOptions(config, { mqtt, tls }),
      )
    : null
  web = http
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
      running.setLimits(next.mqtt)
      running.setGrants(grantsOf(next))
      http?.setLimits(httpLimits(next))
      database.room.setMaxBytes(next.store.maxBytes)
    },
    stop() {
      phase = 'stopping'
      return teardown.run()
    },
  }
}
