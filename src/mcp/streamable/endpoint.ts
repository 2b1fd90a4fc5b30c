import type { Clock } from '../../kernel/clock.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import type { Topics } from '../../protocol/topics.ts'
import { ApprovalWatch } from '../approval-watch.ts'
import { failureOfRefusal } from '../failures.ts'
import { type Library, loadLibrary, makeSchemas } from '../library.ts'
import { type McpServerParts, mcpServers } from '../server.ts'
import { ToolCalls } from '../tool-calls.ts'
import { CallerBridge, type McpCaller } from './caller.ts'
import { type McpAnswer, RPC, refusedAnswer } from './errors.ts'
import { EventWindows } from './event-window.ts'
import { McpSession } from './session.ts'
import { SingleRequests } from './single-requests.ts'
import { TopicWatches } from './topic-watches.ts'

/** The most sessions of one principal, and in all. */
const MAX_SESSIONS_PER_PRINCIPAL = 16
const MAX_SESSIONS = 200
/** The time of a turn of the event loop in which requests of all clients are read and answered. */
const ANSWERING_MS = 5
/** The pace at which sessions are looked for whose time is over. */
const SWEEP_MS = 15_000

export interface McpEndpointOptions {
  readonly version: string
  readonly clock: Clock
  readonly topics: Topics
  /** Calls the listener with each message that is published, from then on for ever. */
  listen(listener: (topic: string, payload: Uint8Array) => void): void
}

/** Is one request, and the parsed JSON of a POST. */
export interface McpRequest {
  readonly request: Request
  readonly body: unknown
}

interface Loaded {
  readonly sdk: Library
  readonly single: SingleRequests
}

interface CallerParts {
  readonly bridge: CallerBridge
  readonly parts: McpServerParts
}

/**
 * Answers the requests of MCP's Streamable HTTP transport: sessions for the protocols of 2025, single requests for
 * those from 2026 on. Whoever hands the requests in has looked at who asks and from where.
 */
export class McpEndpoint {
  readonly #options: McpEndpointOptions
  readonly #watches = new TopicWatches()
  readonly #windows = new EventWindows()
  readonly #sessions = new Map<string, McpSession>()
  readonly #answering: TurnTime
  #loading: Promise<Loaded> | undefined
  #loaded: Loaded | undefined
  #cancelSweep: (() => void) | undefined

  constructor(options: McpEndpointOptions) {
    this.#options = options
    this.#answering = new TurnTime(options.clock, ANSWERING_MS)
  }

  get sessions(): number {
    return this.#sessions.size
  }

  /** Counts the bytes that are kept for clients who come back. */
  get keptBytes(): number {
    return this.#windows.bytes
  }

  /**
   * Answers one request, which is read when its turn has come. Rejects with what `read` throws, else only for a broken
   * invariant.
   */
  async handle(read: () => McpRequest, caller: McpCaller): Promise<McpAnswer> {
    this.#loading ??= this.#load()
    const { sdk, single } = await this.#loading
    // Always: what a request costs shows behind it, and hundreds that waited for the library go on at one moment.
    await this.#answering.next()
    const { request, body } = read()
    if (request.method === 'POST' && !(await sdk.isLegacyRequest(request, body))) {
      const { parts, bridge } = await this.#partsOf(caller)
      return await single.handle(request, body, caller, { ...parts, announcesChanges: false }, () =>
        bridge.close(),
      )
    }
    const id = request.headers.get('mcp-session-id')
    if (id !== null) return await this.#inSession(id, request, body, caller)
    if (request.method === 'POST' && sdk.isInitializeRequest(body))
      return await this.#begin(sdk, request, body, caller)
    const text = 'there is no session: send `initialize` first, then its Mcp-Session-Id with each request'
    return refusedAnswer(400, RPC.server, text)
  }

