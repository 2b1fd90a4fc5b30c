import type { Duplex, Readable } from 'node:stream'
import type { WillStore } from '../bridge/mqtt-store.ts'
import type { Session } from '../bridge/ports.ts'
import type { RunningClock } from '../kernel/running-clock.ts'

/**
 * The slice of Aedes 1.2.0, private parts included, that this folder relies on, and nothing more. Aedes is
 * pinned exactly; `test/broker/aedes-internals.test.ts` fails when an upgrade moves one of these.
 */

export type Qos = 0 | 1 | 2
export type Callback = (error?: Error | null) => void

/** A PUBLISH as the parser hands it to `authorizePublish` and `publish`. */
export interface InboundPublish {
  readonly cmd: 'publish'
  topic: string
  payload: Buffer
  readonly qos: Qos
  retain: boolean
  readonly dup: boolean
  readonly messageId?: number
  /** Ours: this packet has reached its end, nothing is left to route. */
  consumed?: boolean
}

/** The fields that a message of MQTT 5 has beyond one of MQTT 3.1.1. */
export interface MessageExtras {
  /** Its properties as they came, without those that belong to one hop: see `forwarded` in mqtt5/properties.ts. */
  readonly properties?: Uint8Array | undefined
  /** The time on the steady clock from which on nobody gets it any more. */
  readonly expiresAt?: number | undefined
}

export interface Will {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
}

export interface ConnectPacket {
  clientId: string
  clean: boolean
  keepalive: number
  readonly protocolVersion: number
  readonly username?: string
  readonly password?: Buffer
  will?: Will | undefined
}

export interface RequestedSubscription {
  readonly topic: string
  readonly qos: Qos
  readonly nl?: boolean | undefined
  readonly rap?: boolean | undefined
  readonly rh?: number | undefined
  readonly subscriptionIdentifier?: number | undefined
}

/**
 * A message on its way to subscribers. `brokerCounter` rises with every message and over restarts; `brokerId`
 * is null on what Aedes reads back as a retained message for a new subscription.
 */
export interface RoutedPacket extends MessageExtras {
  readonly cmd: 'publish'
  readonly brokerId: string | null
  readonly brokerCounter: number
  readonly topic: string
  readonly payload: Uint8Array
  qos: Qos
  readonly retain: boolean
  readonly dup: boolean
  messageId?: number | undefined
  readonly clientId?: string
  readonly nl?: boolean
  /** The shared subscription that this copy is for. */
  readonly share?: string | undefined
}

export type Deliver = (packet: RoutedPacket, done: () => void) => void

export interface AedesClient<S = Session> {
  id: string | null
  clean: boolean
  /** A stand-in takes its place for a client that speaks MQTT 5. */
  conn: Duplex
  readonly closed: boolean
  readonly subscriptions: Readonly<
    Record<string, { readonly qos: Qos; readonly nl?: boolean; readonly rap?: boolean }>
  >
  will: Will | null
  deliver0: Deliver
  deliverQoS: Deliver
  readonly _parser: { parse(chunk: Buffer): number }
  readonly _parsingBatch: number
  readonly _keepaliveInterval: number
  readonly _keepaliveTimer: NodeJS.Timeout | null
  pause(): void
  close(): void
  /** Calls back when the socket has room, with an error when it closed or `drainTimeout` has passed. */
  waitForDrain(done: Callback): void
  /** Ours: the session of this client. */
  session?: S
}

/** The name of a message that was acknowledged. */
export interface Acknowledged {
  readonly messageId?: number | undefined
}

