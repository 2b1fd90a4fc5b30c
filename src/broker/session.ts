import type { Duplex } from 'node:stream'
import type { Identity, Inbound, Log, Session, SessionEnd } from '../bridge/ports.ts'
import type { Clock } from '../kernel/clock.ts'
import type { Address, Topics } from '../protocol/topics.ts'
import type { AedesClient, Persistence } from './aedes-internals.ts'
import type { Rates } from './budget.ts'
import type { BrokerCounters, LimitName, SessionKind, Transport } from './counters.ts'
import { Delivery } from './delivery.ts'
import { TOO_LONG_FILTER, TOO_LONG_TOPIC } from './frame-checks.ts'
import { Guard, type GuardOwner, TOO_LARGE } from './guard.ts'
import type { BrokerLimits } from './limits.ts'
import type { Notices } from './notices.ts'
import type { OrderedBroker } from './ordered-broker.ts'
import { OrderedQueue } from './ordered-queue.ts'
import { puback, refusal, refusalV5 } from './publish-frame.ts'
import { RareLine } from './rare-line.ts'
import type { Rights } from './rights.ts'
import { ShortPath, type ShortPublish } from './short-path.ts'
import { Throttle } from './throttle.ts'

/** What every session of a broker shares. */
export interface SessionWorld {
  readonly broker: OrderedBroker
  readonly inbound: Inbound
  readonly persistence: Persistence
  readonly rights: Rights
  readonly topics: Topics
  readonly limits: BrokerLimits
  readonly counters: BrokerCounters
  readonly clock: Clock
  readonly log: Log
  readonly notices: Notices
}

/** Where a connection comes from, as its listener knows it. */
export interface Peer {
  /** IP address without port; `local` for the control socket. */
  readonly address: string
  readonly local: boolean
  readonly transport: Transport
  /** Common name of a client certificate that the listener verified. */
  readonly certificateName?: string | undefined
}

/** Before CONNECT was judged: nobody, with no rights. */
const NOBODY: Identity = { kind: 'candidate', nodeId: '', key: null }

/** Acknowledgements owed on the short path; those of one chunk of the socket are fewer. */
const MAX_OWED = 10_000

/** Return code of MQTT 3.1.1. */
const UNACCEPTABLE_LEVEL = 1
/** Reason code of MQTT 5. */
const UNSUPPORTED_VERSION = 0x84

/**
 * One connection, from its first byte to its end. `opened` and `closed` frame what the core sees of it; what
 * an older connection of the same name still does never touches this one.
 */
export class MqttSession implements Session, GuardOwner {
  identity: Identity = NOBODY
  clientId = ''
  readonly peer: Peer
  readonly conn: Duplex
  readonly guard: Guard
  /** Acknowledgements leave in the order of what they acknowledge [MQTT-4.6.0-2]. */
  readonly acks: OrderedQueue
  /** QoS 2 packet identifiers in progress, each with the copies that wait for the first. */
  readonly inProgress = new Map<number, (() => void)[]>()
  /** A session was stored under this client id when it connected. */
  storedBefore = false
  /** CONNACK is out, or the connection is gone. */
  readonly settled: Promise<void>
  /** The connection is gone, opened or not. */
  readonly gone: Promise<void>
  /** Gone, and out of Aedes' tables. */
  readonly forgotten: Promise<void>
  readonly #world: SessionWorld
  readonly #denials: RareLine
  readonly #shed: RareLine
  #client: AedesClient<MqttSession> | undefined
  #delivery: Delivery | undefined
  #parse: (packets: Buffer) => void = () => undefined
  #settle: () => void = () => undefined
  #forget: () => void = () => undefined
  #registered = false
  #shortPath: ShortPath | undefined
  /** What `isShort` has found, for `takeShort`. */
  #short: ShortPublish | undefined
  #openedAs: SessionKind | undefined
  #end: SessionEnd | undefined
  #throttle: Throttle | undefined
  #ended = false

