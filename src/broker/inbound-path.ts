import type { MessageContext, UnreadMessage } from '../bridge/ports.ts'
import { messageOf } from '../kernel/errors.ts'
import type { Address } from '../protocol/topics.ts'
import type { AedesClient, Callback, InboundPublish, RequestedSubscription } from './aedes-internals.ts'
import type { Connection } from './connection.ts'
import { REASON } from './mqtt5/reasons.ts'
import { SINK } from './publish-frame.ts'
import type { Outcome, Received } from './received.ts'
import type { PublishRight } from './rights.ts'
import type { MqttSession } from './session.ts'
import type { SessionContext } from './session-context.ts'
import { nameOf } from './session-key.ts'
import { subscriptionsOfPrincipal, weightOf } from './subscription-limit.ts'

const NOTHING = Buffer.alloc(0)
/** The copies of one QoS 2 message that may come before the first is dealt with. */
const MAX_COPIES = 8

const UNMATCHED: Outcome = { code: REASON.noMatchingSubscribers }

type Client = AedesClient<MqttSession>

/**
 * Aedes' hooks on the way in and out. Each is a total function: a throw in a hook would end the process.
 * PUBACK leaves when a hook calls back, so everything that an acknowledgement promises happens before.
 */
export class InboundPath {
  readonly #context: SessionContext

  constructor(context: SessionContext) {
    this.#context = context
  }

  authorizePublish = (client: Client | null, packet: InboundPublish, callback: Callback): void => {
    const session = client?.session
    try {
      if (client === null || session === undefined) drop(packet, callback)
      // Last words were judged at CONNECT; `publish` routes them.
      else if (packet === (client.will as unknown)) callback(null)
      else if (!session.opened) drop(packet, callback)
      else if (packet.qos === 2) this.#publishOnce(client, session, packet, callback)
      else this.#publish(session, packet, callback)
    } catch (error) {
      session?.fail(error, 'a message failed')
      packet.consumed = true
      callback(new Error('failed'))
    }
  }