  async close(): Promise<void> {
    this.#cancelSweep?.()
    const sessions = [...this.#sessions.values()]
    this.#sessions.clear()
    await Promise.all([...sessions.map((session) => session.end()), this.#loaded?.single.close()])
  }

  async #load(): Promise<Loaded> {
    // With the first request: a bridge whose agents are elsewhere never needs it.
    const sdk = await loadLibrary()
    await makeSchemas(sdk)
    const { clock, topics, listen } = this.#options
    const single = new SingleRequests(sdk, clock, topics)
    listen((topic, payload) => {
      this.#watches.take(topic, payload)
      single.published(topic)
    })
    this.#loaded = { sdk, single }
    return this.#loaded
  }

  async #begin(sdk: Library, request: Request, body: unknown, caller: McpCaller): Promise<McpAnswer> {
    if (!this.#makeRoom(caller)) {
      const text = `there are too many sessions (at most ${MAX_SESSIONS_PER_PRINCIPAL} of a principal and ${MAX_SESSIONS} in all); end one with DELETE`
      return refusedAnswer(429, RPC.server, text)
    }
    const session = await this.#newSession(sdk, caller)
    const answer = { response: await session.handle(request, body), ended: () => session.answered() }
    if (!answer.response.ok) this.#end(session)
    return answer
  }

  async #newSession(sdk: Library, caller: McpCaller): Promise<McpSession> {
    const { clock } = this.#options
    const window = this.#windows.open()
    const { parts, bridge } = await this.#partsOf(caller)
    const session = new McpSession(sdk, { clock, caller, bridge, calls: parts.calls, window }, (ended) =>
      this.#end(ended),
    )
    this.#sessions.set(session.id, session)
    session.ends(caller.whenEnded(() => this.#end(session)))
    this.#sweepLater()
    await session.start(await mcpServers(parts))
    return session
  }

  async #inSession(id: string, request: Request, body: unknown, caller: McpCaller): Promise<McpAnswer> {
    const session = this.#sessions.get(id)
    if (session?.caller.isCurrent() === false) this.#end(session)
    // Who asks with another token or name is not told that there is one.
    if (session === undefined || !this.#sessions.has(id) || session.caller.key !== caller.key) {
      return refusedAnswer(404, RPC.noSession, 'Session not found: send `initialize` for a new one')
    }
    return { response: await session.handle(request, body), ended: () => session.answered() }
  }

  async #partsOf(caller: McpCaller): Promise<CallerParts> {
    const { version, clock, topics } = this.#options
    const bridge = new CallerBridge(topics, caller, this.#watches)
    const approvals = new ApprovalWatch(clock, caller.principal)
    await approvals.follow(bridge)
    const failureOf = failureOfRefusal
    // The end of a request takes its invocation back by itself.
    const calls = new ToolCalls({ bridge, approvals, clock, failureOf, takeBack: async () => false })
    const role = async () => caller.role
    return { bridge, parts: { version, clock, bridge, calls, failureOf, role } }
  }

  /** Returns whether there is room, after it has ended the principal's session that was used longest ago if need be. */
  #makeRoom({ principal }: McpCaller): boolean {
    const own = [...this.#sessions.values()].filter((session) => session.caller.principal === principal)
    if (own.length < MAX_SESSIONS_PER_PRINCIPAL && this.#sessions.size < MAX_SESSIONS) return true
    const [oldest] = own.filter((session) => session.quiet).sort((a, b) => a.usedAtMs - b.usedAtMs)
    if (oldest === undefined) return false
    this.#end(oldest)
    return true
  }

  #end(session: McpSession): void {
    if (!this.#sessions.delete(session.id)) return
    this.#windows.close(session.window)
    void session.end()
  }

  #sweepLater(): void {
    const { clock } = this.#options
    this.#cancelSweep ??= clock.after(SWEEP_MS, () => {
      this.#cancelSweep = undefined
      const now = clock.monotonicMs()
      for (const session of [...this.#sessions.values()]) if (session.sweep(now)) this.#end(session)
      if (this.#sessions.size > 0) this.#sweepLater()
    })
  }
}
