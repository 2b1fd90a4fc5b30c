import type { AedesClient, Persistence, Qos, RoutedPacket } from './aedes-internals.ts'
import type { BrokerCounters } from './counters.ts'
import type { BrokerLimits } from './limits.ts'
import { OrderedQueue } from './ordered-queue.ts'
import { PacketIds } from './packet-ids.ts'
import { PublishFrame } from './publish-frame.ts'

export interface SessionOutboxOptions {
  readonly client: AedesClient<unknown>
  readonly persistence: Persistence
  readonly limits: BrokerLimits
  readonly counters: BrokerCounters
  /** The reader takes nothing and its bound is reached: the session must end. */
  readonly overrun: () => void
  /** A QoS 0 message was not sent. */
  readonly shed: () => void
  readonly failed: (error: unknown) => void
}

/** A message for this session at the QoS it will have there. */
export interface Outgoing {
  readonly packet: RoutedPacket
  readonly qos: Qos
  /** Its bytes, when they were made for other sessions already. */
  readonly frame: PublishFrame | undefined
  /** The store keeps it for this session until it is acknowledged. */
  readonly stored: boolean
}

/**
 * What goes out to one session, in order, and no more than the session can take: live messages wait while its
 * stored queue is emptied, QoS 1 and 2 wait for acknowledgements beyond a window, QoS 0 is shed when the
 * socket is full. Nobody else ever waits for this session.
 */
export class SessionOutbox {
  readonly #options: SessionOutboxOptions
  readonly handshakes = new PacketIds()
  readonly #order: OrderedQueue
  #waiting: Outgoing[] = []
  #waitingBytes = 0
  #held = true
  #closed = false
  /** `brokerCounter` of what the stored queue has sent since this session began. */
  readonly #resent = new Set<number>()
  #resentUpTo = 0
  #forRoom: (() => void)[] = []

  constructor(options: SessionOutboxOptions) {
    this.#options = options
    this.#order = new OrderedQueue(options.failed)
  }

  /** Unsent bytes. */
  get bytes(): number {
    return this.#options.client.conn.writableLength + this.#waitingBytes
  }

  /** From now on messages go out; before they wait. */
  open(): void {
    this.#held = false
    this.#sendWaiting()
  }

  close(): void {
    this.#closed = true
    this.#waiting = []
    this.#waitingBytes = 0
    this.#resent.clear()
    this.#notifyRoom()
  }

  /** Calls back when the reader has taken, and acknowledged, enough for the next message, or is gone. */
  whenRoom(done: () => void): void {
    const { client } = this.#options
    if (this.#closed || client.conn.destroyed) setImmediate(done)
    else if (client.conn.writableNeedDrain) client.waitForDrain(() => this.whenRoom(done))
    else if (this.#waiting.length > 0) this.#forRoom.push(done)
    else done()
  }

  #notifyRoom(): void {
    const told = this.#forRoom
    if (told.length === 0) return
    this.#forRoom = []
    for (const done of told) done()
  }

  /** Aedes has sent this message from the stored queue: it must not go out a second time. */
  resent(counter: number): void {
    this.#resent.add(counter)
    this.#resentUpTo = Math.max(this.#resentUpTo, counter)
  }

  /** A handshake may have ended. */
  acknowledged(): void {
    if (this.#waiting.length > 0) this.#sendWaiting()
  }

  put(message: Outgoing): void {
    if (this.#closed) return
    const { limits, counters } = this.#options
    const bytes = this.bytes
    if (message.qos === 0 && bytes > limits.maxSessionBufferBytes) {
      counters.shed++
      this.#options.shed()
      return
    }
    if (bytes > limits.maxSessionQueueBytes) {
      counters.overrun++
      this.#options.overrun()
      return
    }
    if (this.#waiting.length === 0 && this.#mayGo(message)) {
      this.#send(message)
    } else {
      this.#waiting.push(message)
      this.#waitingBytes += size(message)
    }
  }

  /** Runs `task` after everything that was put so far has been written. */
  after(task: () => void): void {
    this.#order.run(task)
  }

  #mayGo(message: Outgoing): boolean {
    return (
      !this.#held && (message.qos === 0 || this.handshakes.size < this.#options.limits.maxInflightPerSession)
    )
  }

  #sendWaiting(): void {
    let sent = 0
    for (const message of this.#waiting) {
      if (!this.#mayGo(message)) break
      sent++
      this.#waitingBytes -= size(message)
      this.#send(message)
    }
    if (sent > 0) this.#waiting.splice(0, sent)
    if (this.#waiting.length === 0) this.#notifyRoom()
  }

  #send(message: Outgoing): void {
    const { packet, qos, stored } = message
    if (stored && this.#wasResent(packet.brokerCounter)) return
    const { client, persistence } = this.#options
    const messageId = qos === 0 ? 0 : this.handshakes.begin(qos)
    const write = () => this.#write(message, messageId)
    if (!stored || qos === 0 || client.clean) {
      this.#order.run(write)
      return
    }
    // The acknowledgement will name the packet identifier: the store must know it before the message leaves.
    const ticket = this.#order.hold(write)
    const release = () => this.#order.release(ticket)
    persistence.outgoingUpdate(client, { ...packet, qos, messageId }).then(release, release)
  }

  #write(message: Outgoing, messageId: number): void {
    const { client, counters } = this.#options
    const { conn } = client
    if (this.#closed || conn.destroyed || conn.writableEnded) return
    const { packet, qos } = message
    const frame = message.frame ?? new PublishFrame(packet.topic, packet.payload, qos, packet.retain)
    counters.messagesOut++
    frame.writeTo(conn, messageId)
  }

  #wasResent(counter: number): boolean {
    if (this.#resent.size === 0) return false
    const was = this.#resent.delete(counter)
    if (counter >= this.#resentUpTo) this.#resent.clear()
    return was
  }
}

function size(message: Outgoing): number {
  return message.packet.payload.length + message.packet.topic.length + 64
}
