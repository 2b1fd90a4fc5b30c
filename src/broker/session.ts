import type { Duplex } from 'node:stream'
import type { Identity, MessageContext, Session, SessionEnd } from '../bridge/ports.ts'
import { keepFewChunks } from '../kernel/few-chunks.ts'
import { LazyMap } from '../kernel/lazy-collections.ts'
import { shareReads } from '../kernel/shared-reads.ts'
import type { SkimmedKeys } from '../protocol/skimmed-keys.ts'
import type { AedesClient, RequestedSubscription } from './aedes-internals.ts'
import { Connection, type ConnectionPeer } from './connection.ts'
import type { LimitName, MqttVersion, SessionKind } from './counters.ts'
import { SessionDelivery } from './delivery.ts'
import { readDirectly } from './direct-read.ts'
import {
  DISCONNECT,
  filtersOf,
  PUBLISH,
  PUBREL,
  SUBSCRIBE,
  TOO_LONG_FILTER,
  TOO_LONG_TOPIC,
  TOO_MANY_FILTERS,
  UNSUBSCRIBE,
} from './frame-checks.ts'
import type { Frame, Verdict } from './frame-splitter.ts'
import { Guard, standBefore, TOO_LARGE } from './guard.ts'
import { ListOrder } from './list-order.ts'
import { connack5 } from './mqtt5/answers.ts'
import { type Connect5, readConnect, type Will5 } from './mqtt5/connect.ts'
import { isFault } from './mqtt5/frame.ts'
import { codeOf, FAREWELLS, REASON } from './mqtt5/reasons.ts'
import { leftOpen } from './mqtt5/stand-in.ts'
import { TOO_MANY_UNDER_WAY, Translator } from './mqtt5/translator.ts'
import { OrderedQueue } from './ordered-queue.ts'
import { PUBACK, PUBCOMP, PUBREC } from './packet-ids.ts'
import type { PacketHolder } from './packet-room.ts'
import { puback, refusal, refusalV5, toSink } from './publish-frame.ts'
import { PacedReading } from './read-turns.ts'
import type { Unread } from './received.ts'
import type { Reach } from './rights.ts'
import type { SessionContext } from './session-context.ts'
import { nameOf } from './session-key.ts'
import { SessionLimits } from './session-limits.ts'
import { ShortPath } from './short-path.ts'
import { StrangerWatch } from './stranger-watch.ts'
import { Throttle } from './throttle.ts'
import { readsWhole } from './whole-read.ts'

/** The version of each protocol level; level 5 has a translator. */
const VERSIONS: Readonly<Record<number, MqttVersion>> = { 3: '3.1', 4: '3.1.1', 5: '5' }
/** The bit of QoS 2 in the first byte of PUBLISH, and those of both. */
const QOS_2 = 0x04
const QOS = 0x06
/** A larger message ends the session: nobody sends that by a slip. */
const MAX_READ_OVER_BYTES = 64 * 1024 * 1024
const TOO_MANY_HANDSHAKES = 'too many QoS 2 messages that wait for PUBREL'
/** Return code of MQTT 3.1.1. */
const UNACCEPTABLE_LEVEL = 1
/** Reason code of MQTT 5. */
const UNSUPPORTED_VERSION = 0x84

/** Says why a CONNECT is refused: the code of MQTT 3.1.1, the one of MQTT 5, and what to do, in a sentence. */
export interface ConnectRefusal {
  readonly code: number
  readonly code5: number
  readonly reason: string
}

/**
 * One connection, from its first byte to its end. `opened` and `closed` frame what the core sees of it; what
 * an older connection of the same name still does never touches this one.
 */
