import type {
  McpServerFactory,
  Server,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import type { Clock } from '../../kernel/clock.ts'
import { newKey } from '../../kernel/secrets.ts'
import type { Library } from '../library.ts'
import type { ToolCalls } from '../tool-calls.ts'
import type { CallerBridge, McpCaller } from './caller.ts'
import type { EventWindow } from './event-window.ts'

type Transport = WebStandardStreamableHTTPServerTransport

/** The time after which a client whose stream broke is asked to come back. */
const RETRY_MS = 2000
/** The time for which calls go on that no connection waits for. */
const ABANDONED_MS = 60_000
/** The time after which a session that nobody uses ends. */
const IDLE_MS = 1_800_000

export interface SessionParts {
  readonly clock: Clock
  readonly caller: McpCaller
  readonly bridge: CallerBridge
  readonly calls: ToolCalls
  readonly window: EventWindow
}

/** Is one session of a client that speaks a protocol of 2025: it lives over many requests. */
export class McpSession {
  readonly id = newKey()
  readonly caller: McpCaller
  readonly window: EventWindow
  readonly #parts: SessionParts
  readonly #transport: Transport
  #server: Server | undefined
  #open = 0
  #usedAtMs: number
  #ended = false
  #unwatch: () => void = () => undefined

  constructor(sdk: Library, parts: SessionParts, onEnd: (session: McpSession) => void) {
    this.#parts = parts
    this.caller = parts.caller
    this.window = parts.window
    this.#usedAtMs = parts.clock.monotonicMs()
    this.#transport = new sdk.WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => this.id,
      onsessionclosed: () => onEnd(this),
      eventStore: parts.window,
      retryInterval: RETRY_MS,
    })
  }

  async start(servers: McpServerFactory): Promise<void> {
    this.#server = (await servers({ era: 'legacy' })) as Server
    await this.#server.connect(this.#transport)
  }

  /** Is true when nobody is connected, and nothing is under way. */
  get quiet(): boolean {
    return this.#open === 0 && this.#parts.calls.underWay === 0
  }

  get usedAtMs(): number {
    return this.#usedAtMs
  }

  async handle(request: Request, body: unknown): Promise<Response> {
    this.#open++
    try {
      return await this.#transport.handleRequest(request, body === undefined ? {} : { parsedBody: body })
    } catch (error) {
      this.answered()
      throw error
    }
  }

  /** Notes the end of a response. */
  answered(): void {
    this.#open--
    this.#usedAtMs = this.#parts.clock.monotonicMs()
  }

  /** Returns whether its time is over; takes back what nobody waits for. */
  sweep(nowMs: number): boolean {
    if (!this.caller.isCurrent()) return true
    if (this.#open > 0) return false
    const idleMs = nowMs - this.#usedAtMs
    if (idleMs > ABANDONED_MS && this.#parts.calls.underWay > 0) void this.#parts.calls.stop()
    return idleMs > IDLE_MS
  }

  /** Sets what is called when the session has ended. */
  ends(unwatch: () => void): void {
    if (this.#ended) unwatch()
    else this.#unwatch = unwatch
  }

  async end(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    this.#unwatch()
    this.#parts.bridge.close()
    await Promise.all([this.#parts.calls.stop(), this.#server?.close()])
  }
}
