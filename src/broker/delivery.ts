import type { Identity, MessageContext } from '../bridge/ports.ts'
import { type MonotonicMs, plusMs } from '../kernel/clock.ts'
import { LazySet } from '../kernel/lazy-collections.ts'
import { sharedFilter } from '../protocol/filters.ts'
import type { AedesClient, Qos, RetainedPortion, RoutedPacket } from './aedes-internals.ts'
import type { Connection } from './connection.ts'
import { LiveFilters } from './live-filters.ts'
import { LiveMeanwhile } from './live-meanwhile.ts'
import { contextProperties } from './mqtt5/publish.ts'
import { type Encoder, isExpired, type Outgoing, SessionOutbox } from './outbox.ts'
import type { PublishFrame } from './publish-frame.ts'
import { type RetainedFor, RetainedLine } from './retained-line.ts'
import type { Reach } from './rights.ts'
import type { SessionContext } from './session-context.ts'
import { nameOf } from './session-key.ts'

/** The time for which an answer waits with what was told before it; an operator waits no longer for the store. */
const SLOW_MS = 500
/** The messages that a session may not have acknowledged when it is told what another one asked for. */
const MAX_UNASKED = 32
/** The time that what is retained waits for other sessions of the same identity to read. */
const OWNER_MS = 10_000
/** The bytes that wait for a session itself beyond which it waits as long for each message. */
const MAX_OWN_BYTES = 1024 * 1024
/** The time after which it is looked whether they have: what is small is counted when it is sent, not when it is taken. */
const LOOK_MS = 250

/**
 * Delivery to one session, in place of Aedes' own, which loses messages of one turn, sends overlapping
 * subscriptions several copies, and forwards QoS and DUP as they came from the publisher.
 */
export class SessionDelivery {
  readonly filters: LiveFilters
  readonly outbox: SessionOutbox
  readonly #context: SessionContext
  readonly #session: Connection
  readonly client: AedesClient<unknown>
  readonly #shared = new LazySet<string>()
  #lastEmission = -1
  /** The identity to which all live subscriptions were granted, and the grants; undefined before the first. */
  #grantedTo: Identity | undefined
  #grantedIn = 0
  #speaks5 = false
  /** Keeps a message that came live from being sent once more as retained [MQTT-3.3.1-9]. */
  readonly #meanwhile = new LiveMeanwhile()
  /** The SUBSCRIBEs that bring what is retained; undefined before the first. */
  #retainedLine: RetainedLine | undefined
  /** The end of its wait for other sessions of the same identity; undefined while there is room beside them. */
  #waitsUntil: MonotonicMs | undefined

  constructor(context: SessionContext, session: Connection, client: AedesClient<unknown>) {
    this.#context = context
    this.#session = session
    this.client = client
    this.filters = new LiveFilters(client)
    this.outbox = new SessionOutbox({
      client,
      conn: session.conn,
      steady: context.steady,
      persistence: context.persistence,
      limits: context.limits,
      counters: context.counters,
      writes: context.writes,
      isLocal: session.peer.local,
      unsent: context.unsent,
      owner: () => nameOf(session.identity),
      holdsMost: () => session.holdsMost(),
      overrun: () => session.overrun(),
      shed: () => session.shed(),
      failed: (error) => session.fail(error, 'sending failed'),
      owesOne: () => session.identity.kind === 'candidate',
    })
    context.broker.delivers(client, {
      once: (packet, done) => this.#deliver(packet, false, done),
      as: (packet, done) => this.#deliver(packet, packet.retain, done),
    })
  }

