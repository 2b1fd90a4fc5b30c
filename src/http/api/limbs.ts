import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Identity } from '../../bridge/ports.ts'
import type { Clock } from '../../kernel/clock.ts'
import { type ErrorBody, Refusal } from '../../kernel/errors.ts'
import { parseJson } from '../../protocol/decode.ts'
import { isName, NAME_HINT } from '../../protocol/names.ts'
import type { NodeInbound } from '../../protocol/topics.ts'
import { peerAddress } from '../address.ts'
import { onceOver } from '../once-over.ts'
import { rememberIdentity } from '../unread-answers.ts'
import { HttpLimbSession, type WaitingBytes } from './limb-session.ts'
import type { ApiPorts } from './ports.ts'
import { sendProblem } from './problem.ts'
import { parseAuthorization } from './sign-in.ts'

/** A poll may take this long at most; proxies give up after a minute. */
const MAX_WAIT_SECONDS = 50
/** The time between two polls for which a limb still counts as reachable. */
const POLL_SLACK_MS = 30_000
/** A session that nobody used for so long is forgotten; presence has its own, shorter deadlines. */
const IDLE_MS = 24 * 3_600_000
const SWEEP_MS = 60_000
const MAX_BODY_BYTES = 65_536

/** Is what a limb says of itself in a request: who it is, with which key, and the payload as on MQTT. */
interface LimbRequest {
  readonly nodeId: string
  readonly key: string | undefined
  readonly payload: Uint8Array
}

/**
 * Serves limbs that speak HTTP: `POST /api/limb/{register,heartbeat,deregister,result}` and the long poll
 * `GET /api/limb/invoke`. The payloads, the pairing, presence and all limits are those of MQTT.
 */
export function limbRoutes(app: FastifyInstance, ports: ApiPorts, clock: Clock): void {
  const limbs = new HttpLimbs(ports, clock)
  app.addHook('onClose', async () => limbs.stop())

  for (const leaf of ['register', 'heartbeat', 'deregister', 'result'] as const) {
    app.post(`/api/limb/${leaf}`, { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
      return await caught(reply, async () => {
        const asked = readRequest(request)
        return leaf === 'register'
          ? await limbs.register(asked, request, reply)
          : await limbs.message(leaf, asked, request, reply)
      })
    })
  }

  app.get('/api/limb/invoke', async (request, reply) =>
    caught(reply, () => limbs.poll(readRequest(request), request, reply)),
  )
}

async function caught(reply: FastifyReply, work: () => Promise<FastifyReply>): Promise<FastifyReply> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return sendProblem(reply, error)
  }
}

class HttpLimbs {
  readonly #ports: ApiPorts
  readonly #clock: Clock
  readonly #sessions = new Map<string, HttpLimbSession>()
  readonly #waiting: WaitingBytes = { bytes: 0 }
  #cancelSweep: (() => void) | undefined

  constructor(ports: ApiPorts, clock: Clock) {
    this.#ports = ports
    this.#clock = clock
  }

  /** Answers as the limb's `pairing` topic would; a request that waits is asked for again by registering again. */
  async register(asked: LimbRequest, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const identity = await this.#signIn(asked, request)
    if (identity.kind === 'limb') return await this.message('register', asked, request, reply)
    const { inbound } = this.#ports
    const session = this.#newSession(identity, request)
    inbound.opened(session)
    try {
      await inbound.message(session, { kind: 'node', nodeId: asked.nodeId, leaf: 'register' }, asked.payload)
      return answered(reply, session)
    } finally {
      inbound.closed(session, 'disconnect')
    }
  }

  /** Takes what an approved limb says. */
  async message(
    leaf: NodeInbound,
    asked: LimbRequest,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const session = await this.#limb(asked, request)
    session.takeAnswers()
    if (leaf === 'heartbeat') this.#ports.inbound.heartbeat(session, asked.payload)
    else
      await this.#ports.inbound.message(session, { kind: 'node', nodeId: asked.nodeId, leaf }, asked.payload)
    return answered(reply, session)
  }

  async poll(asked: LimbRequest, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { wait = '30' } = request.query as { wait?: string }
    const seconds = Number(wait)
    if (!/^\d{1,3}$/.test(wait) || seconds > MAX_WAIT_SECONDS) {
      throw new Refusal('invalid_request', `wait: must be 0 to ${MAX_WAIT_SECONDS} seconds`, 'wait')
    }
    const session = await this.#limb(asked, request)
    const gone = new AbortController()
    onceOver(request, reply, () => gone.abort())
    session.expectPoll(seconds * 1000, POLL_SLACK_MS)
    this.#ports.inbound.subscribed(session)
    const invocation = await session.next(seconds * 1000, POLL_SLACK_MS, gone.signal)
    if (invocation === undefined) return reply.code(204).send()
    return reply.type('application/json; charset=utf-8').send(Buffer.from(invocation))
  }