  constructor(world: SessionWorld, conn: Duplex, peer: Peer) {
    this.#world = world
    this.conn = conn
    this.peer = peer
    this.guard = new Guard(this)
    this.#denials = new RareLine(world.clock)
    this.#shed = new RareLine(world.clock)
    this.acks = new OrderedQueue((error) => this.fail(error, 'an acknowledgement failed'))
    this.settled = new Promise((resolve) => {
      this.#settle = resolve
    })
    this.forgotten = new Promise((resolve) => {
      this.#forget = resolve
    })
    this.gone = new Promise((resolve) => {
      conn.once('close', () => {
        this.#closed()
        resolve()
      })
    })
  }

  /** Takes over the private hooks of Aedes' client, before it has read a byte. */
  bind(client: AedesClient<MqttSession>): void {
    this.#client = client
    client.session = this
    const parser = client._parser
    const parse = parser.parse
    this.#parse = (packets) => {
      parse.call(parser, packets)
    }
    parser.parse = (chunk) => {
      this.guarded(() => this.guard.feed(chunk))
      return 0
    }
    this.#delivery = new Delivery(this.#world, this, client)
  }

  get client(): AedesClient<MqttSession> {
    if (this.#client === undefined) throw new Error('the session is not bound to a client')
    return this.#client
  }

  get delivery(): Delivery {
    if (this.#delivery === undefined) throw new Error('the session is not bound to a client')
    return this.#delivery
  }

  get address(): string {
    return this.peer.address
  }

  get alive(): boolean {
    return this.opened && !this.#ended
  }

  get opened(): boolean {
    return this.#openedAs !== undefined
  }

  get isGone(): boolean {
    return this.#ended
  }

  // What the guard asks and tells.

  get maxTopicBytes(): number {
    return this.#world.limits.maxTopicBytes
  }

  get maxPacketBytes(): number {
    const { limits } = this.#world
    if (this.#openedAs === undefined) return limits.maxConnectBytes
    if (this.peer.local) return limits.maxLocalPacketBytes
    if (this.identity.kind !== 'candidate') return limits.maxPacketBytes
    return Math.min(limits.maxCandidatePacketBytes, limits.maxPacketBytes)
  }

  parse(packets: Buffer): void {
    this.#parse(packets)
  }

  received(first: number, bytes: number): void {
    this.#throttle?.received(first, bytes)
  }

  get #rates(): Rates {
    const { limits } = this.#world
    const most = this.identity.kind === 'candidate' ? limits.maxCandidateMessagesPerSecond : Infinity
    return { messages: Math.min(limits.maxMessagesPerSecond, most), bytes: limits.maxBytesPerSecond }
  }

  /** The control socket has no budget: who may write to it could do worse. */
  #newThrottle(): Throttle | undefined {
    if (this.peer.local) return undefined
    return new Throttle({
      conn: this.conn,
      clock: this.#world.clock,
      rates: () => this.#rates,
      pause: () => this.guard.pause(),
      resume: () => this.guarded(() => this.guard.resume()),
      isIdle: () => !this.#ended && this.#client?._parsingBatch === 0,
      held: (lacking) =>
        this.limited(
          lacking,
          { perSecond: this.#rates[lacking] },
          `more ${lacking} than allowed: read more slowly`,
        ),
    })
  }

  /** Counts a limit that this session met, and says so at a bearable pace. */
  limited(limit: LimitName, fields: object, message: string): void {
    this.#world.counters.limits[limit]++
    this.#world.notices.limit(limit, this.address, { ...this.#who(), limit, ...fields }, message)
  }

  isShort(first: number, bytes: Buffer, body: number): boolean {
    this.#world.counters.messagesIn++
    this.#short = this.#shortPath?.find(this.identity, first, bytes, body)
    return this.#short !== undefined
  }

  /** Not while so many acknowledgements are owed that Aedes should stop reading. */
  takeShort(bytes: Buffer, end: number): boolean {
    const short = this.#short
    const client = this.#client
    if (short === undefined || client === undefined || this.acks.length > MAX_OWED) return false
    if (this.#ended) return true
    if (client._keepaliveInterval > 0) client._keepaliveTimer?.refresh()
    const { destination, idAt, payloadAt } = short
    const payload = bytes.subarray(payloadAt, end)
    if (destination !== 'heartbeat') {
      this.#takeMessage(destination, payload, idAt > 0 ? bytes.readUInt16BE(idAt) : 0)
      return true
    }
    this.#world.inbound.heartbeat(this, payload)
    if (idAt > 0) this.#acknowledge(bytes.readUInt16BE(idAt))
    return true
  }

  #acknowledge(id: number): void {
    if (this.acks.length === 0) this.#puback(id)
    else this.acks.run(() => this.#puback(id))
  }

  #takeMessage(address: Address, payload: Buffer, id: number): void {
    const ticket = id > 0 ? this.acks.hold(() => this.#puback(id)) : undefined
    this.#world.inbound.message(this, address, payload).then(
      // What it has brought about goes first: somebody waits for that, and nobody for the acknowledgement.
      () => ticket && process.nextTick(() => this.acks.release(ticket)),
      (error: unknown) => this.fail(error, 'a message could not be handled'),
    )
  }

  #puback(id: number): void {
    if (this.conn.writableLength > this.#world.limits.maxSessionBufferBytes) this.overrun()
    else if (!this.conn.destroyed) this.conn.write(puback(id))
  }

  disconnecting(): void {
    this.#end ??= 'disconnect'
  }

  violated(fault: string): void {
    const limit = this.#limitOf(fault)
    if (limit !== undefined) {
      const { maxPacketBytes, maxTopicBytes } = this
      this.limited(limit, { maxPacketBytes, maxTopicBytes }, `${fault}: connection closed`)
    } else {
      const { counters, notices } = this.#world
      counters.violations++
      const message = 'protocol violation: connection closed'
      notices.info('violation', this.address, { ...this.#who(), fault }, message)
    }
    this.conn.destroy()
  }

  /** Faults that are limits of ours rather than rules of MQTT. */
  #limitOf(fault: string): LimitName | undefined {
    if (fault === TOO_LONG_TOPIC || fault === TOO_LONG_FILTER) return 'topic'
    if (fault !== TOO_LARGE) return undefined
    return this.#openedAs === undefined ? 'sign_in_bytes' : 'packet'
  }

  answered(type: number, id: number): boolean {
    return this.delivery.outbox.handshakes.answered(type, id)
  }

  refuseLevel(level: number): void {
    this.#world.counters.refused.protocol_version++
    this.#world.notices.warn(
      'protocol_version',
      this.address,
      { protocolVersion: level },
      'a client speaks a version of MQTT that the bridge does not: set it to MQTT 3.1.1 (protocol version 4)',
    )
    this.#refuse(level < 5 ? refusal(UNACCEPTABLE_LEVEL) : refusalV5(UNSUPPORTED_VERSION))
  }

  // The life of a session.

  /** CONNECT was accepted; the session opens when CONNACK is out. */
  admit(identity: Identity, clientId: string): void {
    this.identity = identity
    this.clientId = clientId
    this.#shortPath = new ShortPath(this.#world.topics, identity)
  }

  registered(): void {
    this.#registered = true
  }

  /** Aedes has let go of this client. */
  unregistered(): void {
    this.#forget()
  }

  /** CONNACK is out. */
  open(): void {
    if (this.#ended || this.#openedAs !== undefined) return
    this.#openedAs = this.identity.kind
    this.#throttle = this.#newThrottle()
    this.#world.counters.sessions[this.#openedAs]++
    this.#settle()
    this.guarded(() => this.#world.inbound.opened(this))
    if (this.client.clean) this.delivery.outbox.open()
    this.guard.open()
  }

  /** The stored queue is empty: what came meanwhile goes out. */
  resumed(): void {
    this.delivery.outbox.open()
    if (this.delivery.filters.all().length > 0) this.subscribed()
  }

  /** SUBACK is out. */
  subscribed(): void {
    if (this.alive) this.guarded(() => this.#world.inbound.subscribed(this))
  }

  /** Answers CONNECT with a code and closes the connection. */
  refuse(code: number): void {
    this.#refuse(refusal(code))
  }

  #refuse(connack: Buffer): void {
    this.#ended = true
    this.guard.close()
    this.conn.write(connack)
    this.#flushAndClose()
  }

  end(why: SessionEnd, afterFlush: boolean): void {
    if (this.#ended) return
    this.#end ??= why
    this.#ended = true
    this.guard.close()
    if (why === 'stopped') this.client.will = null
    if (!afterFlush) {
      this.conn.destroy()
      return
    }
    this.client.pause()
    // What was told has its turn behind what was published before; whatever happens, it is over in time.
    const cancel = this.#world.clock.after(this.#world.limits.flushTimeoutMs, () => this.conn.destroy())
    this.conn.once('close', cancel)
    const { outbox } = this.delivery
    this.#world.broker.inOrder(() => outbox.after(() => this.#flushAndClose()))
  }

  #flushAndClose(): void {
    if (this.conn.destroyed) return
    const cancel = this.#world.clock.after(this.#world.limits.flushTimeoutMs, () => this.conn.destroy())
    this.conn.once('close', cancel)
    this.conn.end(() => this.conn.destroy())
  }

  #closed(): void {
    const wasOpen = this.#openedAs
    this.#ended = true
    this.#throttle?.stop()
    this.guard.close()
    this.#delivery?.outbox.close()
    this.inProgress.clear()
    this.#settle()
    if (!this.#registered) this.#forget()
    if (wasOpen === undefined) return
    this.#openedAs = undefined
    this.#world.counters.sessions[wasOpen]--
    this.guarded(() => this.#world.inbound.closed(this, this.#end ?? 'lost'))
  }

  /** The peer does not take what it asked for. */
  overrun(): void {
    if (this.#ended) return
    const message = 'a session does not read what it is sent; it is closed'
    this.#world.notices.warn('overrun', this.address, this.#who(), message)
    this.end('lost', false)
  }

  shed(): void {
    const message = 'a session reads too slowly: QoS 0 messages are left out'
    this.#shed.say((count) => {
      this.#world.notices.info('shed', this.address, { ...this.#who(), count }, message)
    })
  }

  /** Nothing that goes wrong for one session reaches another. */
  guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.fail(error, 'a session failed')
    }
  }

  fail(error: unknown, message: string): void {
    this.#world.log.error({ err: error, ...this.#who() }, message)
    this.conn.destroy()
  }

  #who(): object {
    const { identity, clientId, address } = this
    const name = identity.kind === 'principal' ? { principal: identity.name } : { nodeId: identity.nodeId }
    return { who: identity.kind, ...name, clientId, address }
  }

  // What goes out.

  subscribedTo(topic: string): boolean {
    return this.alive && this.delivery.filters.qosFor(topic) >= 0
  }

  tell(topic: string, payload: Uint8Array): boolean {
    return this.alive && this.delivery.tell(topic, payload)
  }

  denied(what: 'publish' | 'subscribe' | 'will', topic: string): void {
    this.#world.counters.denied[what]++
    this.#denials.say((count) => {
      const shown = topic.slice(0, 200)
      const fields = { ...this.#who(), what, topic: shown, count }
      const message = `${what} to ${shown} denied: ${describe(this.identity)} from ${this.address}`
      this.#world.notices.info(`denied ${what}`, this.address, fields, message)
    })
  }
}

/** `ops (operator)`, `cam1 (limb)`: for the line that a person reads. */
function describe(identity: Identity): string {
  return identity.kind === 'principal'
    ? `${identity.name} (${identity.role})`
    : `${identity.nodeId} (${identity.kind})`
}
