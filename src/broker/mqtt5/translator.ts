import type { Identity } from '../../bridge/ports.ts'
import type { AedesClient } from '../aedes-internals.ts'
import type { Connection } from '../connection.ts'
import type { SessionDelivery } from '../delivery.ts'
import { DISCONNECT, PUBLISH } from '../frame-checks.ts'
import type { Frame, Verdict } from '../frame-splitter.ts'
import type { OrderedQueue } from '../ordered-queue.ts'
import { PUBACK, PUBCOMP, PUBREC } from '../packet-ids.ts'
import type { Outcome, Received, Unread } from '../received.ts'
import type { SessionContext } from '../session-context.ts'
import type { SessionLimits } from '../session-limits.ts'
import { acknowledgement5, connack5, disconnect5, listAnswer5, type Promises5 } from './answers.ts'
import type { Connect5 } from './connect.ts'
import { Encoder5 } from './encoder.ts'
import {
  type Acknowledgement5,
  type Disconnect5,
  isFault,
  type Publish5,
  readAcknowledgement,
  readDisconnect,
  readPublish,
  readSubscribe,
  readUnsubscribe,
} from './frame.ts'
import { CUT_SHORT, TOO_MANY_PROPERTIES, tooMany } from './properties.ts'
import { type Fault5, FIRST_FAILURE, malformed, protocolError, REASON } from './reasons.ts'
import { ReceivedOnce } from './received-once.ts'
import { PacketCollector, standInFor } from './stand-in.ts'
import { Subscribing } from './subscribing.ts'

/** Aliases that a client may give on one connection. Each may be as long as a topic. */
const MAX_ALIASES = 10

const CONNECT = 1
const PUBREL = 6
const SUBSCRIBE = 8
const UNSUBSCRIBE = 10
const PINGREQ = 12
const AUTH = 15

export interface TranslatorOptions {
  readonly context: SessionContext
  readonly session: Connection
  readonly client: AedesClient<unknown>
  readonly delivery: SessionDelivery
  readonly acks: OrderedQueue
  readonly connect: Connect5
  /** Hands packets of MQTT 3.1.1 to Aedes' parser. */
  readonly parse: (packets: Buffer) => void
  readonly limits: SessionLimits
  /** Takes a PUBLISH without properties on one of the main paths. */
  readonly takeShort: (frame: Frame, flush: () => void) => boolean
  readonly publish: (message: Received, acknowledge: (outcome: Outcome) => void) => void
  /** The client breaks the standard or a limit: the connection ends. */
  readonly violated: (fault: Fault5) => void
  readonly left: (disconnect: Disconnect5) => void
}

/** The part of CONNACK that does not hold for everybody. */
type Granted = Pick<Promises5, 'assignedClientId' | 'serverKeepAlive' | 'sessionExpirySeconds'>

/**
 * Speaks MQTT 5 with one client, and MQTT 3.1.1 with Aedes behind. Messages do not pass Aedes: those that come go to
 * the bridge at once, those that leave are written by the outbox.
 */
export class Translator {
  readonly connect: Connect5
  granted: Granted = {}
  /** The expiry of the session, once it was admitted; DISCONNECT may change it. */
  sessionExpirySeconds = 0
  readonly #options: TranslatorOptions
  readonly #once: ReceivedOnce
  readonly #subscribing: Subscribing
  readonly #aliases = new Map<number, string>()
  #connackOut = false
  /** Messages of QoS 0 and 2 that have a place among the acknowledgements. */
  #others = 0

