import type { ServerResponse } from 'node:http'
import type { Clock } from '../../kernel/clock.ts'
import type { McpCaller } from '../../mcp/streamable/caller.ts'
import type { UnreadBytes } from '../held-bytes.ts'

/** The bytes that one client may leave unread when more come. */
const MAX_UNREAD_BYTES = 1_048_576
/** The pace at which a quiet stream is looked at whether its principal still may read it. */
const LOOK_MS = 15_000

/** Sends the bodies of responses, and ends those whose client does not read or may not read any more. */
export class ResponseStreams {
  readonly #clock: Clock
  readonly #unread: UnreadBytes
  readonly #open = new Set<ServerResponse>()

  constructor(clock: Clock, unread: UnreadBytes) {
    this.#clock = clock
    this.#unread = unread
  }

  get size(): number {
    return this.#open.size
  }

  /** Resolves when the body has been sent, or its client has gone. */
  async send(
    response: Response,
    to: ServerResponse,
    { principal, isCurrent: mayRead, whenEnded }: Pick<McpCaller, 'principal' | 'isCurrent' | 'whenEnded'>,
    clientGone: AbortSignal,
  ): Promise<void> {
    to.writeHead(response.status, { ...Object.fromEntries(response.headers), ...SAFE })
    if (response.body === null) {
      to.end()
      return
    }
    const reader = response.body.getReader() as ReadableStreamDefaultReader<Uint8Array>
    const stopLooking = this.#look(to, mayRead)
    const unwatch = whenEnded(() => to.destroy())
    const gone = () => void reader.cancel().catch(() => undefined)
    clientGone.addEventListener('abort', gone, { once: true })
    this.#open.add(to)
    const own = { principal, measure: () => to.writableLength, end: () => void to.destroy() }
    const place = this.#unread.enter(own)
    // A stream that is not followed by an event has its headers sent at once.
    to.flushHeaders()
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        if (to.destroyed || clientGone.aborted) return
        if (!mayRead()) to.destroy()
        else if (to.writableLength > MAX_UNREAD_BYTES) this.#unread.end(own)
        else to.write(next.value)
        place.changed()
      }
      to.end()
    } finally {
      stopLooking()
      unwatch()
      // What it has not read of its last bytes counts until it has.
      if (to.writableFinished || to.destroyed) place.leave()
      else to.once('close', () => place.leave())
      this.#open.delete(to)
    }
  }

  endAll(): void {
    for (const response of this.#open) response.destroy()
  }

  #look(to: ServerResponse, mayRead: () => boolean): () => void {
    let cancel = () => {}
    const look = () => {
      if (!mayRead()) to.destroy()
      else cancel = this.#clock.after(LOOK_MS, look)
    }
    cancel = this.#clock.after(LOOK_MS, look)
    return () => cancel()
  }
}

const SAFE = { 'cache-control': 'no-store, no-transform', 'x-content-type-options': 'nosniff' }
