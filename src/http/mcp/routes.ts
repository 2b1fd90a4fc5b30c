import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Identity } from '../../bridge/ports.ts'
import type { Clock } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { LogThrottle } from '../../kernel/log-throttle.ts'
import type { McpCaller } from '../../mcp/streamable/caller.ts'
import type { McpEndpoint, McpRequest } from '../../mcp/streamable/endpoint.ts'
import { type McpAnswer, RPC, refusedAnswer } from '../../mcp/streamable/errors.ts'
import { parseJson } from '../../protocol/decode.ts'
import { peerAddress } from '../address.ts'
import { crossOrigin, signIn } from '../api/access.ts'
import { boundBodies } from '../api/bounded.ts'
import type { ApiPorts } from '../api/ports.ts'
import { sendProblem } from '../api/problem.ts'
import type { DueAnswers } from '../due-answers.ts'
import type { BodyBytes, UnreadBytes } from '../held-bytes.ts'
import { hostAllowed } from '../hosts.ts'
import { onceOver } from '../once-over.ts'
import { MCP_RESPONSES, OpenPlaces } from '../open-places.ts'
import { readWholeBodies } from '../whole-bodies.ts'
import { ResponseStreams } from './response-stream.ts'

export const MCP_PATH = '/mcp'
const METADATA_PATH = '/.well-known/oauth-protected-resource'

/** The headers that the transport looks at. */
const HEADERS = ['accept', 'content-type', 'last-event-id'] as const

export interface McpRouteOptions {
  readonly ports: ApiPorts
  readonly endpoint: McpEndpoint
  readonly clock: Clock
  readonly maxBodyBytes: number
  readonly bodies: BodyBytes
  readonly unread: UnreadBytes
  readonly due: DueAnswers
  /** Reads what a reload may change, at each request. */
  readonly allowedOrigins: () => readonly string[]
  readonly hostNames: () => readonly string[]
  readonly publicUrl: () => string | null
  readonly refused: Pick<LogThrottle, 'write'>
  readonly warn: (fields: object, message: string) => void
}

/** Serves MCP's Streamable HTTP transport at `/mcp`, and the metadata that say how to sign in there (RFC 9728). */
export async function mcpRoutes(app: FastifyInstance, options: McpRouteOptions): Promise<void> {
  await app.register(async (mcp) => {
    mcp.addHook('onRequest', async (request, reply) => ownHost(request, reply, options))
    mcp.addHook('onRequest', async (request, reply) =>
      crossOrigin(request, reply, options.allowedOrigins(), CROSS_ORIGIN),
    )
    mcp.setErrorHandler(async (error: Error & { statusCode?: number }, _request, reply) => {
      const status = error.statusCode ?? 500
      if (status >= 500) throw error
      const text = status === 415 ? 'send the body as application/json' : error.message
      return await sendAnswer(reply, refusedAnswer(status, RPC.server, text))
    })
    metadataRoutes(mcp, options)
    mcp.options(MCP_PATH, async (_request, reply) => reply.code(204).send())
    await mcp.register(async (signedIn) => transport(signedIn, options))
  })
}

const CROSS_ORIGIN = {
  methods: 'GET, POST, DELETE',
  headers:
    'authorization, content-type, last-event-id, mcp-session-id, mcp-protocol-version, mcp-method, mcp-name',
  exposed: 'mcp-session-id, www-authenticate',
}

function metadataRoutes(app: FastifyInstance, options: McpRouteOptions): void {
  for (const path of [METADATA_PATH, `${METADATA_PATH}${MCP_PATH}`]) {
    app.get(path, async (request) => ({
      resource: `${baseUrl(request, options)}${MCP_PATH}`,
      resource_name: 'Limb Bridge',
      bearer_methods_supported: ['header'],
    }))
  }
}

/** Returns the address that the client has for the bridge; its `Host` was looked at. */
function baseUrl(request: FastifyRequest, { publicUrl }: McpRouteOptions): string {
  return publicUrl()?.replace(/\/$/, '') ?? `${request.protocol}://${request.headers.host}`
}

function ownHost(
  request: FastifyRequest,
  reply: FastifyReply,
  { hostNames, refused, warn }: McpRouteOptions,
): FastifyReply | undefined {
  const { host } = request.headers
  if (hostAllowed(host, hostNames())) return undefined
  refused.write('host', (suppressed) =>
    warn(
      { host: String(host).slice(0, 255), address: peerAddress(request), suppressed },
      'http: a request for another host was refused; add the name to http.allowedHosts if it is yours',
    ),
  )
  return sendProblem(
    reply,
    new Refusal('forbidden', 'this bridge is not known by that host name; add it to http.allowedHosts'),
  )
}

