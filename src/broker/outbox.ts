import type { Duplex } from 'node:stream'
import { LazyMap, LazySet } from '../kernel/lazy-collections.ts'
import type { SteadyClock } from '../kernel/steady-clock.ts'
import type { AedesClient, Persistence, Qos, RoutedPacket } from './aedes-internals.ts'
import type { BrokerCounters } from './counters.ts'
import type { BrokerLimits } from './limits.ts'
import { OrderedQueue } from './ordered-queue.ts'
import { PacketIds } from './packet-ids.ts'
import { PublishFrame, pubrel } from './publish-frame.ts'
import type { TurnWrites } from './turn-writes.ts'
import { isLarge, type SlowReader, type UnsentBytes } from './unsent-bytes.ts'

/**
 * The bytes that may wait for a session's acknowledgements before it is held back for them: it is not read meanwhile.
 */
const MAX_UNACKNOWLEDGED_BYTES = 4 * 1024 * 1024

/** Says how messages look on one connection. */
export interface Encoder {
  /** Writes a message; false when this client must not get it. `taken`: the stream has handed it on, or never will. */
  write(conn: Duplex, message: Outgoing, messageId: number, taken?: () => void): boolean
}

export interface SessionOutboxOptions {
  readonly client: AedesClient<unknown>
  readonly conn: Duplex
  readonly steady: SteadyClock
  readonly persistence: Persistence
  readonly limits: BrokerLimits
  readonly counters: BrokerCounters
  readonly writes: TurnWrites
  /** It is the control socket's: it is counted nowhere, and waits for nobody. */
  readonly isLocal: boolean
  /** Counts what this session has not taken. */
  readonly unsent: UnsentBytes
  /** Returns the name of the identity whose session it is. */
  readonly owner: () => string
  /** Too much waits for sessions of this identity, or for all: this one, which has most, must end. */
  readonly holdsMost: () => void
  /** The reader takes nothing and its bound is reached: the session must end. */
  readonly overrun: () => void
  /** A QoS 0 message was not sent. */
  readonly shed: () => void
  readonly failed: (error: unknown) => void
  /** Returns whether this session is owed one message only, the newest: a candidate's is. */
  readonly owesOne: () => boolean
}

/** A message for this session at the QoS it will have there. */
export interface Outgoing {
  readonly packet: RoutedPacket
  readonly qos: Qos
  /** Its bytes, when they were made for other sessions already. */
  readonly frame: PublishFrame | undefined
  readonly retain: boolean
  /** The identifiers of the subscriptions that it matches, for clients that speak MQTT 5. */
  readonly identifiers?: readonly number[] | undefined
  /** The store keeps it for this session until it is acknowledged. */
  readonly stored: boolean
}

/** Messages of MQTT 3.1 and 3.1.1. */
const ENCODER: Encoder = {
  write(conn, { packet, qos, frame, retain }, messageId, taken) {
    const bytes = frame ?? new PublishFrame(packet.topic, packet.payload, qos, retain, packet.dup)
    bytes.writeTo(conn, messageId, taken)
    return true
  },
}

/**
 * Sends to one session what is for it, in order, and no more than the session can take: live messages wait while its
 * stored queue is emptied, QoS 1 and 2 wait for acknowledgements beyond a window, QoS 0 is shed when the socket is
 * full. Nobody else ever waits for this session.
 */
export class SessionOutbox implements SlowReader {
  readonly #options: SessionOutboxOptions
  /** The large messages that wait here or in the socket, or are kept until they are acknowledged. */
  readonly #large = new LazySet<Outgoing>()
  #largeBytes = 0
  /** The bytes of the other messages that are kept until they are acknowledged. */
  #keptBytes = 0
  #owner: string | undefined
  isCounted = false
  /** The messages that no store keeps and that are not acknowledged, of a session that is to be resumed. */
  readonly #unkept = new LazyMap<number, Outgoing>()
  /** The identifiers of what an earlier connection left behind that was not sent again yet: nobody can acknowledge them. */
  readonly #reserved = new LazySet<number>()
  #notSentAgain: () => readonly LeftBehind[] = () => []
  /** The numbers of those that are being written to the store, which has them when the session is resumed. */
  readonly #storing = new LazySet<number>()
  readonly handshakes = new PacketIds((id) => {
    this.#letGo(this.#unkept, id)
    this.#letGo(this.#shared, id)
    this.#reserved.delete(id)
  })
  /** The messages that were sent of subscriptions that this session shares, and are not acknowledged. */
  readonly #shared = new LazyMap<number, Outgoing>()
  /** The messages of a closed session that must be sent again when it is resumed [MQTT-4.4.0-1], in their order. */
  leftBehind: readonly LeftBehind[] = []
  encoder: Encoder = ENCODER
  /** The number of QoS 1 and 2 messages under way, where the client takes fewer than the limit allows. */
  receiveMaximum = Number.POSITIVE_INFINITY
  readonly #order: OrderedQueue
  #waiting: Outgoing[] = []
  #waitingBytes = 0
  #held = true
  #closed = false
  /** `brokerCounter` of what the stored queue has sent since this session began. */
  readonly #resent = new LazySet<number>()
  #resentUpTo = 0
  #forRoom: (() => void)[] = []
  readonly #forWindow: (() => void)[] = []