export class MqttSession extends Connection implements Session {
  readonly guard: Guard
  /** Acknowledgements leave in the order of what they acknowledge [MQTT-4.6.0-2]. */
  readonly acks: OrderedQueue
  /** QoS 2 packet identifiers in progress, each with the copies that wait for the first. */
  readonly inProgress = new LazyMap<number, (() => void)[]>()
  /** The name that its CONNECT gave, whether or not it was let in. */
  claimedName = ''
  /** The protocol level of its CONNECT; 0 before. */
  claimedLevel = 0
  /** The key by which Aedes and the store know it. */
  key = ''
  /** A session was stored under this client id when it connected. */
  storedBefore = false
  /** CONNACK is out, or the connection is gone. */
  readonly settled: Promise<void>
  /** The connection is gone, opened or not. */
  readonly gone: Promise<void>
  /** Gone, and out of Aedes' tables. */
  readonly forgotten: Promise<void>
  readonly #context: SessionContext
  readonly #limits: SessionLimits
  readonly #stranger: StrangerWatch | undefined
  #client: AedesClient<MqttSession> | undefined
  #delivery: SessionDelivery | undefined
  #parse: (packets: Buffer) => void = () => undefined
  #settle: () => void = () => undefined
  #leave: () => void = () => undefined
  #forget: () => void = () => undefined
  #registered = false
  #shortPath: ShortPath | undefined
  #openedAs: SessionKind | undefined
  #end: SessionEnd | undefined
  /** The control socket has none: an operator is read when nobody else is. */
  readonly #pace: PacedReading | undefined
  readonly #lists: ListOrder
  #throttle: Throttle | undefined
  #cancelFlush: (() => void) | undefined
  #translator: Translator | undefined
  /** Its packet that is not whole, with the room for it, or waiting for that. */
  #collecting: { readonly holder: PacketHolder; hasRoom: boolean } | undefined
  /** The last words of a client that speaks MQTT 5; those of others are kept by Aedes. */
  will5: Will5 | undefined
  /** It is kept by the store and waits for its delay. */
  delayedWill = false