/** The place where Aedes keeps what must outlive a connection (aedes-persistence 11), as promises and streams. */
export interface Persistence {
  setup(broker: unknown): Promise<void>
  storeRetained(packet: RoutedPacket): Promise<void>
  addSubscriptions(
    client: { id: string | null },
    subscriptions: readonly RequestedSubscription[],
  ): Promise<unknown>
  removeSubscriptions(client: { id: string | null }, filters: readonly string[]): Promise<unknown>
  subscriptionsByClient(client: { id: string | null }): Promise<readonly RequestedSubscription[]>
  subscriptionsByTopic(topic: string): Promise<readonly StoredSubscriber[]>
  cleanSubscriptions(client: { id: string | null }): Promise<unknown>
  outgoingEnqueueCombi(
    subscribers: readonly { readonly clientId: string }[],
    packet: RoutedPacket,
  ): Promise<unknown>
  outgoingUpdate(client: { id: string | null }, packet: RoutedPacket): Promise<unknown>
  outgoingClearMessageId(client: { id: string | null }, packet: Acknowledged): Promise<unknown>
  /** Keeps a message that is for this client alone and was sent; resolves to false when it could not be kept. */
  outgoingSent(client: { id: string | null }, packet: RoutedPacket): Promise<boolean>
  outgoingStream(client: { id: string | null }): Readable
  incomingStorePacket(client: { id: string | null }, packet: InboundPublish): Promise<unknown>
  incomingGetPacket(client: { id: string | null }, packet: InboundPublish): Promise<unknown>
  incomingDelPacket(client: { id: string | null }, packet: InboundPublish): Promise<unknown>
  cleanIncoming(client: { id: string | null }): Promise<unknown>
}

/** The parts that the broker needs of a persistence beyond Aedes' own interface. */
export interface BrokerPersistence extends Persistence {
  readonly sessions: {
    /** The identity that a stored session belongs to. */
    ownerOf(clientId: string): string | undefined
    /** `expirySeconds`: how long it outlives its connection; null: as long as the configuration says. */
    put(clientId: string, owner: string, expirySeconds?: number | null): Promise<void>
    /** The connection of a persistent session has ended, which may have changed how long it lasts. */
    ended(clientId: string, expirySeconds?: number | null): void
    /** Returns whether its time is up. */
    isOver(clientId: string): boolean
    delete(clientId: string): Promise<void>
    forget(owner: string): Promise<void>
    /** Called with the key of each session that is forgotten; `isGone`: its identity is no more. */
    onForgotten: (clientId: string, isGone: boolean) => void
    /** Returns whether it may have missed what the view shows; true only once. */
    takeStale(clientId: string): boolean
    missed(clientId: string): void
    /** Returns what the subscriptions of an identity's sessions that are away count as. */
    awaySubscriptions(owner: string): number
    /** The stored sessions of an identity. */
    list(owner: string): readonly {
      readonly key: string
      readonly usedAt: number
      readonly queued: number
    }[]
    /** All who have a stored session. */
    owners(): Iterable<string>
  }
  readonly wills: WillStore
  /** The retained messages that match any of `filters`, in portions; each is made, or read, when it is taken. */
  retained(filters: readonly string[]): AsyncIterable<RetainedPortion>
  /** The clock by which sessions and wills get old. */
  readonly running: RunningClock
  readonly shares: StoredShares
  /** The same as `subscriptionsByTopic`, at once. */
  subscribersOf(topic: string): readonly StoredSubscriber[]
  /** Above every `brokerCounter` in the store. */
  readonly lastCounter: number
  clearRetainedBelow(prefix: string): Promise<readonly string[]>
}

/** Shared subscriptions of stored sessions. */
export interface StoredShares {
  readonly size: number
  match(topic: string): string[]
  of(filter: string): ReadonlyMap<string, { readonly qos: Qos; readonly rap?: boolean }>
  /** Messages that wait for a session. */
  queued(clientId: string): number
}

export interface StoredSubscriber {
  readonly clientId: string
  readonly topic: string
  readonly qos?: Qos
  readonly nl?: boolean | undefined
}

/**
 * A part of what is retained: messages of the bridge's own, each made when it is taken, or one of the store, which is read when
 * the function is called: hundreds of sessions that wait for their turn hold no payload meanwhile.
 */
export type Portion<T> = Iterable<T> | (() => Promise<T | undefined>)
export type RetainedPortion = Portion<RoutedPacket>