  #publish(session: MqttSession, packet: InboundPublish, callback: Callback): void {
    const { topic, payload, qos, retain } = packet
    consume(packet)
    if (topic === SINK) {
      session.acks.run(() => callback(null))
      return
    }
    this.publish(session, { topic, payload, qos, retain }, () => callback(null), callback)
  }

  /** Works like `publish`, for sessions that have no Aedes to report a failure to: the session is closed then. */
  receive(session: Connection, message: Received, acknowledge: (outcome: Outcome) => void): void {
    this.publish(session as MqttSession, message, acknowledge, () => undefined)
  }

  /** Says to the core that a message does not come, if it had been the core's: somebody may wait for it. */
  unread(connection: Connection, topic: string, message: UnreadMessage): void {
    const session = connection as MqttSession
    const right = this.#publishRight(session, topic)
    if (typeof right !== 'object' || !this.#mayAnswerAt(right.address, message.context)) return
    this.#context.inbound.unread?.(session, right.address, message)
  }

  /**
   * Brings a message to its end. `acknowledge` is called in the order of messages, when all that it promises is done;
   * `failed` in its place when nothing may be acknowledged.
   */
  publish(
    session: MqttSession,
    message: Received,
    acknowledge: (outcome: Outcome) => void,
    failed: Callback,
  ): void {
    const right = this.#publishRight(session, message.topic)
    if (right === 'denied' && this.#isAnnounced(session, message)) {
      session.acks.run(() => acknowledge(undefined))
    } else if (right === 'denied') {
      // A closed connection would make ordinary clients send it again for ever.
      session.denied('publish', message.topic)
      session.acks.run(() => acknowledge(this.#denial(session, message.topic)))
    } else if (right === 'route') {
      if (session.identity.kind === 'limb') {
        this.#context.inbound.active(session)
        this.#isAnnounced(session, message)
      }
      const retain = message.retain && this.#context.rights.retain(session.identity)
      const from = session.client.id ?? undefined
      this.#acknowledgeAfter(session, acknowledge, (done) =>
        this.#context.broker.route({ ...message, payload: owned(message.payload), retain, from }, (matched) =>
          done(matched ? undefined : UNMATCHED),
        ),
      )
      session.holdForStore()
    } else if (isHeartbeat(right.address)) {
      this.#context.inbound.heartbeat(session, message.payload)
      session.acks.run(() => acknowledge(undefined))
    } else if (!this.#mayAnswerAt(right.address, message.context)) {
      session.denied('publish', message.context?.responseTopic ?? '')
      session.acks.run(() => acknowledge(this.#elsewhere(right.address)))
    } else {
      this.#acknowledgeAfter(session, acknowledge, (done) =>
        this.#toCore(session, right.address, message, () => done(undefined), failed),
      )
    }
  }

  /** Returns whether it is what foreign firmware says of itself, and the bridge has taken it. */
  #isAnnounced(session: MqttSession, { topic, payload }: Received): boolean {
    if (session.identity.kind === 'principal') return false
    return this.#context.inbound.discovered?.(session, topic, payload) === true
  }

  /** The bridge answers a principal below its own response topics only: it writes nowhere for somebody else. */
  #mayAnswerAt(address: Address, messageContext: MessageContext | undefined): boolean {
    if (address.kind !== 'request' || messageContext?.responseTopic === undefined) return true
    const to = this.#context.topics.parse(messageContext.responseTopic)
    return to?.kind === 'response' && to.principal === address.principal
  }

  #elsewhere(address: Address): Outcome {
    const own = address.kind === 'request' ? this.#context.topics.response(address.principal, '#') : ''
    return { code: REASON.notAuthorized, reason: `a response topic must be below ${own}` }
  }

  #denial({ identity }: MqttSession, topic: string): Outcome {
    const tooDeep = levelsOf(topic) > this.#context.limits.maxTopicLevels
    if (tooDeep) return { code: REASON.invalidTopicName, reason: 'the topic has too many levels' }
    return { code: REASON.notAuthorized, reason: this.#context.rights.whyNotPublish(identity) }
  }

  #publishRight(session: MqttSession, topic: string): PublishRight {
    const { identity, clientId } = session
    return this.#fits(session, topic) ? this.#context.rights.publish(identity, topic, clientId) : 'denied'
  }

  /** Returns whether a topic or filter is flat enough; its length was checked before. */
  #fits(session: MqttSession, topic: string): boolean {
    const { maxTopicLevels } = this.#context.limits
    if (levelsOf(topic) <= maxTopicLevels) return true
    session.limited('topic', { maxTopicLevels }, 'topic with too many levels')
    return false
  }

  /** QoS 0 has nothing to be acknowledged in order, and one turn later costs nothing. */
  #acknowledgeAfter(
    session: MqttSession,
    acknowledge: (outcome: Outcome) => void,
    work: (done: (outcome: Outcome) => void) => void,
  ): void {
    let ticket: ReturnType<typeof session.acks.hold> | undefined
    let early = false
    let outcome: Outcome
    work((what) => {
      outcome = what
      if (ticket === undefined) early = true
      else session.acks.release(ticket)
    })
    if (early) session.acks.run(() => acknowledge(outcome))
    else ticket = session.acks.hold(() => acknowledge(outcome))
  }

  #toCore(
    session: MqttSession,
    address: Address,
    { payload, context: messageContext }: Received,
    done: () => void,
    failed: Callback,
  ): void {
    this.#context.inbound.message(session, address, payload, messageContext).then(done, (error: unknown) => {
      // The core answers what it refuses; a rejection is a defect, and nothing may be acknowledged.
      session.fail(error, 'a message could not be handled')
      failed(new Error(messageOf(error)))
    })
  }

  /**
   * QoS 2: Aedes knows an identifier it has seen only once it is stored, so a second copy in the same chunk
   * waits for the first. A message takes effect before its identifier is stored: after a crash in between it
   * takes effect again, where the other order would have lost it. So only the identifier is stored, and half-open
   * handshakes hold no payloads.
   */
  #publishOnce(client: Client, session: MqttSession, packet: InboundPublish, callback: Callback): void {
    const id = packet.messageId ?? 0
    const waiting = session.inProgress.get(id)
    if (waiting !== undefined) {
      if (waiting.length < MAX_COPIES) waiting.push(() => callback(null))
      else callback(new Error('too many copies of one message'))
      return
    }
    session.inProgress.set(id, [])
    this.#context.persistence.incomingGetPacket(client, packet).then(
      () => {
        callback(null)
        this.finished(session, id)
      },
      () =>
        session.guarded(() => {
          if (session.alive) this.#publish(session, packet, callback)
        }),
    )
  }

  /** Aedes has stored a QoS 2 identifier and published it: copies that wait are duplicates now. */
  finished(session: MqttSession | undefined, id: number | undefined): void {
    if (session === undefined || id === undefined) return
    const waiting = session.inProgress.get(id)
    session.inProgress.delete(id)
    for (const next of waiting ?? []) next()
  }

  authorizeSubscribe = (
    client: Client,
    subscription: RequestedSubscription,
    callback: (error: Error | null, granted: RequestedSubscription | null) => void,
  ): void => {
    const { session } = client
    if (session === undefined) callback(null, null)
    else if (session.opened) this.#answer(session, subscription, callback)
    // One of those that were stored: CONNACK waits for all of them.
    else this.#context.filterTurns.run(session, () => this.#answer(session, subscription, callback))
  }

  #answer(
    session: MqttSession,
    subscription: RequestedSubscription,
    callback: (error: Error | null, granted: RequestedSubscription | null) => void,
  ): void {
    if (session.isGone || !this.#maySubscribe(session, subscription)) callback(null, null)
    else callback(null, session.translator?.subscribing.granted(subscription) ?? subscription)
  }

  #hasRoom(session: MqttSession, topic: string): boolean {
    const { limits, limbs, subscriptionCounts, stored } = this.#context
    const { identity, delivery } = session
    if (delivery.filters.has(topic)) return true
    const isPrincipal = identity.kind === 'principal'
    const maxSubscriptions = isPrincipal
      ? subscriptionsOfPrincipal(limits, limbs?.())
      : limits.maxSubscriptionsPerSession
    const count = isPrincipal
      ? subscriptionCounts.of(identity.name) + stored.awaySubscriptions(nameOf(identity)) + weightOf(topic)
      : delivery.filters.size + 1
    if (count <= maxSubscriptions) return true
    const limit = isPrincipal ? 'principal_subscriptions' : 'subscriptions'
    session.limited(limit, { maxSubscriptions }, 'too many subscriptions')
    return false
  }

  #maySubscribe(session: MqttSession, subscription: RequestedSubscription): boolean {
    const { topic, qos } = subscription
    const room = this.#hasRoom(session, topic)
    if (room && this.#fits(session, topic)) {
      const reach = session.reach(topic)
      if (reach !== 'none') {
        session.delivery.subscribing(topic, reach, qos)
        return true
      }
    }
    session.translator?.subscribing.denied(topic, session.identity, !room)
    if (session.opened) session.denied('subscribe', topic)
    return false
  }
}

/** Nothing is left for Aedes to publish, and, at QoS 2, only the identifier to store. */
function consume(packet: InboundPublish): void {
  packet.consumed = true
  packet.payload = NOTHING
}

function isHeartbeat(address: Address): boolean {
  return address.kind === 'node' && address.leaf === 'heartbeat'
}

function drop(packet: InboundPublish, callback: Callback): void {
  consume(packet)
  callback(null)
}

function levelsOf(topic: string): number {
  let levels = 1
  for (let at = topic.indexOf('/'); at >= 0; at = topic.indexOf('/', at + 1)) levels++
  return levels
}

/** The factor by which the chunk of a socket may be larger than the payload that holds it. */
const MAX_PINNED = 8

/** Copies a small payload out of a large chunk: who keeps the one would keep the other, and no bound counts that. */
function owned(payload: Buffer): Buffer {
  if (payload.length * MAX_PINNED >= payload.buffer.byteLength) return payload
  const own = Buffer.allocUnsafeSlow(payload.length)
  payload.copy(own)
  return own
}