  constructor(context: SessionContext, conn: Duplex, peer: ConnectionPeer) {
    super(context, conn, peer)
    this.#context = context
    this.#limits = new SessionLimits(this, context.limits)
    this.guard = new Guard({
      limits: this.#limits,
      take: (frame, flush) => this.#take(frame, flush),
      parse: (packets) => this.#parse(packets),
      violated: (fault, claims5) => this.#violated(fault, codeOf(fault), claims5),
      refuseLevel: (level) => this.#refuseLevel(level),
      connect5: (frame) => this.#connect5(frame),
      take5: (frame, flush) => this.#take5(frame, flush),
      readsOver: (bytes) => this.identity.kind !== 'candidate' && bytes <= MAX_READ_OVER_BYTES,
      readOver: (beginning, bytes, keys) => this.#readOver(beginning, bytes, keys),
      readOver5: (beginning, bytes, keys) => this.#readOver5(beginning, bytes, keys),
      mayCollect: (bytes) => this.#mayCollect(bytes),
      collected: () => this.#leaveRoom(),
      failed: (error) => this.fail(error, 'a session failed'),
    })
    const resume = () => this.#throttle?.isHolding === true || this.guard.resume()
    const isIdle = () => this.#readsNext()
    shareReads(conn, this.guard)
    keepFewChunks(conn)
    readsWhole(conn)
    const isCandidate = () => this.opened && this.identity.kind === 'candidate'
    this.#pace = peer.local
      ? undefined
      : new PacedReading({ conn, turns: context.reading, resume, isIdle, isCandidate })
    this.#lists = new ListOrder({ conn, resume, isIdle })
    // Who may write to the control socket is no stranger.
    this.#stranger = peer.local ? undefined : this.#newStranger()
    this.acks = new OrderedQueue((error) => this.fail(error, 'an acknowledgement failed'))
    this.settled = new Promise((resolve) => {
      this.#settle = resolve
    })
    this.forgotten = new Promise((resolve) => {
      this.#forget = resolve
    })
    this.gone = new Promise((resolve) => {
      this.#leave = () => {
        conn.off('close', this.#leave)
        this.#closed()
        resolve()
      }
    })
    conn.once('close', this.#leave)
  }

  #newStranger(): StrangerWatch {
    const { guard } = this
    const outbox = () => this.#delivery?.outbox
    const watch = new StrangerWatch(this.#context, { connection: this, guard, limits: this.#limits, outbox })
    watch.begin()
    return watch
  }

  protected identified(): void {
    if (this.identity.kind !== 'candidate') this.#stranger?.end()
    else if (!this.isGone) this.#stranger?.begin()
  }

  /** Takes over the private hooks of Aedes' client, before it has read a byte. */
  bind(client: AedesClient<MqttSession>): void {
    this.#client = client
    client.session = this
    this.#parse = standBefore(client._parser, this.guard)
    this.#delivery = new SessionDelivery(this.#context, this, client)
  }

  get client(): AedesClient<MqttSession> {
    if (this.#client === undefined) throw new Error('the session is not bound to a client')
    return this.#client
  }

  get delivery(): SessionDelivery {
    if (this.#delivery === undefined) throw new Error('the session is not bound to a client')
    return this.#delivery
  }

  /** Strangers have a budget of their own, and the control socket none. */
  #mayCollect(bytes: number): boolean {
    if (this.#collecting !== undefined) return this.#collecting.hasRoom
    if (this.#pace === undefined || !this.opened || this.identity.kind === 'candidate') return true
    const { room } = this.#context
    const collecting = { holder: this.#packetHolder(bytes), hasRoom: false }
    this.#collecting = collecting
    collecting.hasRoom = room.enter(collecting.holder)
    if (!collecting.hasRoom) {
      this.#pace.stop()
      const { maxPartialBytesPerIdentity, maxPartialBytes } = this.#context.limits
      this.limited(
        'partial',
        { bytes, maxPartialBytesPerIdentity, maxPartialBytes },
        'too many large packets at once: the session is read later',
      )
    }
    return collecting.hasRoom
  }

  #packetHolder(bytes: number): PacketHolder {
    return {
      owner: nameOf(this.identity),
      bytes,
      go: () => {
        if (this.#collecting === undefined) return
        this.#collecting.hasRoom = true
        this.#pace?.start()
      },
      tooSlow: () => {
        const { wholePacketMs } = this.#context.limits
        this.limited(
          'packet_time',
          { wholePacketMs },
          'a large packet was not whole in time, and others wait for its room: connection closed',
        )
        this.turnAway(REASON.quotaExceeded, 'a large packet was not whole in time')
        this.#leaveRoom()
      },
    }
  }

  #leaveRoom(): void {
    const { holder } = this.#collecting ?? {}
    this.#collecting = undefined
    if (holder !== undefined) this.#context.room.leave(holder)
  }

  /** A message was routed that may wait for the store: when too much waits there already, the next one is read later. */
  holdForStore(): void {
    const { storeRoom } = this.#context
    const sender = nameOf(this.identity)
    if (!storeRoom.isFullFor(sender)) return
    this.#throttle?.holdUntil((goOn) => (storeRoom.isFullFor(sender) ? storeRoom.wait(goOn) : undefined))
  }

  /** The control socket has no budget: who may write to it could do worse. */
  #newThrottle(): Throttle | undefined {
    if (this.#pace === undefined) return undefined
    return new Throttle({
      conn: this.conn,
      clock: this.#context.clock,
      turns: this.#pace,
      rates: () => this.#limits.rates,
      pause: () => this.guard.pause(),
      resume: () => this.guard.resume(),
      isIdle: () => this.#readsNext(),
      held: (lacking) =>
        this.limited(
          lacking,
          { perSecond: this.#limits.rates[lacking] },
          `more ${lacking} than allowed: read more slowly`,
        ),
    })
  }

  #take(frame: Frame, flush: () => void): Verdict {
    const { bytes, start, body, end } = frame
    const first = bytes[start] as number
    this.#throttle?.received(first, end - start)
    switch (first >> 4) {
      case SUBSCRIBE:
        return this.#lists.mayGo('subscribe') ? 'parse' : 'wait'
      case UNSUBSCRIBE:
        if (!this.#lists.mayGo('unsubscribe')) return 'wait'
        for (const filter of filtersOf(bytes, body, end)) this.delivery.filters.ending(filter)
        return 'parse'
      case PUBLISH:
        this.#context.counters.messagesIn++
        if ((first & QOS_2) !== 0) return this.#beginHandshake()
        // Not through a function of its own: heartbeats come this way.
        return this.#shortPath?.take(frame, flush) || this.#shortPath?.takeOther(frame, flush)
          ? 'taken'
          : 'parse'
      case PUBREL:
        this.#stranger?.handshake(-1)
        break
      case PUBACK:
      case PUBREC:
      case PUBCOMP:
        return this.#answered(first >> 4, bytes.readUInt16BE(body), flush)
      case DISCONNECT:
        this.#end ??= 'disconnect'
    }
    return 'parse'
  }

  /** SUBACK or UNSUBACK is out. */
  listed(list: 'subscribe' | 'unsubscribe'): void {
    this.#lists.answered(list)
  }

  #beginHandshake(): Verdict {
    if (this.#stranger?.handshake(1) !== false) return 'parse'
    this.guard.close()
    this.#violated(TOO_MANY_HANDSHAKES, REASON.receiveMaximumExceeded)
    return 'stop'
  }

  #answered(type: number, id: number, flush: () => void): Verdict {
    const { outbox } = this.delivery
    if (outbox.handshakes.answered(type, id)) {
      if (type !== PUBACK) return 'parse'
      flush()
      outbox.finished(id)
      return 'taken'
    }
    this.guard.malformed('an acknowledgement of another handshake')
    return 'stop'
  }

  /** A message that is too large is dropped and acknowledged: a client whose connection ends sends it again for ever. */
  #readOver({ bytes: head, body, end }: Frame, bytes: number, keys: SkimmedKeys): void {
    const first = head[0] as number
    const isAcknowledged = (first & QOS) !== 0
    this.#tooLarge({ topic: head.toString('utf8', body + 2, isAcknowledged ? end - 2 : end) }, bytes, keys)
    if (!isAcknowledged) return
    const id = head.readUInt16BE(end - 2)
    // The handshake of QoS 2 is Aedes'.
    if ((first & QOS_2) !== 0) this.#parse(toSink(first, id))
    else this.acks.run(() => !this.conn.writable || this.conn.write(puback(id)))
  }

  /** MQTT 5 has no other word for one of QoS 0 than DISCONNECT. */
  #readOver5(beginning: Frame, bytes: number, keys: SkimmedKeys): void {
    const { maxPacketBytes } = this.#limits
    const reason = `the packet is too large and was dropped: ${bytes} bytes, at most ${maxPacketBytes}`
    const message = this.#translator?.readOver(beginning, { code: REASON.quotaExceeded, reason })
    if (message === undefined) return
    const isAcknowledged = ((beginning.bytes[0] as number) & QOS) !== 0
    if (isAcknowledged) this.#tooLarge(message, bytes, keys)
    else {
      this.#reportUnread(message, bytes, keys)
      this.guard.close()
      this.#violated(TOO_LARGE, REASON.packetTooLarge)
    }
  }

  #reportUnread({ topic, context }: Unread, bytes: number, keys: SkimmedKeys): void {
    const { maxPacketBytes } = this.#limits
    this.guarded(() => this.#context.unread(this, topic, { bytes, maxBytes: maxPacketBytes, context, keys }))
  }

  #tooLarge(message: Unread, bytes: number, keys: SkimmedKeys): void {
    const { topic } = message
    this.#reportUnread(message, bytes, keys)
    this.#throttle?.received(PUBLISH << 4, bytes)
    const { client } = this
    if (client._keepaliveInterval > 0) client._keepaliveTimer?.refresh()
    const { maxPacketBytes } = this.#limits
    this.limited(
      'packet',
      { bytes, maxPacketBytes, topic: topic.slice(0, 200) },
      'message too large: it is dropped and acknowledged',
    )
  }

  /** `claims5`: the fault is in a CONNECT that names MQTT 5. */
  #violated(fault: string, code: number, claims5 = false): void {
    const limit = this.#limitOf(fault)
    if (limit === undefined) {
      this.broke(fault)
    } else {
      const { maxPacketBytes, maxTopicBytes } = this.#limits
      this.limited(limit, { maxPacketBytes, maxTopicBytes }, `${fault}: connection closed`)
    }
    if (claims5 && this.#context.limits.versions.includes(5)) {
      this.claimedLevel = 5
      this.#refuse(connack5(false, code, { reason: fault }))
    } else {
      this.turnAway(code, fault)
    }
  }