  /** A subscription is granted and about to be made. */
  subscribing(filter: string, reach: Reach, qos: Qos): void {
    if (this.#grantedTo === undefined) this.#countSubscriptions()
    // A session that returns is sent nothing that is retained.
    if (this.#session.opened) this.#meanwhile.asked(filter)
    this.filters.add(filter, reach === 'some')
    if (sharedFilter(filter) !== undefined) this.#share(filter, qos)
    if (this.#grantedTo !== undefined) return
    this.#grantedTo = this.#session.identity
    this.#grantedIn = this.#context.rights.version
  }

  #countSubscriptions(): void {
    const { identity } = this.#session
    if (identity.kind !== 'principal') return
    this.filters.countBy((change) => this.#context.subscriptionCounts.add(identity.name, change))
  }

  #share(filter: string, qos: Qos): void {
    this.#shared.add(filter)
    this.#context.shared.join(this, filter, qos)
  }

  /** UNSUBSCRIBE was answered. */
  unsubscribed(filters: readonly string[]): void {
    this.filters.remove(filters)
    for (const filter of filters) {
      if (filter in this.client.subscriptions || !this.#shared.delete(filter)) continue
      this.#context.shared.leave(this, filter)
    }
  }

  /** The connection has ended. Once, whoever sees it first. */
  close(): void {
    if (this.outbox.isClosed) return
    const left = this.outbox.sharedLeft()
    this.outbox.close()
    this.filters.close()
    if (this.#shared.size > 0 || left.length > 0) this.#context.shared.gone(this, [...this.#shared], left)
    this.#shared.clear()
  }

  /** Returns whether it may be given a message of a subscription that it shares. */
  takesShared(topic: string): boolean {
    return !this.#session.isGone && this.mayReceive(topic)
  }

  asPublished(filter: string): boolean {
    return this.filters.isAsPublished(filter)
  }

  /** A copy of a message that it was chosen for; false when it takes none any more. */
  putShared(packet: RoutedPacket, filter: string, qos: Qos): boolean {
    if (!this.takesShared(packet.topic)) return false
    const { broker } = this.#context
    const retain = packet.retain && this.asPublished(filter)
    const identifier = this.filters.identifierOf(filter)
    const identifiers = identifier === undefined ? undefined : [identifier]
    const frame = identifiers === undefined ? this.#frame(qos, retain) : undefined
    broker.taken = broker.emission
    this.outbox.put({ packet, qos, frame, retain, identifiers, stored: qos > 0 && !this.client.clean })
    return true
  }

  /** The client speaks MQTT 5. Before anything is sent. */
  speak5(encoder: Encoder, receiveMaximum: number): void {
    this.#speaks5 = true
    this.outbox.encoder = encoder
    this.outbox.receiveMaximum = receiveMaximum
  }

  /** Sends to this session alone; returns false when it is not subscribed. */
  send(topic: string, payload: Uint8Array, messageContext?: MessageContext & { lifeMs?: number }): boolean {
    const granted = this.filters.qosFor(topic)
    if (granted < 0 || !this.mayReceive(topic)) return false
    const qos: Qos = granted > 0 ? 1 : 0
    const packet = {
      ...routedPacket(topic, payload, qos),
      ...(messageContext?.lifeMs !== undefined && {
        expiresAt: this.#context.steady.now() + messageContext.lifeMs,
      }),
      ...(messageContext !== undefined && this.#speaks5 && { properties: contextProperties(messageContext) }),
    }
    const message = this.ownCopy(packet, qos)
    this.inOrder(() => this.outbox.put(message))
    return true
  }

  /** Makes a message for this session alone, which no store keeps, with what its subscriptions ask for. */
  ownCopy(packet: RoutedPacket, qos: Qos): Outgoing {
    const { hasOptions } = this.filters
    const identifiers = hasOptions ? this.filters.match(packet.topic, false)?.identifiers : undefined
    return { packet, qos, frame: undefined, retain: false, identifiers, stored: false }
  }

  /**
   * Runs `task` after the delivery of what was routed before: who is told something hears it before the operator hears that
   * it was done. A control socket that hears its own answers alone does not wait for long: nothing that waits is for it.
   */
  inOrder(task: () => void): void {
    const { broker, clock } = this.#context
    if (!this.#session.peer.local || broker.waiting === 0 || !this.#hearsAnswersAlone()) {
      broker.inOrder(task)
    } else if (broker.isSlow(SLOW_MS)) {
      task()
    } else {
      let isDone = false
      const once = () => {
        stop()
        if (!isDone) task()
        isDone = true
      }
      const stop = clock.after(SLOW_MS, once)
      broker.inOrder(once)
    }
  }

  #hearsAnswersAlone(): boolean {
    const { identity } = this.#session
    if (identity.kind !== 'principal') return false
    const own = this.#context.topics.response(identity.name, '')
    return this.filters.all().every(([filter]) => filter.startsWith(own))
  }

  #deliver(packet: RoutedPacket, retain: boolean, done: () => void): void {
    this.#context.broker.calls++
    // One copy for overlapping subscriptions, which are called one after the other.
    if (this.#lastEmission !== this.#context.broker.emission)
      this.#session.guarded(() => this.#deliverLive(packet, retain))
    // Nobody else waits for this reader.
    done()
  }

  #deliverLive(packet: RoutedPacket, retain: boolean): void {
    const { broker } = this.#context
    // What begins with a dollar sign is nobody's [MQTT-4.7.2-1].
    if (this.#session.isGone || packet.topic.startsWith('$')) return
    this.#lastEmission = broker.emission
    if (broker.asker === this.#session && broker.isTold) return
    if (this.#lagsBehind(broker.asker)) return
    if (this.filters.hasOptions) {
      this.#deliverAsAsked(broker.current ?? packet)
      return
    }
    if (packet.nl && packet.clientId === this.client.id) return
    const granted = this.filters.qosFor(packet.topic)
    if (granted < 0 || !this.mayReceive(packet.topic)) return
    broker.taken = broker.emission
    const qos = Math.min(granted, packet.qos) as Qos
    const stored = packet.qos > 0 && !this.client.clean
    this.#putLive({
      packet: broker.current ?? packet,
      qos,
      frame: this.#frame(qos, retain),
      retain,
      stored,
    })
  }

  #putLive(message: Outgoing): void {
    const { packet } = message
    if (this.outbox.put(message) && packet.retain) this.#meanwhile.came(packet.topic)
  }

  /** Nobody is owed the answers that another session asked for, beyond what its peer takes and acknowledges. */
  #lagsBehind(asker: object | undefined): boolean {
    if (asker === undefined || asker === this.#session) return false
    const { maxUnaskedBytes } = this.#context.limits
    const keepsUp = this.outbox.heldBytes <= maxUnaskedBytes && this.outbox.underWay < MAX_UNASKED
    if (keepsUp) return false
    this.#context.counters.shed++
    this.#session.shed()
    return true
  }

  /** Delivers to subscriptions with options of MQTT 5. */
  #deliverAsAsked(packet: RoutedPacket): void {
    const { broker } = this.#context
    const match = this.filters.match(packet.topic, packet.clientId === this.client.id)
    if (match === undefined || !this.mayReceive(packet.topic)) return
    broker.taken = broker.emission
    const qos = Math.min(match.qos, packet.qos) as Qos
    const retain = packet.retain && match.retainAsPublished
    const { identifiers } = match
    const frame = identifiers === undefined ? this.#frame(qos, retain) : undefined
    const stored = packet.qos > 0 && !this.client.clean
    this.#putLive({ packet, qos, frame, retain, identifiers, stored })
  }

  #frame(qos: Qos, retain: boolean): PublishFrame | undefined {
    const { broker } = this.#context
    if (this.#speaks5) return broker.frame5(qos, retain)
    return retain ? undefined : broker.frame(qos)
  }

  /** Begins to send what is retained for filters that were granted; `endRetained` must follow. */
  beginRetained(filters: readonly string[]): RetainedFor {
    return { since: this.#meanwhile.begin(filters), identifiers: undefined }
  }

  /** Sends what is retained for one SUBSCRIBE after the other; resolves when it was sent, or is with another one. */
  async retainedInOrder(
    filters: readonly string[],
    asked: RetainedFor,
    send: (filters: readonly string[], asked: RetainedFor) => Promise<void>,
  ): Promise<void> {
    this.#retainedLine ??= new RetainedLine()
    const isSubscribed = (filter: string) => this.filters.has(filter)
    await this.#retainedLine.run({ filters, asked, isSubscribed, send })
  }

  /** Sends what is retained, as fast as the reader takes it. */
  async sendRetained(messages: AsyncIterable<RetainedPortion>, asked: RetainedFor): Promise<void> {
    const { sending } = this.#context
    if (this.#session.isGone) return
    if (!sending.isLeft) await sending.next()
    for await (const portion of messages) {
      if (typeof portion === 'function') {
        await this.#sendStored(portion, asked)
        await this.#mayGoOn()
        continue
      }
      for (const packet of portion) {
        if (this.#session.isGone) return
        const inOrder = this.#sendOne(packet, asked)
        if (inOrder !== undefined) await inOrder
        // Before the next one is made: an older status must not leave behind a newer one that came live.
        const later = this.#mayGoOn()
        if (later !== undefined) await later
      }
    }
  }

  /** Reads a message of the store, a few sessions at a time, when there is room for it. */
  async #sendStored(read: () => Promise<RoutedPacket | undefined>, asked: RetainedFor): Promise<void> {
    const { readingRetained, sending, unsent } = this.#context
    let isDone = false
    while (!isDone && !this.#session.isGone) {
      if (!this.#hasRoomOfOwner) await this.#roomOfOwner()
      await readingRetained.run(async () => {
        // However many wait, each is read in its turn.
        if (!sending.isLeft) await sending.next()
        // Those before it may have taken what room there was.
        if (!this.#hasRoomOfOwner || this.#session.isGone) return
        isDone = true
        const packet = await read()
        if (packet !== undefined && !this.#session.isGone) await this.#sendOne(packet, asked)
      })
    }
    if (this.outbox.heldBytes > MAX_OWN_BYTES) this.#waitsUntil = undefined
    unsent.next(this.outbox.owner)
  }

  /** Returns what is to be awaited, if anything is: a fleet's statuses cost no promise each. */
  #sendOne(packet: RoutedPacket, asked: RetainedFor): Promise<void> | undefined {
    const { broker } = this.#context
    const send = () => this.#session.guarded(() => this.#putRetained(packet, asked))
    // A message that the store has already, and subscribers not yet, comes live first.
    if (broker.isRetaining(packet.topic)) return broker.whenInOrder(send)
    send()
    return undefined
  }

  #mayGoOn(): Promise<void> | undefined {
    const { sending } = this.#context
    if (!this.outbox.hasRoom)
      return this.outbox.room().then(() => (sending.isLeft ? undefined : sending.next()))
    return sending.isLeft ? undefined : sending.next()
  }

  /** Shows whether there is room beside what waits for other sessions of this identity, or was none for long enough. */
  get #hasRoomOfOwner(): boolean {
    const { unsent, clock } = this.#context
    if (this.#session.peer.local || unsent.hasRoom(this.outbox.owner)) {
      this.#waitsUntil = undefined
      return true
    }
    const now = clock.monotonicMs()
    this.#waitsUntil ??= plusMs(now, OWNER_MS)
    return now >= this.#waitsUntil
  }

  /** Waits until there may be room, or it is time to look. */
  async #roomOfOwner(): Promise<void> {
    const { unsent, clock } = this.#context
    const { owner } = this.outbox
    await new Promise<void>((resolve) => {
      const go = () => {
        stop()
        leave()
        resolve()
      }
      const stop = clock.after(LOOK_MS, go)
      const leave = unsent.whenRoom(owner, go)
    })
  }

  endRetained(): void {
    this.#meanwhile.end()
  }

  #putRetained(packet: RoutedPacket, { since, identifiers }: RetainedFor): void {
    const { topic } = packet
    const granted = this.filters.qosFor(topic)
    if (granted < 0 || this.#meanwhile.has(topic, since)) return
    if (isExpired(packet, this.#context.steady) || !this.mayReceive(topic)) return
    const qos = Math.min(granted, packet.qos) as Qos
    this.outbox.put({ packet, qos, frame: undefined, retain: true, identifiers, stored: false })
  }

  /**
   * A grant may end after SUBSCRIBE: once the identity or the grants are others, each message is looked at, and so it
   * is while a filter is wider than what may be read.
   */
  mayReceive(topic: string): boolean {
    const { identity, clientId } = this.#session
    const { rights, counters } = this.#context
    const isUnchanged = identity === this.#grantedTo && rights.version === this.#grantedIn
    if (isUnchanged && !this.filters.isWide) return true
    if (rights.receive(identity, topic, clientId)) return true
    // A wide filter leaves out what is not to be read: nobody was denied anything.
    if (!this.filters.isWide) counters.denied.forward++
    return false
  }
}

export function routedPacket(topic: string, payload: Uint8Array, qos: Qos): RoutedPacket {
  return { cmd: 'publish', brokerId: null, brokerCounter: 0, topic, payload, qos, retain: false, dup: false }
}