  stop(): void {
    this.#cancelSweep?.()
    for (const session of [...this.#sessions.values()]) session.end('stopped')
  }

  async #signIn({ nodeId, key }: LimbRequest, request: FastifyRequest): Promise<Identity> {
    const admission = await this.#ports.admit({
      clientId: nodeId,
      username: nodeId,
      password: key,
      address: peerAddress(request),
      local: false,
      certificateName: undefined,
      isGone: () => request.raw.socket.destroyed,
    })
    if (!admission.admitted)
      throw new Refusal(admission.unavailable ? 'storage_unavailable' : 'forbidden', admission.reason)
    if (admission.identity.kind === 'principal') {
      throw new Refusal('forbidden', `${nodeId} is a principal, no limb; it asks at /api/v1/`)
    }
    rememberIdentity(request, admission.identity)
    return admission.identity
  }

  /** The session of an approved limb: the one it has, or a new one, which takes the place of one over MQTT. */
  async #limb(asked: LimbRequest, request: FastifyRequest): Promise<HttpLimbSession> {
    const identity = await this.#signIn(asked, request)
    if (identity.kind !== 'limb') {
      const text = `${asked.nodeId} is not approved with this key; register, and wait for the approval`
      throw new Refusal('forbidden', text)
    }
    const known = this.#sessions.get(asked.nodeId)
    if (known?.alive && known.address === peerAddress(request)) {
      known.usedAtMs = this.#clock.monotonicMs()
      return known
    }
    known?.end('replaced')
    const session = this.#newSession(identity, request)
    this.#sessions.set(asked.nodeId, session)
    this.#ports.inbound.opened(session)
    this.#sweepLater()
    if (!session.alive)
      throw new Refusal('forbidden', `${asked.nodeId} was revoked or got a new key; sign in anew`)
    return session
  }

  #newSession(identity: Identity, request: FastifyRequest): HttpLimbSession {
    const session: HttpLimbSession = new HttpLimbSession(identity, peerAddress(request), {
      topics: this.#ports.topics,
      clock: this.#clock,
      ofAll: this.#waiting,
      onEnd: (why) => {
        for (const [nodeId, each] of this.#sessions) {
          if (each !== session) continue
          this.#sessions.delete(nodeId)
          this.#ports.inbound.closed(session, why)
        }
      },
    })
    return session
  }

  #sweepLater(): void {
    this.#cancelSweep ??= this.#clock.after(SWEEP_MS, () => {
      this.#cancelSweep = undefined
      const before = this.#clock.monotonicMs() - IDLE_MS
      for (const session of [...this.#sessions.values()]) if (session.usedAtMs < before) session.end('lost')
      if (this.#sessions.size > 0) this.#sweepLater()
    })
  }
}

interface PairingReply {
  readonly status?: string
  readonly error?: ErrorBody
}

/** The newest answer of `pairing`, or that all is well; an error becomes a problem. */
function answered(reply: FastifyReply, session: HttpLimbSession): FastifyReply {
  const newest = session.takeAnswers().at(-1)
  if (newest === undefined) return reply.send({ status: 'ok' })
  const answer = JSON.parse(Buffer.from(newest).toString()) as PairingReply
  if (answer.status === 'error' && answer.error !== undefined) return sendProblem(reply, ofHttp(answer.error))
  if (answer.status === 'rejected') return reply.code(403).send(answer)
  return reply.send(answer)
}

/** Names the key as a request over HTTP does; on MQTT it is the password. */
function ofHttp(error: ErrorBody): ErrorBody {
  return error.path === 'password' ? { ...error, path: 'apiKey' } : error
}

/** Reads a request. Who asks stands in the header, or, as devices of old send it, in the body beside the payload. */
function readRequest(request: FastifyRequest): LimbRequest {
  const authorization = parseAuthorization(request.headers.authorization)
  const body = readBody(request.body as Buffer | undefined)
  const { nodeId: queried } = request.query as { nodeId?: unknown }
  const { nodeId = authorization?.name ?? queried, apiKey, ...payload } = body
  if (typeof nodeId !== 'string' || !isName(nodeId)) {
    throw new Refusal('invalid_request', `nodeId: must be ${NAME_HINT}`, 'nodeId')
  }
  if (authorization?.name !== undefined && authorization.name !== nodeId) {
    throw new Refusal('invalid_request', `nodeId: the header signs in as another limb`, 'nodeId')
  }
  if (apiKey !== undefined && apiKey !== null && typeof apiKey !== 'string') {
    throw new Refusal('invalid_request', 'apiKey: must be a string', 'apiKey')
  }
  const key = authorization?.secret ?? apiKey
  return {
    nodeId,
    key: key === undefined || key === null || key === '' ? undefined : key,
    payload: Buffer.from(JSON.stringify(payload)),
  }
}

function readBody(body: Buffer | undefined): Record<string, unknown> {
  if (body === undefined || body.length === 0) return {}
  const value = parseJson(body, MAX_BODY_BYTES)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal('invalid_request', 'the body must be a JSON object')
  }
  return value as Record<string, unknown>
}