  // MQTT 5.

  get version(): MqttVersion | undefined {
    return this.#translator === undefined ? VERSIONS[this.claimedLevel] : '5'
  }

  override denied(what: 'publish' | 'subscribe' | 'will', topic: string): void {
    super.denied(what, topic)
    this.guarded(() => this.#context.inbound.denied?.(this.identity, what, topic))
  }

  /** Says how much of what a filter can match it may read; who speaks MQTT 5 may share it. */
  reach(filter: string): Reach {
    const { rights } = this.#context
    return this.#translator === undefined
      ? rights.reach(this.identity, filter, this.clientId)
      : rights.reach5(this.identity, filter, this.clientId)
  }

  get translator(): Translator | undefined {
    return this.#translator
  }

  #connect5(frame: Frame): Buffer | undefined {
    const { bytes, start, body, end } = frame
    const { limits } = this.#context
    this.claimedLevel = 5
    const connect = limits.versions.includes(5) ? readConnect(bytes, start, body, end) : undefined
    if (connect === undefined) {
      this.#refuseLevel(5)
      return undefined
    }
    if (isFault(connect)) {
      this.guard.close()
      this.broke(connect.text)
      this.#refuse(connack5(false, connect.code, { reason: connect.text }))
      return undefined
    }
    this.#translator = this.#newTranslator(connect)
    if (connect.authenticationMethod === undefined) return connect.packet
    const reason = 'the bridge has no enhanced authentication; send a user name and a password'
    this.#context.counters.refused.credentials++
    this.refuse({ code: 5, code5: REASON.badAuthenticationMethod, reason })
    return undefined
  }

