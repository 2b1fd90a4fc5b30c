import { Readable } from 'node:stream'
import {
  type MqttStore,
  messageBytes,
  type QueuedMessage,
  type QueueTarget,
} from '../../bridge/mqtt-store.ts'
import type { Log } from '../../bridge/ports.ts'
import { messageOf } from '../../kernel/errors.ts'
import { columnsOf, type PublishPacket, type PubrelPacket, queuedPacket } from './packets.ts'

export interface QueueLimits {
  readonly maxQueuedPerSession: number
  /** The bytes of topics, payloads and properties, in all sessions of one identity. */
  readonly maxQueuedBytesPerIdentity: number
  /** The bytes of topics, payloads and properties in all queues. */
  readonly maxQueuedBytes: number
}

/** Says which bound a queue has reached. */
export type QueueFull = 'queue' | 'queue_bytes' | 'database'

export interface QueuesOptions {
  readonly store: MqttStore
  readonly limits: QueueLimits
  readonly log: Log
  /** Returns whether a connection with this client id is open: only then its messages are remembered by number. */
  readonly isLive: (clientId: string) => boolean
  /** A message was not queued, because the queue is full. */
  readonly onFull: (clientId: string, why: QueueFull) => void
}

/** A queued message that the live session was or will be sent. */
interface Entry {
  readonly sequence: number
  readonly bytes: number
  readonly qos: 0 | 1 | 2
  released: boolean
}

interface SessionQueue {
  messages: number
  bytes: number
  /** Messages by the broker's number: not sent yet on this connection. */
  readonly unsent: Map<string, Entry>
  /** Messages by packet identifier: sent, not acknowledged. */
  readonly inflight: Map<number, Entry>
  readonly share: Share
}

/** The sum of what the queues of one identity hold. */
interface Share {
  readonly name: string
  bytes: number
  sessions: number
}

const DONE = Promise.resolve()
/** Rows read at once; each may be as large as a packet. */
const PAGE = 16

/**
 * Queues of persistent sessions. The messages are rows; memory has their number and size, and for live
 * sessions which row a packet identifier stands for, so that an acknowledgement is a point write. A full queue
 * drops the newest: the oldest may be half-way through its handshake, and a session that missed something is
 * told the present state when it returns.
 */
export class Queues {
  readonly #options: QueuesOptions
  readonly #sessions = new Map<string, SessionQueue>()
  readonly #shares = new Map<string, Share>()
  /** The newest row: what came later was also sent live. */
  #newest = 0
  #messages = 0
  #bytes = 0
  newestCounter = 0

  constructor(options: QueuesOptions) {
    this.#options = options
  }

  async load(): Promise<void> {
    for (const {
      clientId,
      messages,
      bytes,
      newest,
      newestCounter,
    } of await this.#options.store.queueSizes()) {
      this.#count(this.#queueOf(clientId), messages, bytes)
      this.#newest = Math.max(this.#newest, newest)
      this.newestCounter = Math.max(this.newestCounter, newestCounter)
    }
  }

  has(clientId: string): boolean {
    return this.#sessions.has(clientId)
  }

  /** Messages that wait for this session. */
  length(clientId: string): number {
    return this.#sessions.get(clientId)?.messages ?? 0
  }

