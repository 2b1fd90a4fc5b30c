import { randomBytes } from 'node:crypto'
import type { Feed, PublishedMessage } from '../../bridge/ports.ts'
import { isJson } from '../../protocol/json-text.ts'
import type { Topics } from '../../protocol/topics.ts'

/** Messages that a reader who comes back can still be given. */
const WINDOW_MESSAGES = 2000
const WINDOW_BYTES = 1_048_576

/** Is one Server-Sent Event, as it goes out. */
export interface ServerEvent {
  /** Rises by one; undefined for limb data, of which there may be too much to keep. */
  readonly seq: number | undefined
  readonly text: string
}

/** Takes what is published, in order. Total and quick. */
export type EventReader = (event: ServerEvent) => void

/**
 * Turns what the broker publishes into Server-Sent Events and keeps the newest ones. It listens from the first reader
 * on, so that a bridge whose API nobody watches does no work for it.
 */
export class EventLog {
  /** A restart begins anew, so an id of the run before is known as such. */
  readonly #run = randomBytes(6).toString('base64url')
  readonly #topics: Topics
  readonly #feed: Feed
  readonly #window: ServerEvent[] = []
  readonly #readers = new Map<EventReader, { readonly data: boolean }>()
  #bytes = 0
  #seq = 0
  #listens = false

  constructor(topics: Topics, feed: Feed) {
    this.#topics = topics
    this.#feed = feed
  }

  get readers(): number {
    return this.#readers.size
  }

  /** Returns the function that ends it. `data`: what limbs publish on `data/…` too. */
  read(reader: EventReader, options: { readonly data: boolean }): () => void {
    if (!this.#listens) {
      this.#listens = true
      this.#feed.listen((message) => this.#take(message))
    }
    this.#readers.set(reader, options)
    return () => this.#readers.delete(reader)
  }

  /** The events after the one with this id, or undefined when they are not all here any more. */
  since(lastEventId: string): readonly ServerEvent[] | undefined {
    const [run, text = ''] = lastEventId.split('.')
    const seq = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    const oldest = this.#seq - this.#window.length
    if (run !== this.#run || !(seq >= oldest && seq <= this.#seq)) return undefined
    return this.#window.slice(seq - oldest)
  }

  /** The id of the last event that a reader who begins now counts as having seen. */
  get lastId(): string {
    return `${this.#run}.${this.#seq}`
  }

  /** Retained state, or undefined for what everybody may not see. */
  show(message: Pick<PublishedMessage, 'topic' | 'payload' | 'retain'>): string | undefined {
    return this.#kindOf(message.topic) === undefined ? undefined : this.#text(message, undefined)
  }

  #take(message: PublishedMessage): void {
    // Also while nobody reads: who comes back is given what it has missed.
    const kind = this.#kindOf(message.topic)
    if (kind === undefined || (kind === 'data' && this.#readers.size === 0)) return
    const seq = kind === 'data' ? undefined : ++this.#seq
    const event = { seq, text: this.#text(message, seq) }
    if (seq !== undefined) this.#keep(event)
    for (const [reader, { data }] of this.#readers) if (data || kind !== 'data') reader(event)
  }

  #keep(event: ServerEvent): void {
    this.#window.push(event)
    this.#bytes += event.text.length
    while (this.#window.length > WINDOW_MESSAGES || this.#bytes > WINDOW_BYTES) {
      this.#bytes -= this.#window.shift()?.text.length ?? 0
    }
  }

  /**
   * Returns the kind of a topic that every principal may read (protocol, section 3); a response belongs to one alone.
   */
  #kindOf(topic: string): 'bridge' | 'node' | 'data' | undefined {
    const address = this.#topics.parse(topic)
    if (address?.kind === 'bridge' || address?.kind === 'data') return address.kind
    return address?.kind === 'node' && READABLE_LEAVES.has(address.leaf) ? 'node' : undefined
  }

  #text(
    { topic, payload, retain }: Pick<PublishedMessage, 'topic' | 'payload' | 'retain'>,
    seq: number | undefined,
  ): string {
    const id = seq === undefined ? '' : `id: ${this.#run}.${seq}\n`
    const head = JSON.stringify({ topic, retain }).slice(0, -1)
    return `${id}event: message\ndata: ${head},${readable(payload)}}\n\n`
  }
}

const READABLE_LEAVES = new Set<string>(['status', 'state', 'description'])

/**
 * JSON as it is, other text as a string, other bytes as base64; null for a retained topic that was cleared. JSON stays as
 * it came, but for ends of lines, which would end the event: to write it anew would cost as much again, and what is
 * nested too deep cannot be written anew. Nor is it read: a limb may send a megabyte of empty lists.
 */
function readable(payload: Uint8Array): string {
  if (payload.length === 0) return '"payload":null'
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(payload)
  } catch {
    return `"payloadBase64":"${Buffer.from(payload).toString('base64')}"`
  }
  return `"payload":${isJson(payload) ? text.replaceAll(/[\r\n]/g, ' ') : JSON.stringify(text)}`
}
