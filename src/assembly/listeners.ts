import type { Broker } from '../broker/broker.ts'
import { isLoopback } from '../host/config/checks.ts'
import type { Config } from '../host/config/config.ts'
import { fdsOf, type Inherited, NO_SOCKETS, turnAway } from '../host/systemd/activation.ts'
import { usesTls } from '../host/tls/certificate-files.ts'
import { Certificates } from '../host/tls/certificates.ts'
import { OwnCertificate } from '../host/tls/own-authority.ts'
import type { ApiPorts } from '../http/api/ports.ts'
import type { ConsoleOptions } from '../http/console/console.ts'
import { type HttpServer, startHttp } from '../http/server.ts'
import { invariant } from '../kernel/assert.ts'
import { StartError } from '../kernel/errors.ts'
import { apiPorts } from './api.ts'
import { consoleParts } from './console.ts'
import type { AppOptions, RunningBridge } from './options.ts'
import type { BrokerParts, Build, CoreParts, ListenerParts } from './parts.ts'
import { readinessNow } from './readings.ts'
import { httpLimits } from './settings.ts'

/** Listeners: on the service manager's sockets where there are any, else where the configuration says. */

/** Loads the certificates if anything listens with TLS. */
export async function buildCertificates({ options, teardown, now }: Build): Promise<void> {
  const { config, log, clock } = options
  if (!usesTls(config)) return
  // The configuration was checked for them.
  const { certFile, keyFile, caFile, crlFile } = config.tls
  invariant(certFile !== null && keyFile !== null, 'TLS without a certificate')
  const own = await OwnCertificate.of(certFile, keyFile)
  const files = { certFile, keyFile, caFile, crlFile }
  const certificates = await Certificates.load({ files, log, clock, own })
  teardown.add(() => certificates.stop())
  now.certificates = certificates
}

/** Opens all listeners, those of the service manager first; the steps that close them are added to the teardown. */
export async function openListeners(
  build: Build,
  { core, view, adminPassword }: CoreParts,
  { broker }: BrokerParts,
): Promise<ListenerParts> {
  const { options, teardown, now } = build
  const { certificates } = now
  const { config, inherited = NO_SOCKETS } = options
  const healthPort = now.standbyDoors?.httpPort
  await now.standbyDoors?.close()
  now.standby = undefined
  const control = await openControl(broker, config, inherited)
  const mqtt = await openMqtt(broker, config, inherited)
  const tls = certificates && config.tls.enabled ? await openTls(options, broker, certificates) : undefined
  const ports = apiPorts(core, view, broker, options)
  const page = consoleParts(core, options, { mqtt, tls, adminPassword })
  const http = config.http.enabled
    ? await openHttp(build, broker, certificates, ports, page.options, healthPort)
    : undefined
  now.http = http
  if (http) teardown.add(() => http.close())
  await closeUnused(build)
  // Who has asked is answered while all connections are there; a backup would take longer than that. The end of its thread,
  // which may take as long as the copy, is waited for before the database is closed.
  const { backups } = build.store.value
  teardown.add(async () => {
    void backups.stop()
    await core.finishRequests()
  })
  // First of all nobody new comes in: nobody is told `online` by a bridge that is about to end.
  teardown.add(() => broker.closeListeners())
  if (http && !config.http.tls) refuseOpenPlaintext(http.host, config, 'limb-bridge-http.socket')
  return { control, mqtt, tls, http, firstStartSecret: page.firstStartSecret }
}

/**
 * Turns away who comes to a socket of the service manager's that nothing here listens on: the kernel accepts for it, and
 * a device would wait for ever.
 */
async function closeUnused({ options, teardown }: Build): Promise<void> {
  const { config, log, inherited = NO_SOCKETS } = options
  for (const { name, wanted, key, unit } of [
    { name: 'mqtts', wanted: config.tls.enabled, key: 'tls.enabled', unit: 'limb-bridge-tls.socket' },
    { name: 'http', wanted: config.http.enabled, key: 'http.enabled', unit: 'limb-bridge-http.socket' },
  ] as const) {
    const fds = wanted ? [] : fdsOf(inherited, name)
    if (fds.length === 0) continue
    teardown.add(await turnAway(fds))
    log.warn(
      {},
      `the service manager handed over the socket "${name}", and ${key} is false: who connects there is turned away; set ${key}: true, or \`systemctl disable --now ${unit}\``,
    )
  }
}