  constructor(options: TranslatorOptions) {
    this.#options = options
    const { context, client, connect, delivery, session } = options
    this.connect = connect
    delivery.speak5(new Encoder5(context.steady, connect), connect.receiveMaximum)
    const collector = new PacketCollector((packet, body) => this.#fromAedes(packet, body))
    client.conn = standInFor(session.conn, (chunk) => collector.add(chunk))
    this.#subscribing = new Subscribing(context.rights, delivery.filters, client)
    this.#once = new ReceivedOnce({
      context,
      client,
      publish: (message, acknowledge) => this.#handOn(message, acknowledge),
      pubrec: (id, outcome) => this.#acknowledge(0x50, id, outcome),
      pubcomp: (id, outcome) => this.#acknowledge(0x70, id, outcome),
      alive: () => session.alive,
      failed: (error) => session.fail(error, 'a message failed'),
    })
  }

  /** Sets what CONNACK will say of the session. */
  assign(clientId: string | undefined, sessionExpirySeconds: number): void {
    this.sessionExpirySeconds = sessionExpirySeconds
    const asked = this.connect.sessionExpirySeconds
    this.granted = {
      ...this.granted,
      assignedClientId: clientId,
      sessionExpirySeconds: sessionExpirySeconds === asked ? undefined : sessionExpirySeconds,
    }
  }

  /** DISCONNECT says so; never from nothing, and never beyond the limit. */
  changeExpiry(seconds: number): void {
    this.sessionExpirySeconds = Math.min(seconds, this.#options.context.limits.sessionExpirySeconds)
  }

  get subscribing(): Subscribing {
    return this.#subscribing
  }

  close(): void {
    this.#once.close()
    this.#aliases.clear()
  }

  /** A whole packet of the client, after CONNACK. */
  take(frame: Frame, flush: () => void): Verdict {
    const { client } = this.#options
    if (client._keepaliveInterval > 0) client._keepaliveTimer?.refresh()
    const fault = this.#take(frame, flush)
    // Nothing is handed on as it came.
    flush()
    if (fault === undefined) return 'taken'
    this.#options.violated(fault)
    return 'stop'
  }

  #take(frame: Frame, flush: () => void): Fault5 | undefined {
    const { bytes, start, body, end } = frame
    const first = bytes[start] as number
    const maxTopicBytes = this.#options.limits.maxTopicBytes
    switch (first >> 4) {
      case PUBLISH:
        this.#options.context.counters.messagesIn++
        if (this.#options.takeShort(frame, flush)) return undefined
        return this.#read(readPublish(first, bytes, body, end, maxTopicBytes), (publish) =>
          this.#publish(publish),
        )
      case PUBACK:
      case PUBREC:
      case PUBREL:
      case PUBCOMP:
        return this.#read(readAcknowledgement(first, bytes, body, end), (acknowledgement) =>
          this.#acknowledged(first, acknowledgement),
        )
      case SUBSCRIBE:
        return this.#read(readSubscribe(first, bytes, body, end, maxTopicBytes), (subscribe) =>
          this.#toAedes(this.#subscribing.subscribe(subscribe)),
        )
      case UNSUBSCRIBE:
        return this.#read(readUnsubscribe(first, bytes, body, end, maxTopicBytes), (unsubscribe) => {
          for (const filter of unsubscribe.filters) this.#options.delivery.filters.ending(filter)
          return this.#toAedes(this.#subscribing.unsubscribe(unsubscribe))
        })
      case PINGREQ:
        if ((first & 0x0f) !== 0 || end !== body) return malformed('malformed PINGREQ')
        this.#options.parse(bytes.subarray(start, end))
        return undefined
      case DISCONNECT:
        return this.#read(readDisconnect(first, bytes, body, end), (disconnect) => this.#leave(disconnect))
      case CONNECT:
        return protocolError('a second CONNECT')
      case AUTH:
        return protocolError('AUTH without an authentication method')
      default:
        return malformed('a packet that only a server sends')
    }
  }

  #read<T extends object>(read: T | Fault5, then: (packet: T) => Fault5 | undefined): Fault5 | undefined {
    return isFault(read) ? read : then(read as T)
  }

  #toAedes(packet: Buffer | Fault5): Fault5 | undefined {
    if (isFault(packet)) return packet
    this.#options.parse(packet)
    return undefined
  }

  // What the client publishes.

  #publish(publish: Publish5): Fault5 | undefined {
    const { acks, context } = this.#options
    const { qos, id, retain, payload, properties } = publish
    const topic = this.#topicOf(publish)
    if (typeof topic !== 'string') return topic
    const underWay = acks.length - this.#others + this.#once.size
    if (qos > 0 && underWay >= context.limits.maxInflightPerSession) return TOO_MANY
    if (tooMany(properties)) {
      acks.run(() => this.#answer(qos, id, REFUSED_PROPERTIES))
      return undefined
    }
    const { messageExpiry, forwarded, responseTopic, correlationData } = properties
    const message: Received = {
      topic,
      payload,
      qos,
      retain,
      properties: forwarded.length === 0 ? undefined : forwarded,
      expiresAt: messageExpiry === undefined ? undefined : context.steady.now() + messageExpiry * 1000,
      context: forwarded.length === 0 ? undefined : { responseTopic, correlation: correlationData },
    }
    if (qos === 2) return this.#once.receive(id, message) ? undefined : TOO_MANY_COPIES
    this.#handOn(message, (outcome) => this.#answer(qos, id, outcome))
    return undefined
  }

  /** Answers a PUBLISH that was read over but for its beginning, and returns what is known of it; undefined: the session ends. */
  readOver({ bytes, body, end }: Frame, outcome: Outcome): Unread | undefined {
    const { acks, limits, violated } = this.#options
    const read = readPublish(bytes[0] as number, bytes, body, end, limits.maxTopicBytes)
    const topic = isFault(read) ? read : this.#topicOf(read)
    if (isFault(read) || typeof topic !== 'string') {
      violated(topic === CUT_SHORT ? TOO_LARGE : (topic as Fault5))
      return undefined
    }
    acks.run(() => this.#answer(read.qos, read.id, outcome))
    const { responseTopic, correlationData } = read.properties
    return { topic, context: { responseTopic, correlation: correlationData } }
  }

  #handOn(message: Received, acknowledge: (outcome: Outcome) => void): void {
    if (message.qos === 1) {
      this.#options.publish(message, acknowledge)
      return
    }
    this.#others++
    this.#options.publish(message, (outcome) => {
      this.#others--
      acknowledge(outcome)
    })
  }

  #topicOf({ topic, properties }: Publish5): string | Fault5 {
    const alias = properties.topicAlias
    if (alias === undefined) return topic
    if (alias > MAX_ALIASES)
      return { code: REASON.invalidTopicAlias, text: 'a topic alias above the maximum' }
    if (topic === '') return this.#aliases.get(alias) ?? protocolError('an unknown topic alias')
    this.#aliases.set(alias, topic)
    return topic
  }

  #answer(qos: number, id: number, outcome: Outcome): void {
    if (qos === 1) this.#acknowledge(0x40, id, outcome)
    else if (qos === 2) this.#acknowledge(0x50, id, outcome)
  }

  #acknowledge(first: number, id: number, outcome: Outcome): void {
    if (!this.#options.session.mayAcknowledge()) return
    const code = outcome?.code ?? 0
    this.#write((reason) => acknowledgement5(first, id, code, reason), outcome?.reason)
  }

  // What it acknowledges.

  #acknowledged(first: number, { id, code }: Acknowledgement5): Fault5 | undefined {
    const type = first >> 4
    if (type === PUBREL) return this.#once.release(id) ? undefined : TOO_MANY_COPIES
    const { outbox } = this.#options.delivery
    const known = outbox.handshakes.has(id)
    if (!outbox.handshakes.answered(type, id)) return protocolError('an acknowledgement of another handshake')
    // A message that was refused has no second half.
    if (type === PUBREC && code >= FIRST_FAILURE) outbox.drop(id)
    else if (type === PUBREC && !known) this.#acknowledge(0x62, id, { code: REASON.packetIdNotFound })
    else if (type === PUBACK) outbox.finished(id)
    else this.#options.parse(Buffer.from([type << 4, 2, id >> 8, id & 0xff]))
    return undefined
  }

  #leave(disconnect: Disconnect5): Fault5 | undefined {
    if (disconnect.sessionExpirySeconds && this.connect.sessionExpirySeconds === 0) {
      return protocolError('a session expiry after CONNECT had none')
    }
    this.#options.left(disconnect)
    return undefined
  }

  // What Aedes answers.

  #fromAedes(packet: Buffer, body: number): void {
    switch ((packet[0] as number) >> 4) {
      case 2:
        this.#connack(packet[body] === 1, packet[body + 1] as number)
        return
      case 9:
        this.#list(0x90, packet.readUInt16BE(body), packet.subarray(body + 2))
        return
      case 11:
        this.#list(0xb0, packet.readUInt16BE(body), packet.subarray(body + 2))
        return
      default:
        // PUBREL and PINGRESP are the same in both.
        this.#send(packet)
    }
  }

  #list(first: number, id: number, granted: Buffer): void {
    const { codes, reason } = this.#subscribing.answer(first, id, granted)
    this.#write((text) => listAnswer5(first, id, codes, text), reason)
  }

  #connack(present: boolean, code: number): void {
    const { session } = this.#options
    if (code !== 0) {
      this.farewell(REASON.serverUnavailable, undefined)
      return
    }
    const promises = { ...this.#promises(session.identity), ...this.granted }
    this.#connackOut = true
    this.#send(connack5(present, 0, promises))
  }

  #promises(identity: Identity): Promises5 {
    const { context } = this.#options
    const isPrincipal = identity.kind === 'principal'
    const { maxInflightPerSession, maxCandidateInflight } = context.limits
    const underWay = identity.kind === 'candidate' ? maxCandidateInflight : Number.POSITIVE_INFINITY
    const information =
      this.connect.wantsResponseInformation && isPrincipal
        ? context.topics.response(identity.name, '').replace(/\/$/, '')
        : undefined
    return {
      receiveMaximum: Math.min(maxInflightPerSession, underWay, 65_535),
      maximumPacketSize: this.#options.limits.maxPacketBytesOf(identity),
      topicAliasMaximum: MAX_ALIASES,
      sharedSubscriptions: isPrincipal ? undefined : false,
      responseInformation: information,
    }
  }

  // The end.

  /** The last packet, DISCONNECT or a CONNACK that refuses; the connection is to be closed. */
  farewell(code: number, reason: string | undefined): void {
    const make = this.#connackOut
      ? (text: string | undefined) => disconnect5(code, text)
      : (text: string | undefined) => connack5(false, code, { reason: text })
    // A client that wants no reasons gets them here all the same [MQTT-3.1.2-29].
    this.#write(make, reason, true)
  }

  /** Writes a packet, with its reason where the client wants it and takes a packet as large. */
  #write(make: (reason: string | undefined) => Buffer, reason: string | undefined, always = false): void {
    const wanted = always || this.connect.wantsReasons ? reason : undefined
    const packet = make(wanted)
    if (packet.length <= this.connect.maximumPacketSize || wanted === undefined) this.#send(packet)
    else this.#send(make(undefined))
  }

  #send(packet: Buffer): void {
    const { conn } = this.#options.session
    if (!conn.writable) return
    // The client takes not even this much: nothing can be said to it.
    if (packet.length > this.connect.maximumPacketSize) conn.destroy()
    else conn.write(packet)
  }
}

export const TOO_MANY_UNDER_WAY = 'more messages of QoS 1 and 2 under way than the receive maximum'
const TOO_MANY: Fault5 = { code: REASON.receiveMaximumExceeded, text: TOO_MANY_UNDER_WAY }
const TOO_LARGE: Fault5 = { code: REASON.packetTooLarge, text: 'packet too large' }
const TOO_MANY_COPIES = protocolError('too many copies of one message')
const REFUSED_PROPERTIES: Outcome = { code: TOO_MANY_PROPERTIES.code, reason: TOO_MANY_PROPERTIES.text }