  constructor(options: SessionOutboxOptions) {
    this.#options = options
    this.#order = new OrderedQueue(options.failed)
  }

  /** Unsent bytes. */
  get bytes(): number {
    return this.#options.conn.writableLength + this.#waitingBytes
  }

  get heldBytes(): number {
    return this.ownBytes + this.#largeBytes
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Messages that are not acknowledged, or not sent. */
  get underWay(): number {
    return this.handshakes.size + this.#waiting.length
  }

  /**
   * Returns what others who share a subscription shall get when this session goes. A QoS 2 message that was sent is its
   * receiver's alone [MQTT-4.8.2-5].
   */
  sharedLeft(): Outgoing[] {
    const sent = [...this.#shared].map(([messageId, message]) => ({
      ...message,
      packet: { ...message.packet, messageId },
    }))
    return [...sent, ...this.#waiting.filter(({ packet, qos }) => packet.share !== undefined && qos > 0)]
  }

  /** The bytes of what waits here. */
  get waitingBytes(): number {
    return this.#waitingBytes
  }

  /** Lets messages go out from now on; before, they wait. */
  open(): void {
    this.#held = false
    this.#sendWaiting()
  }

  close(): void {
    if (!this.#closed) this.leftBehind = this.#left()
    this.#closed = true
    this.#unkept.clear()
    this.#forgetWaiting()
    this.#releaseAll()
    this.#options.unsent.leave(this)
    this.#resent.clear()
    this.#notifyRoom()
    this.#notifyWindow()
  }

  #left(): LeftBehind[] {
    if (this.#options.client.clean) return []
    return [...this.#leftSent(), ...this.#notSentAgain(), ...this.#leftUnsent()]
  }

  #leftSent(): LeftBehind[] {
    const left: LeftBehind[] = []
    let after: number | undefined
    for (const messageId of this.handshakes.ids()) {
      if (this.#reserved.has(messageId)) continue
      const message = this.#unkept.get(messageId)
      if (message === undefined || this.#storing.has(messageId)) after = messageId
      else {
        const released = this.handshakes.isReleased(messageId)
        left.push({ messageId, after, message: { ...message, frame: undefined }, released })
      }
    }
    return left
  }

  #leftUnsent(): LeftBehind[] {
    const left: LeftBehind[] = []
    let after: number | undefined
    for (const message of this.#waiting) {
      if (message.qos === 0) continue
      if (message.stored) after = message.packet.brokerCounter
      else
        left.push({
          messageId: undefined,
          after,
          message: { ...message, frame: undefined },
          released: false,
        })
    }
    return left
  }

  /**
   * The identifiers of what an earlier connection left behind are taken, before anything is sent. `notSentAgain` says
   * what of it is still to be sent: this connection leaves it behind too, in its place, when it ends before.
   */
  reserve(left: readonly LeftBehind[], notSentAgain: () => readonly LeftBehind[]): void {
    this.#notSentAgain = notSentAgain
    for (const { messageId, message, released } of left) {
      if (messageId === undefined || message.qos === 0) continue
      if (released) this.handshakes.expectPubcomp(messageId)
      else this.handshakes.expect(messageId, message.qos)
      this.#keep(this.#unkept, messageId, message)
      this.#reserved.add(messageId)
    }
  }

  /** Sends one of them again, as fast as the reader takes it; its identifier was reserved. */
  async resendLeft({ messageId, message, released }: LeftBehind): Promise<void> {
    await this.#mayResend()
    if (this.#closed || message.qos === 0) return
    if (released && messageId !== undefined) {
      this.resendRelease(messageId)
      return
    }
    const id = messageId ?? this.handshakes.begin(message.qos)
    this.#reserved.delete(id)
    this.handshakes.again(id)
    this.#keep(this.#unkept, id, message)
    const packet = messageId === undefined ? message.packet : { ...message.packet, dup: true }
    this.#order.run(() => this.#write({ ...message, packet }, id))
    this.#options.unsent?.sent(this)
  }

  /** Shows whether the reader has taken, and acknowledged, enough for the next message; not that of a closed session. */
  get hasRoom(): boolean {
    const { conn } = this.#options
    return !this.#closed && !conn.destroyed && !conn.writableNeedDrain && this.#waiting.length === 0
  }

  /** Resolves when the reader has taken, and acknowledged, enough for the next message, or is gone. */
  room(): Promise<void> {
    return new Promise((resolve) => this.#whenRoom(resolve))
  }

  #whenRoom(done: () => void): void {
    const { client, conn } = this.#options
    if (this.#closed || conn.destroyed) setImmediate(done)
    else if (conn.writableNeedDrain) client.waitForDrain(() => this.#whenRoom(done))
    else if (this.#waiting.length > 0) this.#forRoom.push(done)
    else done()
  }

  /**
   * Calls back when the socket has taken what was put so far, or is gone. Unlike `room` it ends no session that
   * reads slowly, and does not wait for every acknowledgement. For one caller at a time.
   */
  whenTaken(done: () => void): void {
    const { conn } = this.#options
    if (this.#closed || conn.destroyed) done()
    else if (conn.writableNeedDrain) this.#onDrain(() => this.whenTaken(done))
    else if (this.#waitingBytes > MAX_UNACKNOWLEDGED_BYTES) this.#forRoom.push(() => this.whenTaken(done))
    else done()
  }

  #onDrain(then: () => void): void {
    const { conn } = this.#options
    const once = () => {
      conn.off('drain', once)
      conn.off('close', once)
      then()
    }
    conn.on('drain', once)
    conn.on('close', once)
  }

  #notifyRoom(): void {
    const waiting = this.#forRoom
    if (waiting.length === 0) return
    this.#forRoom = []
    for (const done of waiting) done()
  }

  /** Aedes has sent this message from the stored queue: it must not go out a second time. */
  resent(counter: number): void {
    this.#resent.add(counter)
    this.#resentUpTo = Math.max(this.#resentUpTo, counter)
  }

  /** A handshake may have ended. */
  acknowledged(): void {
    if (this.#waiting.length > 0) this.#sendWaiting()
    this.#notifyWindow()
  }

  /** PUBACK came: Aedes would do no more, at ten times the cost. */
  finished(messageId: number): void {
    const { client, persistence } = this.#options
    if (client._keepaliveInterval > 0) client._keepaliveTimer?.refresh()
    if (client.clean) this.acknowledged()
    else void persistence.outgoingClearMessageId(client, { messageId }).then(() => this.acknowledged())
  }

  /** Returns whether the message was taken: it was sent, or waits. */
  put(message: Outgoing): boolean {
    if (this.#closed) return false
    const { limits, counters } = this.#options
    const owesOne = this.#options.owesOne()
    const maxUnsent = owesOne ? limits.maxCandidateUnsentBytes : limits.maxSessionBufferBytes
    let { bytes } = this
    const isTooMuch = bytes > (message.qos === 0 ? maxUnsent : limits.maxSessionQueueBytes)
    if (isTooMuch) bytes = this.#bytesNotTaken()
    if (message.qos === 0 && bytes > maxUnsent) {
      counters.shed++
      this.#options.shed()
      return false
    }
    if (bytes > limits.maxSessionQueueBytes) {
      counters.overrun++
      this.#options.overrun()
      return false
    }
    if (this.#waiting.length === 0 && this.#mayGo(message)) {
      this.#send(message)
    } else {
      this.#hold(message)
      if (owesOne) this.#forgetWaiting()
      this.#waiting.push(message)
      this.#waitingBytes += size(message)
      // Who was owed one message may be owed more by now.
      this.#sendWaiting()
    }
    if (!this.#options.isLocal) this.#options.unsent.sent(this)
    return true
  }

  /** The name that it had when it was first asked for: what was counted under it is taken back under it. */
  get owner(): string {
    this.#owner ??= this.#options.owner()
    return this.#owner
  }

  get ownBytes(): number {
    return Math.max(0, this.bytes - this.#largeBytes) + this.#keptBytes
  }

  /** Ends the session, and lets go of what waits for it. */
  end(): void {
    this.#releaseAll()
    this.#options.holdsMost()
  }

  #hold(message: Outgoing): void {
    const { payload } = message.packet
    if (this.#options.isLocal || !isLarge(payload) || this.#large.has(message)) return
    this.#large.add(message)
    this.#largeBytes += payload.length
    this.#options.unsent.hold(this, payload)
  }

  #release(message: Outgoing): void {
    const { payload } = message.packet
    if (!this.#large.delete(message)) return
    this.#largeBytes -= payload.length
    this.#options.unsent.release(this, payload)
  }

  /** Keeps a message until it is acknowledged: no store has it. */
  #keep(messages: LazyMap<number, Outgoing>, id: number, message: Outgoing): void {
    this.#letGo(messages, id)
    messages.set(id, message)
    if (isLarge(message.packet.payload)) this.#hold(message)
    else this.#keptBytes += size(message)
  }

  #letGo(messages: LazyMap<number, Outgoing>, id: number): void {
    const message = messages.get(id)
    if (message === undefined) return
    messages.delete(id)
    if (isLarge(message.packet.payload)) this.#release(message)
    else this.#keptBytes -= size(message)
  }

  #isKept(id: number, message: Outgoing): boolean {
    return this.#unkept.get(id) === message || this.#shared.get(id) === message
  }

  #releaseAll(): void {
    for (const message of [...this.#large]) this.#release(message)
  }

  /** Returns the unsent bytes without those that wait for the bridge alone. */
  #bytesNotTaken(): number {
    const { conn, writes } = this.#options
    writes.writeHeld(conn)
    return this.bytes
  }

  /** The session ends: its last message goes out, whether those before it were acknowledged or not. */
  sendLast(): void {
    const last = this.#waiting.at(-1)
    if (!this.#options.owesOne() || last === undefined || this.#held) return
    this.#forgetWaiting()
    this.#send(last)
  }

  #forgetWaiting(): void {
    for (const message of this.#waiting) this.#release(message)
    this.#waiting = []
    this.#waitingBytes = 0
  }

  /** Runs `task` after everything that was put so far has been written. */
  after(task: () => void): void {
    this.#order.run(task)
  }

  #mayGo(message: Outgoing): boolean {
    return !this.#held && (message.qos === 0 || this.#hasWindow)
  }

  get #hasWindow(): boolean {
    const { limits, owesOne } = this.#options
    const { maxInflightPerSession } = limits
    const window = owesOne() ? 1 : Math.min(maxInflightPerSession, this.receiveMaximum)
    return this.handshakes.size < window
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
    if (qos > 0 && !stored && !client.clean) this.#keepUnacknowledged(message, messageId)
    if (qos === 1 && packet.share !== undefined) this.#keep(this.#shared, messageId, message)
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

  /**
   * Keeps a message in memory until it is acknowledged. An invocation, which has an end of its own, is in the store
   * too, so that it comes again after a restart; answers are not, because a key or a password may be among them.
   */
  #keepUnacknowledged(message: Outgoing, messageId: number): void {
    this.#keep(this.#unkept, messageId, message)
    const { client, persistence } = this.#options
    const { packet, qos } = message
    if (packet.expiresAt === undefined) return
    this.#storing.add(messageId)
    void persistence.outgoingSent(client, { ...packet, qos, messageId }).then((kept) => {
      this.#storing.delete(messageId)
      if (!kept) return
      const isOpen = this.#closed ? this.handshakes.has(messageId) : this.#unkept.get(messageId) === message
      // Acknowledged while it was written.
      if (!isOpen) void persistence.outgoingClearMessageId(client, { messageId })
      else this.#letGo(this.#unkept, messageId)
    })
  }

  #write(message: Outgoing, messageId: number): void {
    const { conn, counters, steady, writes, isLocal } = this.#options
    if (this.#closed || !conn.writable) {
      this.#release(message)
      return
    }
    // The control socket does not wait for the end of the turn, where a commit may stand; others are told before it.
    if (isLocal) writes.flush()
    else writes.hold(conn, message.packet.payload.length)
    const taken = isLarge(message.packet.payload) ? this.#heldUntilTaken(message, messageId) : undefined
    if (!isOver(message, steady) && this.encoder.write(conn, message, messageId, taken)) {
      counters.messagesOut++
      return
    }
    taken?.()
    counters.undelivered++
    if (message.qos > 0) this.drop(messageId)
  }

  #heldUntilTaken(message: Outgoing, id: number): () => void {
    this.#hold(message)
    return () => {
      if (!this.#isKept(id, message)) this.#release(message)
    }
  }

  /** Ends the handshake of a message that was not sent, or that its receiver has refused. */
  drop(messageId: number): void {
    const { client, persistence } = this.#options
    this.handshakes.forget(messageId)
    if (!client.clean) void persistence.outgoingClearMessageId(client, { messageId })
    // The next ones may go, in a turn of their own: this one may be on its way through here.
    setImmediate(() => this.acknowledged())
  }

  /**
   * Sends a message of the stored queue, before all that came meanwhile: resolves when the next one may follow, or
   * the reader is gone. One that has its identifier was sent on an earlier connection.
   */
  async resend(message: Outgoing): Promise<void> {
    await this.#mayResend()
    const { client, persistence } = this.#options
    if (this.#closed) return
    const { packet, qos } = message
    let { messageId } = packet
    if (qos > 0 && messageId === undefined) {
      messageId = this.handshakes.begin(qos as 1 | 2)
      await persistence.outgoingUpdate(client, { ...packet, qos, messageId })
      // What is kept now nobody would let go.
      if (this.#closed) return
    } else if (qos > 0) {
      this.handshakes.expect(messageId as number, qos as 1 | 2)
    }
    if (qos === 1 && packet.share !== undefined) this.#keep(this.#shared, messageId as number, message)
    this.#order.run(() => this.#write(message, messageId ?? 0))
    this.#options.unsent?.sent(this)
  }

  /** Forgets, in the store too, a message of the stored queue that is not sent any more. */
  async forgetStored(packet: RoutedPacket): Promise<void> {
    const { client, persistence } = this.#options
    const messageId = packet.messageId ?? this.handshakes.begin(1)
    if (packet.messageId === undefined) await persistence.outgoingUpdate(client, { ...packet, messageId })
    this.handshakes.forget(messageId)
    await persistence.outgoingClearMessageId(client, { messageId })
  }

  /** PUBREC came on an earlier connection; what is left of the message is this. */
  resendRelease(messageId: number): void {
    this.#reserved.delete(messageId)
    this.handshakes.expectPubcomp(messageId)
    const { conn } = this.#options
    this.#order.run(() => {
      if (!this.#closed && conn.writable) conn.write(pubrel(messageId))
    })
  }

  async #mayResend(): Promise<void> {
    const { client, conn } = this.#options
    while (!this.#closed && !conn.destroyed) {
      if (conn.writableNeedDrain) await new Promise<void>((resolve) => client.waitForDrain(() => resolve()))
      else if (this.handshakes.size - this.#reserved.size < this.receiveMaximum) return
      else await new Promise<void>((resolve) => this.#forWindow.push(resolve))
    }
  }

  #notifyWindow(): void {
    for (const resolve of this.#forWindow.splice(0)) resolve()
  }

  #wasResent(counter: number): boolean {
    if (this.#resent.size === 0) return false
    const was = this.#resent.delete(counter)
    if (counter >= this.#resentUpTo) this.#resent.clear()
    return was
  }
}

/** A message that was for a session whose connection ended before it was acknowledged. */
export interface LeftBehind {
  /** The packet identifier; undefined: it was never sent. */
  readonly messageId: number | undefined
  /**
   * The one that the store keeps and that came just before: its packet identifier, or of one that was never sent its
   * `brokerCounter`; undefined when it was the first.
   */
  readonly after: number | undefined
  readonly message: Outgoing
  /** PUBREC came; what is left is PUBREL. */
  readonly released: boolean
}

/** The bytes that a message costs beside its own when nobody else holds it: measured as some 1.1 KB with a payload of 100. */
const LEFT_BYTES = 1024

export function sizeOfLeft(left: readonly LeftBehind[]): number {
  return left.reduce((sum, { message }) => sum + size(message) + LEFT_BYTES, 0)
}

export function isExpired({ expiresAt }: RoutedPacket, steady: SteadyClock): boolean {
  return expiresAt !== undefined && steady.now() >= expiresAt
}

/** A message that was sent before at QoS 2 is brought to its end, whatever its expiry [MQTT-4.3.3-7]. */
export function isOver({ packet, qos }: Pick<Outgoing, 'packet' | 'qos'>, steady: SteadyClock): boolean {
  return !(packet.dup && qos === 2) && isExpired(packet, steady)
}

function size(message: Outgoing): number {
  const { payload, topic, properties } = message.packet
  return payload.length + topic.length + (properties?.length ?? 0) + 64
}
