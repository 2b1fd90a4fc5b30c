import { hostname } from 'node:os'
import type { FastifyInstance } from 'fastify'
import type { Log } from '../bridge/ports.ts'
import type { Clock } from '../kernel/clock.ts'
import type { LogThrottle } from '../kernel/log-throttle.ts'
import { McpEndpoint } from '../mcp/streamable/endpoint.ts'
import { registerApi } from './api/api.ts'
import type { ApiPorts } from './api/ports.ts'
import { consoleDoor } from './console/door.ts'
import { DueAnswers } from './due-answers.ts'
import { BodyBytes, StrangersUnreadBytes, UnreadBytes } from './held-bytes.ts'
import { namesOf } from './hosts.ts'
import type { HttpConnections } from './http-connections.ts'
import { mcpRoutes } from './mcp/routes.ts'
import type { Metrics } from './metrics.ts'
import { boundAnswers, decorateIdentity } from './unread-answers.ts'

export interface DoorOptions {
  /** The bridge behind the doors; undefined: there are none. */
  readonly ports?: ApiPorts | undefined
  /** Opens the HTTP API below `/api/`. */
  readonly api?: boolean
  /** Opens MCP at `/mcp`. */
  readonly mcp?: boolean
  /** The web console; undefined: there is none. */
  readonly console?: object | undefined
  readonly maxPacketBytes: number
  readonly allowedOrigins: readonly string[]
  readonly allowedHosts: readonly string[]
  readonly publicUrl: string | null
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Pick<Metrics, 'count'>
}

/** Counts what is kept for those who came in by a door. */
export interface DoorReadings {
  readonly mcpSessions: number
  readonly mcpKeptBytes: number
  /** Bytes of requests that are not answered, and of answers that are not read. */
  readonly httpHeldBytes: number
}

/** Opens the HTTP API, MCP, and what the console asks. `options` may change later: limits are read at each request. */
export async function openDoors(
  app: FastifyInstance,
  options: DoorOptions,
  refused: LogThrottle,
  connections: HttpConnections,
): Promise<() => DoorReadings> {
  const { ports, clock, log, maxPacketBytes: maxBodyBytes } = options
  const bodies = new BodyBytes()
  const { unread, ofStrangers } = answers(options, refused)
  decorateIdentity(app, (request) => connections.hasSignedIn(request))
  boundAnswers(app, unread, ofStrangers)
  const heldBytes = () => bodies.bytes + unread.bytes + ofStrangers.bytes
  if (ports === undefined) return () => ({ mcpSessions: 0, mcpKeptBytes: 0, httpHeldBytes: heldBytes() })
  const allowedOrigins = () => options.allowedOrigins
  const due = new DueAnswers(clock)
  app.addHook('preClose', () => due.written())
  const held = { bodies, unread, due }
  if (options.api) await registerApi(app, { ports, clock, maxBodyBytes, allowedOrigins, ...held })
  if (options.console !== undefined) await consoleDoor(app, { ports, allowedOrigins })
  const endpoint = endpointOf(ports, clock)
  if (options.mcp) {
    await mcpRoutes(app, {
      ports,
      endpoint,
      clock,
      maxBodyBytes,
      ...held,
      allowedOrigins,
      hostNames: () => namesOf({ ...options, machine: hostname() }),
      publicUrl: () => options.publicUrl,
      refused,
      warn: (fields, message) => log.warn(fields, message),
    })
  }
  return () => ({
    mcpSessions: endpoint.sessions,
    mcpKeptBytes: endpoint.keptBytes,
    httpHeldBytes: heldBytes(),
  })
}

/** Counts the answers that are not read, of principals and of all others; the log names who has to go. */
function answers({ metrics, log }: DoorOptions, refused: LogThrottle) {
  const unread = new UnreadBytes((principal) => {
    metrics.count('http_connections_ended')
    refused.write('unread', (suppressed) =>
      log.warn(
        { principal, suppressed },
        `http: ${principal} does not read what it asked for, or asks for too much at once; its connection is ended`,
      ),
    )
  })
  const ofStrangers = new StrangersUnreadBytes(() => {
    metrics.count('http_connections_ended')
    refused.write('unread by strangers', (suppressed) =>
      log.warn(
        { suppressed },
        'http: answers to requests without a sign-in are not read; the oldest of their connections are ended',
      ),
    )
  })
  return { unread, ofStrangers }
}

function endpointOf({ version, topics, feed }: ApiPorts, clock: Clock): McpEndpoint {
  return new McpEndpoint({
    version,
    clock,
    topics,
    listen: (listener) => feed.listen(({ topic, payload }) => listener(topic, payload)),
  })
}