function transport(app: FastifyInstance, options: McpRouteOptions): void {
  const { ports, endpoint, clock, maxBodyBytes } = options
  const streams = new ResponseStreams(clock, options.unread)
  const open = new OpenPlaces(MCP_RESPONSES)
  readWholeBodies(app, maxBodyBytes)
  // Before the body is read: whoever may not ask sends none.
  app.addHook('onRequest', async (request, reply) => {
    const metadata = `${baseUrl(request, options)}${METADATA_PATH}${MCP_PATH}`
    return await signIn(request, reply, ports, metadata)
  })
  boundBodies(app, options.bodies, maxBodyBytes, (reply, text) =>
    sendAnswer(reply.header('retry-after', '1'), refusedAnswer(429, RPC.server, text)),
  )
  app.addHook('preClose', async () => {
    streams.endAll()
    await endpoint.close()
  })

  app.route({
    method: ['GET', 'POST', 'DELETE'],
    url: MCP_PATH,
    handler: async (request, reply) => {
      const caller = callerOf(request, ports)
      const full = open.full(caller.principal, 'open responses')
      if (full !== undefined) {
        const refused = refusedAnswer(429, RPC.server, `${full}; end some`)
        return await sendAnswer(reply.header('retry-after', '1'), refused)
      }
      const gone = new AbortController()
      open.enter(caller.principal)
      let answer: McpAnswer | undefined
      reply.hijack()
      onceOver(request, reply, () => {
        gone.abort()
        answer?.ended()
        open.leave(caller.principal)
      })
      if (gone.signal.aborted) return reply
      if (request.method === 'POST') options.due.enter(request, reply)
      for (const [name, value] of Object.entries(reply.getHeaders())) reply.raw.setHeader(name, value ?? '')
      answer = await answerOf(request, options, caller, gone.signal).catch((error: unknown) => {
        options.refused.write('mcp failed', (suppressed) =>
          options.warn({ err: error, suppressed }, 'http: a request of MCP failed'),
        )
        return refusedAnswer(500, -32_603, 'the bridge failed; its log says why')
      })
      if (gone.signal.aborted) {
        // It went while it was answered.
        answer.ended()
        await answer.response.body?.cancel().catch(() => undefined)
        return reply
      }
      await streams.send(answer.response, reply.raw, caller, gone.signal).catch(() => reply.raw.destroy())
      return reply
    },
  })
}

async function answerOf(
  request: FastifyRequest,
  { endpoint, maxBodyBytes }: McpRouteOptions,
  caller: McpCaller,
  signal: AbortSignal,
): Promise<McpAnswer> {
  const read = (): McpRequest => {
    if (signal.aborted) throw new Refusal('cancelled', 'its client has gone while it waited')
    const bytes = (request.body as Buffer | undefined) ?? Buffer.alloc(0)
    const body = request.method === 'POST' ? parseJson(bytes, maxBodyBytes) : undefined
    return { request: webRequest(request, signal), body }
  }
  return await endpoint.handle(read, caller).catch((error: unknown) => {
    if (error instanceof Refusal) return refusedAnswer(400, RPC.parse, error.message)
    throw error
  })
}

/** Makes a request without the body, which was read: the transport looks at the method and at some headers. */
function webRequest(request: FastifyRequest, signal: AbortSignal): Request {
  const names = Object.keys(request.headers).filter((name) => name.startsWith('mcp-'))
  const headers = new Headers()
  for (const name of [...HEADERS, ...names]) {
    const value = request.headers[name]
    if (typeof value === 'string') headers.set(name, value)
  }
  return new Request(`http://localhost${MCP_PATH}`, { method: request.method, headers, signal })
}

async function sendAnswer(reply: FastifyReply, { response }: McpAnswer): Promise<FastifyReply> {
  return reply
    .code(response.status)
    .type('application/json')
    .send(await response.text())
}

/** A request or a response of more bytes has turns of the event loop of its own: it is read, checked and written several times. */
const LARGE_BYTES = 65_536
/** A request of MCP is read, checked and made into a verb's before the bridge sees it: so much, and so much for each byte. */
const OVERHEAD_MS = 1
const OVERHEAD_MS_PER_BYTE = 0.00004

interface VerbResponse {
  readonly ok: boolean
  readonly data?: unknown
  readonly error?: { code: never; message: string; path?: string; details?: Record<string, unknown> }
}

function callerOf(request: FastifyRequest, ports: ApiPorts): McpCaller {
  const identity = request.getDecorator<Identity>('identity')
  if (identity.kind !== 'principal') throw new Error('somebody else than a principal has signed in')
  const address = peerAddress(request)
  return {
    key: `${identity.name} ${identity.tokenId ?? ''}`,
    principal: identity.name,
    role: identity.role,
    isCurrent: () => ports.isCurrent(identity),
    whenEnded: (ended) => ports.whenEnded(identity, ended),
    async request(verb, args, signal = new AbortController().signal, transaction) {
      const payload = Buffer.from(JSON.stringify({ ...args, transaction }))
      const overheadMs = OVERHEAD_MS + payload.length * OVERHEAD_MS_PER_BYTE
      if (payload.length > LARGE_BYTES) await nextTurn()
      const asked = ports.ask({ identity, address, verb, payload, signal, overheadMs })
      const answer = await unlessAborted(asked, signal)
      if (answer.length > LARGE_BYTES) await nextTurn()
      const response = JSON.parse(Buffer.from(answer).toString()) as VerbResponse
      if (response.ok || response.error === undefined) return response.data ?? {}
      const { code, message, path, details } = response.error
      throw new Refusal(code, message, path, details)
    },
  }
}

/** Rejects at once when the signal is aborted; the bridge ends the request by itself. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = () => reject(new Refusal('cancelled', 'nobody waits for it any more'))
    if (signal.aborted) aborted()
    signal.addEventListener('abort', aborted, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}
