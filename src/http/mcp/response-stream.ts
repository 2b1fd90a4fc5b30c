import type { ServerResponse } from 'node:http'
import type { Clock } from '../../kernel/clock.ts'

/** The bytes that one client may leave unread when more come, and all clients together. */
const MAX_UNREAD_BYTES = 1_048_576
const MAX_UNREAD_BYTES_IN_ALL = 67_108_864
/** The pace at which a quiet stream is looked at whether its principal still may read it. */
const LOOK_MS = 15_000

/** Sends the bodies of responses, and ends those whose client does not read or may not read any more. */
export class ResponseStreams {
  readonly #clock: Clock
  readonly #open = new Set<ServerResponse>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#open.size
  }

  /** Resolves when the body has been sent, or its client has gone. */
  async send(
    response: Response,
    to: ServerResponse,
    mayRead: () => boolean,
    clientGone: AbortSignal,
  ): Promise<void> {
    to.writeHead(response.status, { ...Object.fromEntries(response.headers), ...SAFE })
    if (response.body === null) {
      to.end()
      return
    }
    const reader = response.body.getReader() as ReadableStreamDefaultReader<Uint8Array>
    const stopLooking = this.#look(to, mayRead)
    const gone = () => void reader.cancel().catch(() => undefined)
    clientGone.addEventListener('abort', gone, { once: true })
    this.#open.add(to)
    // A stream that is not followed by an event has its headers sent at once.
    to.flushHeaders()
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        if (to.destroyed || clientGone.aborted) return
        if (this.#isBehind(to) || !mayRead()) to.destroy()
        else to.write(next.value)
      }
      to.end()
    } finally {
      stopLooking()
      this.#open.delete(to)
    }
  }

  endAll(): void {
    for (const response of this.#open) response.destroy()
  }

  #isBehind({ writableLength }: ServerResponse): boolean {
    if (writableLength > MAX_UNREAD_BYTES) return true
    if (writableLength === 0) return false
    let all = 0
    for (const each of this.#open) all += each.writableLength
    return all > MAX_UNREAD_BYTES_IN_ALL
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
