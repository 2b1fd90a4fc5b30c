import type { Readable } from 'node:stream'
import type {
  MqttStore,
  QueueTarget,
  RetainedLimits,
  RetainedOutcome,
  Urgency,
  WillStore,
} from '../../bridge/mqtt-store.ts'
import type { Log, RetainedView } from '../../bridge/ports.ts'
import type { Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import { RunningClock } from '../../kernel/running-clock.ts'
import type { Portion, StoredShares } from '../aedes-internals.ts'
import {
  columnsOf,
  incomingPacket,
  type PublishPacket,
  type PubrelPacket,
  type RetainedPacket,
} from './packets.ts'
import { type QueueLimits, Queues } from './queues.ts'
import { matchRetained } from './retained.ts'
import { StoredSessions } from './sessions.ts'
import {
  type MatchedSubscription,
  rowOf,
  SubscriptionIndex,
  type SubscriptionPacket,
  subscriptionOf,
} from './subscriptions.ts'

export interface PersistenceLimits extends QueueLimits {
  /** QoS 2 messages of one persistent session that wait for PUBREL. */
  readonly maxInflightPerSession: number
  /** Sessions that are kept for one identity; the oldest that is away goes. */
  readonly maxStoredSessionsPerIdentity: number
  readonly maxRetained: number
  /** The bytes of all retained messages together. */
  readonly maxRetainedBytes: number
  /** The share of one limb, for instance 100 messages below its `data/`; undefined: only the total counts. */
  readonly retainedBelow: (topic: string) => RetainedLimits['below']
}

/**
 * `queue`: a session's queue is full. `retained`, `retained_below`: no room for a new retained topic. With `_bytes`: the
 * bound in bytes is reached. `database`: `store.maxBytes` is.
 */
export type DropKind =
  | 'queue'
  | 'queue_bytes'
  | 'retained'
  | 'retained_below'
  | 'retained_bytes'
  | 'retained_bytes_below'
  | 'database'

export interface PersistenceOptions {
  readonly store: MqttStore
  readonly view: RetainedView
  readonly clock: Clock
  /** The clock by which sessions and wills get old; a new one unless given. */
  readonly running?: RunningClock
  readonly log: Log
  readonly limits: PersistenceLimits
  /** Subscriptions of the stored sessions of one identity that a start loads; all of them unless given. */
  readonly maxSubscriptions?: number
  readonly onDropped: (kind: DropKind) => void
}

/** The slice of Aedes that its persistence sees. */
export interface BrokerSlice {
  readonly id: string
  readonly clients?: Readonly<Record<string, unknown>>
}

interface Client {
  readonly id: string | null
  readonly clean?: boolean
}

type ClientOf = { readonly clientId: string; readonly qos?: 0 | 1 | 2; readonly rap?: boolean | undefined }

const DROPPED_AS: Readonly<Record<Exclude<RetainedOutcome, 'stored'>, DropKind>> = {
  too_many: 'retained',
  too_many_below: 'retained_below',
  too_many_bytes: 'retained_bytes',
  too_many_bytes_below: 'retained_bytes_below',
  no_room: 'database',
}

const DONE = Promise.resolve()
/** Retained topics that are looked at in one turn of the sweep. */
const SWEEP_TOPICS = 1000
const NONE: readonly MatchedSubscription[] = Object.freeze([])
const NOBODY: Promise<MatchedSubscription[]> = Promise.resolve(NONE as never)

/**
 * Keeps for Aedes what outlives a connection (the part of aedes-persistence 11 that this broker calls), on the
 * MqttStore port. A message that was queued, and a QoS 2 message that was received, is on disk when its promise
 * resolves. Retained messages of the bridge's own come from the view and are never stored.
 */
export class MqttPersistence {
  readonly sessions: StoredSessions
  /** Wills that wait for their delay. */
  readonly wills: WillStore
  readonly running: RunningClock
  readonly #options: PersistenceOptions
  readonly #index = new SubscriptionIndex()
  readonly #queues: Queues
  /** QoS 2 state of clean sessions ends with the connection [MQTT-3.1.2-6]: it needs no disk. */
  readonly #incoming = new Map<string, Map<number, PublishPacket>>()
  #broker: BrokerSlice = { id: '' }
  #sweptTo = ''
  #loading: Promise<void> | undefined

  constructor(options: PersistenceOptions) {
    this.#options = options
    const { store, clock, log, limits, onDropped, running = new RunningClock(clock) } = options
    this.running = running
    this.wills = store
    const isLive = (clientId: string) =>
      this.#broker.clients === undefined || this.#broker.clients[clientId] !== undefined
    this.#queues = new Queues({
      store,
      limits,
      log,
      isLive,
      onFull: (clientId, kind) => {
        this.sessions.missed(clientId)
        onDropped(kind)
      },
    })
    this.sessions = new StoredSessions({
      store,
      clock,
      running,
      log,
      index: this.#index,
      queues: this.#queues,
      isLive,
      maxPerIdentity: () => limits.maxStoredSessionsPerIdentity,
      maxSubscriptions: options.maxSubscriptions ?? Number.MAX_SAFE_INTEGER,
    })
  }

  /** Says who shares subscriptions, among the stored sessions. */
  get shares(): StoredShares {
    const { shares } = this.#index
    return {
      size: shares.size,
      match: (topic) => shares.match(topic),
      of: (filter) => shares.of(filter),
      queued: (clientId) => this.#queues.length(clientId),
    }
  }

  /** The broker, for Aedes' own use and for tests. */
  get broker(): BrokerSlice {
    return this.#broker
  }

  /** Above every `brokerCounter` in the store, after `load`: a broker with a fixed id counts on from here. */
  get lastCounter(): number {
    return this.#queues.newestCounter
  }

  /** Messages and bytes in the queues of all sessions. */
  get queued(): { readonly messages: number; readonly bytes: number } {
    return this.#queues.total
  }

  /** Reads sessions, subscriptions and the sizes of queues. `setup` does it when nobody has. */
  load(): Promise<void> {
    this.#loading ??= this.#load()
    return this.#loading
  }

  async #load(): Promise<void> {
    // First: what goes beyond the limits is gone before it takes memory.
    await this.sessions.load()
    for (const row of await this.#options.store.loadSubscriptions()) {
      this.#index.add(row.clientId, subscriptionOf(row))
    }
    this.sessions.countAway()
    await this.#queues.load()
  }

  // Aedes looks at the constructor of this one: it must be an async function.
  async setup(broker: BrokerSlice): Promise<void> {
    this.#broker = broker
    await this.load()
  }

  async destroy(): Promise<void> {
    // The store belongs to whoever opened it.
  }

  // Retained messages.

  /**
   * Stores a retained message. For QoS 0 nobody waits for the disk. A new topic beyond the limits is dropped and
   * counted.
   */
  storeRetained(packet: PublishPacket): Promise<void> {
    const { store, view } = this.#options
    if (view.owns(packet.topic)) return DONE
    const urgency: Urgency = packet.qos === 0 ? 'soon' : 'now'
    const stored =
      packet.payload.length === 0
        ? store.deleteRetained(packet.topic, urgency)
        : this.#putRetained(packet, urgency)
    if (urgency === 'now') return stored
    stored.catch((error: unknown) => {
      this.#options.log.debug({ error: messageOf(error) }, 'a retained message of QoS 0 was not stored')
    })
    return DONE
  }

  async #putRetained(packet: PublishPacket, urgency: Urgency): Promise<void> {
    const { store, limits, onDropped } = this.#options
    const below = limits.retainedBelow(packet.topic)
    const { maxRetained: total, maxRetainedBytes: totalBytes } = limits
    const outcome = await store.putRetained(columnsOf(packet), { total, totalBytes, below }, urgency)
    if (outcome !== 'stored') onDropped(DROPPED_AS[outcome])
  }

  /** The retained messages that match any of `filters`, in portions; each is made, or read, when it is taken. */
  retained(filters: readonly string[]): AsyncGenerator<Portion<RetainedPacket>> {
    return matchRetained(this.#options.store, this.#options.view, filters)
  }

  /** Deletes some of the retained messages whose time is up; each call goes on where the last one ended. */
  async sweepRetained(): Promise<void> {
    const { steady } = this.running
    const { store } = this.#options
    this.#sweptTo = (await store.deleteExpiredRetained(this.#sweptTo, SWEEP_TOPICS, steady.now())) ?? ''
  }

  /** Deletes what is stored below a prefix that ends with a slash, and names it. Resolves when it is on disk. */
  clearRetainedBelow(prefix: string): Promise<readonly string[]> {
    return this.#options.store.deleteRetainedBelow(prefix)
  }

  // Subscriptions of persistent sessions.

  /** Subscribing anew to what is stored writes nothing: a full disk keeps no limb from coming back. */
  async addSubscriptions(client: Client, subscriptions: readonly SubscriptionPacket[]): Promise<void> {
    const clientId = idOf(client)
    const changed = subscriptions.filter((each) => this.#index.add(clientId, each))
    if (changed.length === 0) return
    try {
      await this.#options.store.putSubscriptions(changed.map((each) => rowOf(clientId, each)))
    } catch (error) {
      this.sessions.unsaved(clientId)
      throw error
    }
  }

  async removeSubscriptions(client: Client, filters: readonly string[]): Promise<void> {
    const clientId = idOf(client)
    const gone = filters.filter((filter) => this.#index.remove(clientId, filter))
    if (gone.length > 0) await this.#options.store.deleteSubscriptions(clientId, gone)
  }

  async subscriptionsByClient(client: Client): Promise<SubscriptionPacket[]> {
    return this.#index.of(idOf(client))
  }

  /** The hot path: when no stored session is subscribed to anything, nothing is made. */
  subscriptionsByTopic(topic: string): Promise<MatchedSubscription[]> {
    return this.#index.matchable === 0 ? NOBODY : Promise.resolve(this.#index.match(topic))
  }

  /** Returns the same at once. */
  subscribersOf(topic: string): readonly MatchedSubscription[] {
    return this.#index.matchable === 0 ? NONE : this.#index.match(topic)
  }

  /** A clean CONNECT: the stored session of this id, with all that it holds, is no more [MQTT-3.1.2-6]. */
  cleanSubscriptions(client: Client): Promise<void> {
    const clientId = idOf(client)
    return this.sessions.isStored(clientId) ? this.sessions.delete(clientId) : DONE
  }

  // Queued messages.

  outgoingEnqueueCombi(subscribers: readonly ClientOf[], packet: PublishPacket): Promise<void> {
    if (subscribers.length === 0) return DONE
    // A session gets one copy, at the highest QoS of its matching subscriptions [MQTT-3.3.5-1].
    const targets = new Map<string, QueueTarget>()
    for (const subscriber of subscribers) {
      const target = targetOf(subscriber, packet)
      const before = targets.get(target.clientId)
      if (!before || before.qos < target.qos) targets.set(target.clientId, target)
    }
    return this.#queues.enqueue(targets.values(), packet)
  }

  outgoingUpdate(client: Client, packet: PublishPacket | PubrelPacket): Promise<void> {
    return this.#queues.update(idOf(client), packet)
  }

  /** Keeps a message that was sent to this client alone until it is acknowledged, over a restart too. */
  outgoingSent(client: Client, packet: PublishPacket): Promise<boolean> {
    return this.#queues.keepSent(idOf(client), packet)
  }

  outgoingClearMessageId(
    client: Client,
    packet: { readonly messageId?: number | undefined },
  ): Promise<object | undefined> {
    return this.#queues.clear(idOf(client), packet.messageId)
  }

  outgoingStream(client: Client): Readable {
    return this.#queues.stream(idOf(client))
  }

  // QoS 2 messages that were received.

  async incomingStorePacket(client: Client, packet: PublishPacket): Promise<void> {
    const clientId = idOf(client)
    const messageId = packet.messageId ?? 0
    if (client.clean === true) {
      const packets = this.#incoming.get(clientId) ?? new Map<number, PublishPacket>()
      this.#incoming.set(clientId, packets.set(messageId, packet))
      return
    }
    const { store, limits } = this.#options
    if ((await store.countIncoming(clientId)) >= limits.maxInflightPerSession) {
      throw new Error(`${limits.maxInflightPerSession} QoS 2 messages already wait for PUBREL`)
    }
    if (packet.payload.length > 0 && !store.hasRoom(packet.payload.length))
      throw new Error('the database has no room: it has reached store.maxBytes')
    this.sessions.hasIncoming(clientId)
    await store.putIncoming(clientId, messageId, { ...columnsOf(packet), retain: packet.retain })
  }

  /** Rejects when there is none, which is how Aedes tells a new message from a repeated one. */
  async incomingGetPacket(client: Client, { messageId = 0 }: { messageId?: number }): Promise<PublishPacket> {
    const clientId = idOf(client)
    if (client.clean === true) return this.#incoming.get(clientId)?.get(messageId) ?? noSuchPacket()
    const message = await this.#options.store.incoming(clientId, messageId)
    return message === null ? noSuchPacket() : incomingPacket(message, messageId)
  }

  async incomingDelPacket(client: Client, { messageId = 0 }: { messageId?: number }): Promise<void> {
    const clientId = idOf(client)
    const deleted =
      client.clean === true
        ? this.#incoming.get(clientId)?.delete(messageId)
        : await this.#options.store.deleteIncoming(clientId, messageId)
    if (!deleted) noSuchPacket()
  }

  cleanIncoming(client: Client): Promise<void> {
    const clientId = idOf(client)
    this.#incoming.delete(clientId)
    return this.sessions.isStored(clientId) ? this.#options.store.deleteAllIncoming(clientId) : DONE
  }
}

export function createPersistence(options: PersistenceOptions): MqttPersistence {
  return new MqttPersistence(options)
}

function idOf(client: Client): string {
  return client.id ?? ''
}

/** RETAIN is 0 for whom the subscription is not new [MQTT-3.3.1-9], unless MQTT 5's `rap` asks for it. */
function targetOf({ clientId, qos = 2, rap }: ClientOf, packet: PublishPacket): QueueTarget {
  const granted = Math.min(qos, packet.qos) as 0 | 1 | 2
  return { clientId, qos: granted, retain: packet.retain && rap === true }
}

function noSuchPacket(): never {
  throw new Error('no such packet')
}