  /** The sum over all sessions. */
  get total(): { readonly messages: number; readonly bytes: number } {
    return { messages: this.#messages, bytes: this.#bytes }
  }

  forget(clientId: string): void {
    const queue = this.#sessions.get(clientId)
    if (!queue) return
    this.#count(queue, -queue.messages, -queue.bytes)
    this.#drop(clientId, queue)
  }

  /** The connection is gone: what was sent is sent again when the session returns. */
  rest(clientId: string): void {
    const queue = this.#sessions.get(clientId)
    queue?.unsent.clear()
    queue?.inflight.clear()
  }

  /** Resolves when the message is on disk in each of the queues that had room. */
  async enqueue(targets: Iterable<QueueTarget>, packet: PublishPacket): Promise<void> {
    const { store } = this.#options
    const { topic, payload, extra } = columnsOf(packet)
    const bytes = messageBytes({ topic, payload, extra })
    const roomy = [...targets].filter(({ clientId }) => this.#reserve(clientId, bytes))
    if (roomy.length === 0) return
    const { brokerId, brokerCounter } = numberOf(packet)
    const message = { topic, payload, extra, brokerId, brokerCounter }
    const parts = portions(roomy, bytes)
    const results = await Promise.allSettled(parts.map((targets) => store.enqueue(targets, message)))
    for (const [i, part] of parts.entries()) {
      const result = results[i]
      if (result?.status === 'fulfilled') this.#enqueued(part, result.value, packet, bytes)
      else for (const { clientId } of part) this.#give(clientId, bytes)
    }
    // Those of the other portions have it, and it is theirs.
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  #enqueued(
    targets: readonly QueueTarget[],
    sequences: readonly number[],
    packet: PublishPacket,
    bytes: number,
  ): void {
    targets.forEach(({ clientId, qos }, i) => {
      const sequence = sequences[i]
      if (sequence === undefined) return
      this.#newest = Math.max(this.#newest, sequence)
      if (!this.#options.isLive(clientId)) return
      this.#sessions.get(clientId)?.unsent.set(keyOf(packet), { sequence, bytes, qos, released: false })
    })
  }

  /**
   * Keeps a message that has its packet identifier already, and that no publish brought. Resolves to false when the queue
   * is full, or the client has gone meanwhile.
   */
  async keepSent(clientId: string, packet: PublishPacket): Promise<boolean> {
    // Numbers of the broker begin with 1, and these must not be taken for one of them.
    const own = { ...packet, brokerId: `sent ${packet.messageId}`, brokerCounter: 0 }
    await this.enqueue([{ clientId, qos: packet.qos, retain: false }], own)
    if (this.#sessions.get(clientId)?.unsent.has(keyOf(own)) !== true) return false
    await this.update(clientId, own)
    return true
  }

  /**
   * A message got a packet identifier, or PUBREC came. For QoS 1 nobody waits for the disk: a crash only sends
   * it again. What is not queued (a retained message, a second copy, one that found the queue full) needs
   * nothing. Never rejects: a session does not end because the disk is full.
   */
  update(clientId: string, packet: PublishPacket | PubrelPacket): Promise<void> {
    const queue = this.#sessions.get(clientId)
    const { messageId } = packet
    if (!queue || messageId === undefined) return DONE
    if (packet.cmd === 'pubrel') return this.#release(clientId, queue.inflight.get(messageId))
    const key = keyOf(packet)
    const entry = queue.unsent.get(key)
    if (!entry) return DONE
    queue.unsent.delete(key)
    queue.inflight.set(messageId, entry)
    const urgency = entry.qos === 2 ? 'now' : 'soon'
    const stored = this.#orLog(
      this.#options.store.updateQueued(clientId, entry.sequence, { messageId }, urgency),
    )
    return urgency === 'now' ? stored : DONE
  }

  #release(clientId: string, entry: Entry | undefined): Promise<void> {
    if (!entry || entry.released) return DONE
    entry.released = true
    return this.#orLog(this.#options.store.updateQueued(clientId, entry.sequence, { stage: 'pubrel' }, 'now'))
  }

  /** PUBACK or PUBCOMP came. Returns what is done with, or undefined for what was not queued. */
  async clear(clientId: string, messageId: number | undefined): Promise<object | undefined> {
    const queue = this.#sessions.get(clientId)
    const entry = messageId === undefined ? undefined : queue?.inflight.get(messageId)
    if (!queue || messageId === undefined || !entry) return undefined
    queue.inflight.delete(messageId)
    this.#give(clientId, entry.bytes)
    const { store } = this.#options
    // The row may not know its identifier yet, because that was written `soon`.
    const row = await store.queuedOne(clientId, entry.sequence)
    store.deleteQueued(clientId, entry.sequence).catch(() => {
      // The row is still there, and will be sent once more: it counts.
      this.#count(this.#queueOf(clientId), 1, entry.bytes)
    })
    return row === null ? undefined : queuedPacket({ ...row, messageId })
  }

  /** Streams what waits now, in order. Messages that come later are sent live. */
  stream(clientId: string): Readable {
    return Readable.from(this.#sessions.has(clientId) ? this.#rows(clientId, this.#newest) : [])
  }

  async *#rows(clientId: string, until: number): AsyncGenerator<object> {
    let after = 0
    for (;;) {
      const page = await this.#options.store.queued(clientId, after, PAGE)
      for (const row of page) {
        if (row.sequence > until) return
        after = row.sequence
        this.#remember(clientId, row)
        yield queuedPacket(row)
      }
      if (page.length < PAGE) return
    }
  }

  #remember(clientId: string, row: QueuedMessage): void {
    const queue = this.#sessions.get(clientId)
    if (!queue) return
    const { sequence, qos, stage, messageId } = row
    const bytes = messageBytes(row)
    const entry: Entry = { sequence, bytes, qos, released: stage === 'pubrel' }
    if (messageId === null) queue.unsent.set(keyOf(row), entry)
    else queue.inflight.set(messageId, entry)
  }

  #queueOf(clientId: string): SessionQueue {
    let queue = this.#sessions.get(clientId)
    if (!queue) {
      queue = {
        messages: 0,
        bytes: 0,
        unsent: new Map(),
        inflight: new Map(),
        share: this.#shareOf(clientId),
      }
      this.#sessions.set(clientId, queue)
    }
    return queue
  }