  #newTranslator(connect: Connect5): Translator {
    const { client, delivery, acks } = this
    return new Translator({
      context: this.#context,
      session: this,
      client,
      delivery,
      acks,
      connect,
      parse: (packets) => this.#parse(packets),
      limits: this.#limits,
      takeShort: (frame, flush) => this.#shortPath?.take5(frame, flush) === true,
      publish: (message, acknowledge) => this.#context.publish(this, message, acknowledge),
      violated: ({ text, code }) => {
        this.guard.close()
        this.#violated(text, code)
      },
      left: ({ code, sessionExpirySeconds }) => this.#left(code, sessionExpirySeconds),
    })
  }

  #take5(frame: Frame, flush: () => void): Verdict {
    const { bytes, start, end } = frame
    const first = bytes[start] as number
    this.#throttle?.received(first, end - start)
    if (first >> 4 === SUBSCRIBE && !this.#lists.mayGo('subscribe')) return 'wait'
    if (first >> 4 === UNSUBSCRIBE && !this.#lists.mayGo('unsubscribe')) return 'wait'
    if (first >> 4 === PUBREL) this.#stranger?.handshake(-1)
    if (first >> 4 === PUBLISH && (first & QOS_2) !== 0 && this.#beginHandshake() === 'stop') return 'stop'
    return this.#translator?.take(frame, flush) ?? 'stop'
  }

  /** DISCONNECT: any code but 0 leaves the will. */
  #left(code: number, sessionExpirySeconds: number | undefined): void {
    this.#end ??= code === 0 ? 'disconnect' : 'lost'
    if (code === 0) this.#dropWill()
    const { translator } = this
    if (translator !== undefined && sessionExpirySeconds !== undefined) {
      translator.changeExpiry(sessionExpirySeconds)
    }
    this.guard.close()
    this.conn.destroy()
  }

  turnAway(code: number, reason: string): void {
    // Who was told its end already is not told another one.
    if (this.#translator === undefined || this.isGone) this.conn.destroy()
    else this.#endWith(this.#translator, code, reason)
  }

  disconnectWith(code: number, reason: string): void {
    if (!this.isGone) this.#translator?.farewell(code, reason)
  }

  /** Says why, where the protocol has words for it, and closes the connection. */
  #endWith(translator: Translator, code: number, reason: string): void {
    this.isGone = true
    this.guard.close()
    translator.farewell(code, reason)
    this.#flushAndClose()
  }

  /** Faults that are limits of ours rather than rules of MQTT. */
  #limitOf(fault: string): LimitName | undefined {
    if (fault === TOO_LONG_TOPIC || fault === TOO_LONG_FILTER) return 'topic'
    if (fault === TOO_MANY_FILTERS) return 'filters'
    if (fault === TOO_MANY_HANDSHAKES || fault === TOO_MANY_UNDER_WAY) return 'inflight'
    if (fault !== TOO_LARGE) return undefined
    return this.opened ? 'packet' : 'sign_in_bytes'
  }

  #refuseLevel(level: number): void {
    this.#context.counters.refused.protocol_version++
    this.#context.peerLog.warn(
      'protocol_version',
      this.address,
      { protocolVersion: level },
      'a client speaks a version of MQTT that the bridge does not: set it to MQTT 3.1.1 (protocol version 4)',
    )
    this.#refuse(level < 5 ? refusal(UNACCEPTABLE_LEVEL) : refusalV5(UNSUPPORTED_VERSION))
  }

  // The life of a session.

  /** CONNECT was accepted; the session opens when CONNACK is out. */
  admit(identity: Identity, clientId: string, key: string): void {
    this.key = key
    this.identity = identity
    this.clientId = clientId
    this.#shortPath = new ShortPath(this.#context, this, this.client, this.acks)
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
    if (this.isGone || this.#openedAs !== undefined) return
    this.opened = true
    this.#openedAs = this.identity.kind
    this.#throttle = this.#newThrottle()
    this.#context.counters.sessions[this.#openedAs]++
    this.#context.counters.versions[this.version ?? '3.1.1']++
    this.signedIn()
    this.#settle()
    this.guarded(() => this.#context.inbound.opened(this))
    if (this.client.clean) this.delivery.outbox.open()
    const { conn, client, guard } = this
    const isInTime = guard.heldBytes === 0 || this.#pace?.mayTake(guard.heldBytes) !== false
    guard.open(isInTime)
    // What came with CONNECT was read in no turn yet.
    if (!isInTime) this.#pace?.start()
    readDirectly({ conn, client, guard, session: this, holds: [this.#lists, this.#throttle, this.#pace] })
  }

  /** Returns whether Aedes is done with all that it has read, and would read the next. */
  #readsNext(): boolean {
    return !this.isGone && this.#client?._parsingBatch === 0
  }

  /** The stored queue is empty: what came meanwhile goes out. */
  resumed(): void {
    this.delivery.outbox.open()
    if (this.delivery.filters.all().length > 0) this.subscribed()
  }

  /** SUBACK is out. */
  subscribed(): void {
    if (this.alive) this.guarded(() => this.#context.inbound.subscribed(this))
  }

  /** Answers CONNECT with a code and closes the connection. */
  refuse({ code, code5, reason }: ConnectRefusal): void {
    if (this.#translator === undefined) {
      this.#refuse(refusal(code))
      return
    }
    this.#endWith(this.#translator, code5, reason)
  }

  /** Subscriptions that were stored with the session, as it returns. */
  restored(subscriptions: readonly RequestedSubscription[]): void {
    this.#translator?.subscribing.restored(subscriptions)
  }

  #refuse(connack: Buffer): void {
    this.isGone = true
    this.guard.close()
    this.conn.write(connack)
    this.#flushAndClose()
  }

  end(why: SessionEnd, afterFlush: boolean): void {
    if (this.isGone) return
    this.#end ??= why
    this.isGone = true
    this.guard.close()
    if (why === 'stopped' || (why !== 'lost' && this.identity.kind === 'limb')) {
      this.client.will = null
      this.will5 = undefined
    }
    if (!afterFlush) {
      if (this.#translator === undefined) this.conn.destroy()
      else this.#endWith(this.#translator, ...FAREWELLS[why])
      return
    }
    this.client.pause()
    // What was told has its turn behind what was published before; whatever happens, it is over in time.
    this.#limitFlush()
    const { outbox } = this.delivery
    outbox.sendLast()
    this.#context.broker.inOrder(() =>
      outbox.after(() => {
        this.#translator?.farewell(...FAREWELLS[why])
        this.#flushAndClose()
      }),
    )
  }

  #flushAndClose(): void {
    if (this.conn.destroyed || this.conn.writableEnded) return
    this.#limitFlush()
    this.conn.end(() => this.#linger())
  }

  #limitFlush(): void {
    if (this.#cancelFlush !== undefined) return
    const { clock, limits } = this.#context
    this.#cancelFlush = clock.after(limits.flushTimeoutMs, () => this.conn.destroy())
    this.conn.once('close', this.#cancelFlush)
  }

  /**
   * The last packet is out: the session is over, for Aedes too, so that nobody waits for it. The connection lingers until
   * its peer has read that packet.
   */
  #linger(): void {
    const { conn, client, peer } = this
    if (conn.destroyed) return
    this.#cancelFlush?.()
    this.#leave()
    client.conn = leftOpen(conn)
    client.close()
    this.#context.lingering.begin(conn, peer)
  }

  #closed(): void {
    const wasOpen = this.#openedAs
    this.isGone = true
    this.#stranger?.end()
    this.#throttle?.stop()
    this.guard.close()
    this.#leaveRoom()
    this.#delivery?.close()
    this.#translator?.close()
    this.inProgress.clear()
    this.#settle()
    if (!this.#registered) this.#forget()
    if (wasOpen === undefined) return
    this.opened = false
    this.#openedAs = undefined
    this.#context.counters.sessions[wasOpen]--
    this.#sendWill()
    this.guarded(() => this.#context.inbound.closed(this, this.#end ?? 'lost'))
  }

  #dropWill(): void {
    if (this.delayedWill) this.#context.wills.cancel(this.key)
    this.will5 = undefined
  }

  #sendWill(): void {
    const { will5: will, key } = this
    if (will === undefined) return
    this.will5 = undefined
    // One with a delay waits, over a restart too; the others are not sent when it is the bridge that goes.
    if (this.delayedWill) this.#context.wills.left(key)
    else if (this.#end !== 'stopped') this.#routeWill(will)
  }

  #routeWill(will: Will5): void {
    const { topic, payload, qos, retain, properties } = will
    const { forwarded, messageExpiry } = properties
    this.#context.broker.route({
      topic,
      payload,
      qos,
      retain,
      from: this.client.id ?? undefined,
      properties: forwarded.length === 0 ? undefined : forwarded,
      expiresAt: messageExpiry === undefined ? undefined : this.#context.steady.now() + messageExpiry * 1000,
    })
  }

  // What goes out.

  get isStored(): boolean {
    return !this.client.clean
  }

  subscribedTo(topic: string): boolean {
    return this.alive && this.delivery.filters.qosFor(topic) >= 0
  }

  /** Resolves after what was routed before, which may wait for the store. */
  whenTaken(): Promise<void> {
    return new Promise((resolve) =>
      this.delivery.inOrder(() => this.delivery.outbox.after(() => this.delivery.outbox.whenTaken(resolve))),
    )
  }

  send(topic: string, payload: Uint8Array, messageContext?: MessageContext & { lifeMs?: number }): boolean {
    return this.alive && this.delivery.send(topic, payload, messageContext)
  }
}
