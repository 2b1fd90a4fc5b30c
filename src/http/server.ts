import { setImmediate as setImmediately } from 'node:timers/promises'
import type { SecureContextOptions, Server as SecureServer } from 'node:tls'
import { type FastifyInstance, fastify } from 'fastify'
import type { Clock } from '../kernel/clock.ts'
import { LogThrottle } from '../kernel/log-throttle.ts'
import type { Network } from '../kernel/networks.ts'
import { hashKey, keyMatches } from '../kernel/secrets.ts'
import { type ConsoleOptions, consoleRoutes } from './console/console.ts'
import { type DoorOptions, type DoorReadings, openDoors } from './doors.ts'
import { failures, frameworkErrors } from './failures.ts'
import { paceHandshakes } from './handshakes.ts'
import { boundHttpConnections, type HttpConnections } from './http-connections.ts'
import { type ListenOptions, listen } from './listen.ts'
import type { Metrics } from './metrics.ts'
import { limitPerAddress } from './per-address.ts'
import { standBehindProxies } from './proxies.ts'
import { takeTurns } from './request-turns.ts'
import { type Attach, PATH, webSocketGate } from './websocket.ts'

/** Health, metrics, and MQTT over WebSocket, as plain HTTP. */

export interface Readiness {
  readonly ready: boolean
  /** The reasons why not, each a sentence; empty when ready. */
  readonly reasons: readonly string[]
}

export interface HttpOptions extends HttpLimits, ListenOptions, Pick<DoorOptions, 'ports' | 'api' | 'mcp'> {
  /** HTTPS with this certificate; undefined: plain HTTP. */
  readonly tls?: HttpTls | undefined
  /** The proxies whose connections begin with a header of the PROXY protocol. */
  readonly proxyNetworks?: readonly Network[]
  readonly readiness: () => Readiness
  readonly metrics: Metrics
  readonly attach: Attach
  /** The web console at `/`; undefined: there is none. */
  readonly console?: ConsoleOptions | undefined
  readonly clock: Clock
}

export interface HttpTls {
  readonly material: SecureContextOptions
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
  /** `/mqtt` wants a certificate of `material.ca`; health and metrics do not. */
  readonly requiresCertificate: boolean
}

/** The limits that a running server takes over: `setLimits`. */
export interface HttpLimits {
  /** Bearer token of `/metrics`; null: none is needed. */
  readonly token: string | null
  readonly allowedOrigins: readonly string[]
  readonly allowedHosts: readonly string[]
  readonly publicUrl: string | null
  /** WebSocket sessions in all; the broker counts them once more together with the others. */
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
  readonly maxPacketBytes: number
  readonly maxConnectBytes: number
}

export interface HttpServer {
  /** The address where it listens. */
  readonly host: string
  readonly port: number
  /** Reads what is kept for those who ask over HTTP. */
  readings(): DoorReadings
  /** The certificate of connections from now on. Nothing happens with plain HTTP. */
  setMaterial(material: SecureContextOptions): void
  /** Holds for requests and WebSocket sessions that begin from now on. */
  setLimits(limits: HttpLimits): void
  /** Ends every connection; over within a second. */
  close(): Promise<void>
}

/** Room for health checks and scrapes beside the WebSocket sessions. */
const HTTP_CONNECTIONS = 512
/** The bytes of a body: no request has one. */
const BODY_LIMIT_BYTES = 1024
const REQUEST_TIMEOUT_MS = 10_000

export async function startHttp(given: HttpOptions): Promise<HttpServer> {
  const options = { ...given }
  const gate = webSocketGate(options)
  const refusals = new LogThrottle(options.clock, REFUSALS)
  const app = options.tls === undefined ? plainHttp() : https(options.tls)
  const handshakes =
    options.tls === undefined ? undefined : paceHandshakes(app.server, options.clock, REQUEST_TIMEOUT_MS)
  app.server.maxConnections = options.maxConnections + HTTP_CONNECTIONS
  limitPerAddress(
    app.server,
    () => options.maxConnectionsPerAddress,
    (address) => {
      refusals.write('', (suppressed) =>
        options.log.warn({ address, suppressed }, 'http: too many connections of one address'),
      )
    },
  )
  const connections = boundRequests(app, options, refusals)
  const door = standBehindProxies(app.server, options, refusals)
  handshakes?.paceEnds()
  app.server.on('upgrade', (request, socket, head) => gate.upgrade(request, socket, head))
  headers(app)
  const access: Access = { metrics: bearer(options.token) }
  routes(app, options, access)
  const readings = await openDoors(app, options, refusals, connections)
  if (options.console !== undefined) consoleRoutes(app, options.console, () => options.allowedOrigins)
  failures(app, options.log, refusals)
  await listen(app, options)
  const address = addressOf(app)
  return {
    host: options.inheritedFds?.length ? address.host : options.host,
    port: address.port,
    readings,
    setMaterial(material) {
      if (options.tls === undefined) return
      const server = app.server as unknown as SecureServer
      server.setSecureContext({ minVersion: options.tls.minVersion, ...material })
    },
    setLimits(limits) {
      Object.assign(options, limits)
      access.metrics = bearer(limits.token)
      app.server.maxConnections = limits.maxConnections + HTTP_CONNECTIONS
    },
    async close() {
      refusals.stop()
      door.close()
      handshakes?.close()
      gate.close()
      await app.close()
    },
  }
}