  /** The share of the identity that a session belongs to. */
  #shareOf(clientId: string): Share {
    const name = clientId.slice(0, clientId.indexOf(' ') + 1)
    let share = this.#shares.get(name)
    if (!share) {
      share = { name, bytes: 0, sessions: 0 }
      this.#shares.set(name, share)
    }
    share.sessions++
    return share
  }

  #drop(clientId: string, { share }: SessionQueue): void {
    this.#sessions.delete(clientId)
    if (--share.sessions === 0) this.#shares.delete(share.name)
  }

  #reserve(clientId: string, bytes: number): boolean {
    const queue = this.#queueOf(clientId)
    const full = this.#full(queue, bytes)
    if (full !== undefined) {
      this.#options.onFull(clientId, full)
      return false
    }
    this.#count(queue, 1, bytes)
    return true
  }

  #full(queue: SessionQueue, bytes: number): QueueFull | undefined {
    const { limits, store } = this.#options
    if (queue.messages >= limits.maxQueuedPerSession) return 'queue'
    if (queue.share.bytes + bytes > limits.maxQueuedBytesPerIdentity) return 'queue_bytes'
    if (this.#bytes + bytes > limits.maxQueuedBytes) return 'queue_bytes'
    return store.hasRoom(bytes) ? undefined : 'database'
  }

  #give(clientId: string, bytes: number): void {
    const queue = this.#sessions.get(clientId)
    if (!queue) return
    // The payload of a released message is gone from the row that was read back.
    this.#count(queue, -1, queue.messages > 1 ? -Math.min(bytes, queue.bytes) : -queue.bytes)
    if (queue.messages <= 0) this.#drop(clientId, queue)
  }

  #count(queue: SessionQueue, messages: number, bytes: number): void {
    queue.messages += messages
    queue.bytes += bytes
    queue.share.bytes += bytes
    this.#messages += messages
    this.#bytes += bytes
  }

  /** The store says itself, once, that it is broken. */
  #orLog(work: Promise<void>): Promise<void> {
    return work.catch((error: unknown) => {
      this.#options.log.debug({ error: messageOf(error) }, 'a delivery was not recorded; it may be repeated')
    })
  }
}

function numberOf(packet: { brokerId?: string | null | undefined; brokerCounter?: number | undefined }): {
  brokerId: string
  brokerCounter: number
} {
  return { brokerId: packet.brokerId ?? '', brokerCounter: packet.brokerCounter ?? 0 }
}

function keyOf(packet: { brokerId?: string | null | undefined; brokerCounter?: number | undefined }): string {
  const { brokerId, brokerCounter } = numberOf(packet)
  return `${brokerCounter} ${brokerId}`
}

/** The bytes of copies of one message that are written in one go: hundreds of a megabyte would stop everything meanwhile. */
const MAX_COPIED_BYTES = 1024 * 1024

function portions(targets: readonly QueueTarget[], bytes: number): (readonly QueueTarget[])[] {
  const size = Math.max(1, Math.floor(MAX_COPIED_BYTES / bytes))
  if (targets.length <= size) return [targets]
  return Array.from({ length: Math.ceil(targets.length / size) }, (_, i) =>
    targets.slice(i * size, (i + 1) * size),
  )
}
