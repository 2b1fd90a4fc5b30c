import type { EventStore, JSONRPCMessage } from '@modelcontextprotocol/server'

/** The most events that are kept for one session. */
const MAX_EVENTS = 512
/** The most bytes of one session, and of all. */
const MAX_BYTES = 2_097_152
const MAX_BYTES_IN_ALL = 33_554_432

interface Kept {
  readonly seq: number
  readonly stream: string
  readonly message: JSONRPCMessage
  readonly bytes: number
}

/** Keeps what was sent last, so that a client whose connection broke can be given the rest of it. */
export class EventWindows {
  readonly #windows = new Set<EventWindow>()
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  open(): EventWindow {
    const window = new EventWindow((change) => this.#changed(change))
    this.#windows.add(window)
    return window
  }

  close(window: EventWindow): void {
    window.clear()
    this.#windows.delete(window)
  }

  #changed(change: number): void {
    this.#bytes += change
    while (this.#bytes > MAX_BYTES_IN_ALL) {
      const [largest] = [...this.#windows].sort((a, b) => b.bytes - a.bytes)
      if (largest === undefined || !largest.dropOldest()) return
    }
  }
}

/** The window of one session. At its bound the oldest goes, and who would have needed that is told so. */
export class EventWindow implements EventStore {
  readonly #onChange: (bytes: number) => void
  readonly #events: Kept[] = []
  /** The newest event of each stream that was dropped; streams without events left are forgotten with their session. */
  readonly #dropped = new Map<string, number>()
  #seq = 0
  #bytes = 0

  constructor(onChange: (bytes: number) => void) {
    this.#onChange = onChange
  }

  get bytes(): number {
    return this.#bytes
  }

  async storeEvent(stream: string, message: JSONRPCMessage): Promise<string> {
    const seq = ++this.#seq
    const bytes = JSON.stringify(message).length
    this.#events.push({ seq, stream, message, bytes })
    while (this.#events.length > MAX_EVENTS || (this.#bytes + bytes > MAX_BYTES && this.#events.length > 1)) {
      if (!this.dropOldest()) break
    }
    this.#bytes += bytes
    this.#onChange(bytes)
    return `${seq}.${stream}`
  }

  /** Returns undefined when something after the event is not here any more, or it is none of this session. */
  async getStreamIdForEventId(eventId: string): Promise<string | undefined> {
    const { seq, stream } = placeOf(eventId)
    if (!(seq > 0 && seq <= this.#seq)) return undefined
    if (seq < (this.#dropped.get(stream) ?? 0)) return undefined
    const known = this.#dropped.has(stream) || this.#events.some((event) => event.stream === stream)
    return known ? stream : undefined
  }

  async replayEventsAfter(
    eventId: string,
    { send }: { send: (eventId: string, message: JSONRPCMessage) => Promise<void> },
  ): Promise<string> {
    const { seq, stream } = placeOf(eventId)
    for (const event of [...this.#events]) {
      // The first one of a stream is no message: it only gives the client an id.
      if (event.stream !== stream || event.seq <= seq || Object.keys(event.message).length === 0) continue
      await send(`${event.seq}.${stream}`, event.message)
    }
    return stream
  }

  dropOldest(): boolean {
    const oldest = this.#events.shift()
    if (oldest === undefined) return false
    this.#bytes -= oldest.bytes
    this.#onChange(-oldest.bytes)
    this.#dropped.delete(oldest.stream)
    this.#dropped.set(oldest.stream, oldest.seq)
    const [first] = this.#dropped.keys()
    if (this.#dropped.size > MAX_EVENTS && first !== undefined) this.#dropped.delete(first)
    return true
  }

  clear(): void {
    this.#onChange(-this.#bytes)
    this.#bytes = 0
    this.#events.length = 0
    this.#dropped.clear()
  }
}

function placeOf(eventId: string): { seq: number; stream: string } {
  const dot = eventId.indexOf('.')
  const text = eventId.slice(0, Math.max(0, dot))
  return { seq: /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN, stream: eventId.slice(dot + 1) }
}