/** Bounds what asks: connections beside those of WebSocket, and requests in one go. */
function boundRequests(
  app: FastifyInstance,
  { metrics, log, clock }: HttpOptions,
  refusals: LogThrottle,
): HttpConnections {
  const ended = (why: string, fields: object, text: string) => {
    metrics.count('http_connections_ended')
    refusals.write(why, (suppressed) => log.warn({ ...fields, suppressed }, text))
  }
  const turns = takeTurns(app.server, clock, () =>
    ended(
      'at once',
      {},
      'http: a connection asked for too much at once, before it had its answers; it is ended',
    ),
  )
  return boundHttpConnections(
    app.server,
    HTTP_CONNECTIONS,
    () =>
      ended(
        'plain',
        { max: HTTP_CONNECTIONS },
        'http: too many connections beside those of WebSocket; one of who has most is ended',
      ),
    (request) => turns.hasBegun(request),
  )
}

const REFUSALS = { quietMs: 10_000, lines: 5, maxKeys: 10, maxLines: 50 } as const

const COMMON = {
  logger: false,
  forceCloseConnections: true,
  bodyLimit: BODY_LIMIT_BYTES,
  requestTimeout: REQUEST_TIMEOUT_MS,
  frameworkErrors,
} as const
const HEADERS = {
  headersTimeout: REQUEST_TIMEOUT_MS,
  maxHeaderSize: 16_384,
  // How often those are looked for who take too long.
  connectionsCheckingInterval: 5000,
} as const

function plainHttp(): FastifyInstance {
  return fastify({ ...COMMON, http: HEADERS })
}

function https({ material, minVersion, requiresCertificate }: HttpTls): FastifyInstance {
  return fastify({
    ...COMMON,
    https: {
      ...HEADERS,
      ...material,
      minVersion,
      handshakeTimeout: REQUEST_TIMEOUT_MS,
      requestCert: requiresCertificate,
      // Health checks need none; `/mqtt` looks itself.
      rejectUnauthorized: false,
    },
  }) as unknown as FastifyInstance
}

function headers(app: FastifyInstance): void {
  app.addHook('onSend', async (_request, reply) => {
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
    reply.header('x-content-type-options', 'nosniff')
  })
}

/** Makes one text for all who ask in one turn of the event loop; whoever asks while it is made gets the next one. */
function shared(make: () => Promise<string>): () => Promise<string> {
  let next: Promise<string> | undefined
  return () => {
    next ??= setImmediately().then(() => {
      next = undefined
      return make()
    })
    return next
  }
}

function routes(app: FastifyInstance, options: HttpOptions, access: Access): void {
  const metrics = shared(() => options.metrics.text())
  app.get('/healthz', async () => ({ status: 'ok' }))

  app.get('/readyz', async (_request, reply) => {
    const { ready, reasons } = options.readiness()
    reply.code(ready ? 200 : 503)
    return { ready, reasons }
  })

  app.get('/metrics', async (request, reply) => {
    if (!access.metrics(request.headers.authorization)) {
      reply.code(401).header('www-authenticate', 'Bearer')
      return { error: 'send `Authorization: Bearer <http.token>`' }
    }
    reply.type(options.metrics.contentType)
    return await metrics()
  })

  // An upgrade never comes here; a proxy that does not pass it on makes this of it.
  app.get(PATH, async (_request, reply) => {
    reply.code(426).header('connection', 'Upgrade').header('upgrade', 'websocket')
    return {
      error:
        'this is MQTT over WebSocket: connect with a WebSocket client, and let a proxy pass the headers Upgrade and Connection on',
    }
  })
}

interface Access {
  metrics: (header: string | undefined) => boolean
}

/** Compares in constant time, and keeps the token itself out of memory dumps of the closure's callers. */
function bearer(token: string | null): (header: string | undefined) => boolean {
  if (token === null) return () => true
  const hash = hashKey(token)
  return (header) => {
    const given = /^Bearer +(\S+)$/i.exec(header ?? '')?.[1]
    return given !== undefined && keyMatches(hash, given)
  }
}

function addressOf(app: FastifyInstance): { host: string; port: number } {
  const address = app.server.address()
  return typeof address === 'object' && address
    ? { host: address.address, port: address.port }
    : { host: '', port: 0 }
}