/** Listens on the control socket, and returns its path. */
async function openControl(broker: Broker, config: Config, inherited: Inherited): Promise<string> {
  const { socket, mode } = config.control
  const fds = fdsOf(inherited, 'control')
  // Node does not tell the path of an inherited Unix socket; the configuration names it for the command line.
  if (fds.length === 0) await broker.listenUnix(socket, Number.parseInt(mode, 8))
  for (const fd of fds) await broker.listenInherited(fd, true)
  return socket
}

/**
 * Listens on the service manager's sockets if there are any; else where the configuration says. The first one is
 * returned.
 */
async function openMqtt(
  broker: Broker,
  config: Config,
  inherited: Inherited,
): Promise<RunningBridge['mqtt']> {
  const fds = fdsOf(inherited, 'mqtt')
  const proxies = config.mqtt.proxyNetworks
  const [first, ...more] = fds
  if (first === undefined) {
    const { port } = await broker.listenTcp(config.mqtt.host, config.mqtt.port, proxies)
    return { host: config.mqtt.host, port }
  }
  const listener = await broker.listenInherited(first, false, proxies)
  const others = await Promise.all(more.map((fd) => broker.listenInherited(fd, false, proxies)))
  for (const { host } of [listener, ...others]) refuseOpenPlaintext(host, config, 'limb-bridge.socket')
  return { host: listener.host, port: listener.port }
}

async function openTls(
  { config: { tls, mqtt }, clock, inherited = NO_SOCKETS }: AppOptions,
  broker: Broker,
  certificates: Certificates,
): Promise<RunningBridge['tls']> {
  const [fd, ...more] = fdsOf(inherited, 'mqtts')
  const settings = {
    material: certificates.material,
    minVersion: tls.minVersion,
    asksForCertificate: tls.caFile !== null,
    requiresCertificate: tls.requireClientCertificate,
    handshakeTimeoutMs: mqtt.connectSeconds * 1000,
    proxyNetworks: tls.proxyNetworks,
    nowMs: () => clock.wallMs(),
  }
  const listener = await broker.listenTls(tls.host, tls.port, settings, fd)
  const others = await Promise.all(more.map((each) => broker.listenTls(tls.host, tls.port, settings, each)))
  certificates.onChange((material) => {
    for (const each of [listener, ...others]) each.setMaterial(material)
  })
  return { host: fd === undefined ? tls.host : listener.host, port: listener.port }
}

async function openHttp(
  build: Build,
  broker: Broker,
  certificates: Certificates | undefined,
  ports: ApiPorts,
  console: ConsoleOptions | undefined,
  healthPort: number | undefined,
): Promise<HttpServer> {
  const { config, log, clock, inherited = NO_SOCKETS } = build.options
  const { minVersion, requireClientCertificate } = config.tls
  const secure = config.http.tls ? certificates : undefined
  const http = await startHttp({
    ...config.http,
    // Any free port: it stays the one at which the health of the standby was asked for.
    port: config.http.port === 0 && healthPort !== undefined ? healthPort : config.http.port,
    tls: secure
      ? { material: secure.material, minVersion, requiresCertificate: requireClientCertificate }
      : undefined,
    ...httpLimits(config),
    inheritedFds: fdsOf(inherited, 'http'),
    readiness: () => readinessNow(build),
    metrics: build.metrics,
    ports,
    console,
    attach: (stream, peer) => broker.attach(stream, { ...peer, local: false, transport: 'websocket' }),
    log,
    clock,
  })
  secure?.onChange((material) => http.setMaterial(material))
  return http
}

/** The configuration's own addresses are checked when it is read; these come from a socket unit. */
function refuseOpenPlaintext(host: string, config: Config, unit: string): void {
  if (config.mqtt.allowPlaintext || isLoopback(host)) return
  throw new StartError(
    `${unit} listens on ${host}, which others can reach without TLS; set mqtt.allowPlaintext: true if that is meant, ` +
      'or listen on 127.0.0.1',
  )
}
