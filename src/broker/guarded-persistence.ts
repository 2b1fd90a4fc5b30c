import { Readable } from 'node:stream'
import type { RetainedView } from '../bridge/ports.ts'
import type {
  Acknowledged,
  AedesClient,
  BrokerPersistence,
  InboundPublish,
  RequestedSubscription,
  RetainedPortion,
  RoutedPacket,
  StoredSubscriber,
} from './aedes-internals.ts'
import { type FilterTurns, PORTION } from './filter-turns.ts'
import type { QueuedPacket } from './resend.ts'
import type { Rights } from './rights.ts'
import type { MqttSession } from './session.ts'
import type { Share } from './shared-subscriptions.ts'

type Client = { id: string | null }

/** The filter that a restored session without subscriptions restores, so that CONNACK says `session present`. */
const MARK = '$session'

const NOBODY: readonly StoredSubscriber[] = []

export interface GuardedOptions {
  readonly store: BrokerPersistence
  readonly view: RetainedView
  readonly rights: Rights
  readonly filterTurns: FilterTurns
  /** The session that is connecting under this id. */
  readonly connecting: (clientId: string) => MqttSession | undefined
  /** Resolves to whether a stored session keeps one of them. */
  readonly keepShares: (shares: readonly Share[]) => Promise<boolean>
  /** The store failed; live traffic goes on. */
  readonly failed: (doing: string, error: unknown) => void
}

/**
 * Stands between Aedes and its persistence. It keeps rights and QoS in what is stored, and keeps a failing store away
 * from live traffic: Aedes would close the connection, or let the process end, for what is logged here.
 */
export class GuardedPersistence {
  readonly #store: BrokerPersistence
  readonly #options: GuardedOptions
  readonly #added = new WeakMap<readonly RequestedSubscription[], Promise<unknown>>()

  constructor(options: GuardedOptions) {
    this.#store = options.store
    this.#options = options
  }

  async setup(broker: unknown): Promise<void> {
    await this.#store.setup(broker)
  }

  /**
   * Keeps a message for later subscribers and for sessions that are away; undefined when there is nothing to
   * keep. Resolves to whether a stored session is subscribed to it. Never rejects.
   */
  keep(packet: RoutedPacket, shares?: readonly Share[]): Promise<boolean> | undefined {
    const retained = packet.retain && !this.#options.view.owns(packet.topic)
    const waiting = packet.qos === 0 ? NOBODY : this.#waiting(packet)
    const kept = shares?.some(({ keptFor }) => keptFor !== undefined) === true ? shares : undefined
    if (!retained && waiting.length === 0 && kept === undefined) return undefined
    return this.#keep(packet, retained, waiting, kept)
  }

  async #keep(
    packet: RoutedPacket,
    retained: boolean,
    waiting: readonly StoredSubscriber[],
    shares: readonly Share[] | undefined,
  ): Promise<boolean> {
    try {
      // All are started in this turn, so that the store sees messages in the order of their calls.
      const storing = retained ? this.#store.storeRetained(packet) : undefined
      const queueing = waiting.length > 0 ? this.#store.outgoingEnqueueCombi(waiting, packet) : undefined
      const sharing = shares === undefined ? undefined : this.#options.keepShares(shares)
      await Promise.all([storing, queueing, sharing])
      return waiting.length > 0 || shares !== undefined
    } catch (error) {
      this.#options.failed('keep a message', error)
      return false
    }
  }

  /** Returns the subscriptions of stored sessions that a message waits for. */
  #waiting(packet: RoutedPacket): readonly StoredSubscriber[] {
    const found = this.#store.subscribersOf(packet.topic)
    return found.length === 0 ? found : found.filter((each) => this.#mayWait(each, packet))
  }

  /** A wide filter keeps only what its owner may read, or its queue would fill with what is never delivered. */
  #mayWait({ nl, clientId }: StoredSubscriber, packet: RoutedPacket): boolean {
    // A bridge's session never gets back what it sent.
    if (nl === true && clientId === packet.clientId) return false
    const owner = this.#store.sessions.ownerOf(clientId)
    return owner === undefined || this.#options.rights.mayWait(owner, packet.topic)
  }

  #isGranted(session: MqttSession, filter: string): boolean {
    return session.reach(filter) !== 'none'
  }

  storeRetained(packet: RoutedPacket): Promise<void> {
    return this.#store.storeRetained(packet)
  }

  /** Nothing: Aedes keeps neither properties nor the filter that asks. See `retainedFor`. */
  createRetainedStreamCombi(): Readable {
    return Readable.from([])
  }

  /** The retained messages that match any of `filters`, in portions, up to where the store fails. */
  async *retainedFor(filters: readonly string[]): AsyncGenerator<RetainedPortion> {
    let hasFailed = false
    const failed = (error: unknown) => {
      hasFailed = true
      this.#options.failed('read retained messages', error)
      return undefined
    }
    try {
      for await (const portion of this.#store.retained(filters)) {
        yield typeof portion === 'function' ? () => portion().catch(failed) : portion
        if (hasFailed) return
      }
    } catch (error) {
      failed(error)
    }
  }

  /**
   * Stores only what is granted. Aedes hands in all filters of a SUBSCRIBE with the first that is, and asks for the
   * others in the same turn.
   */
  addSubscriptions(
    client: AedesClient<MqttSession>,
    all: readonly RequestedSubscription[],
  ): Promise<unknown> {
    let adding = this.#added.get(all)
    if (adding === undefined) {
      // Now: the next SUBSCRIBE may stand behind this one in what was read.
      for (const sub of all) client.session?.translator?.subscribing.addOptions(sub)
      adding = this.#addGranted(client, all).catch((error: unknown) => {
        this.#options.failed('store subscriptions', error)
      })
      this.#added.set(all, adding)
    }
    return adding
  }

  async #addGranted(
    client: AedesClient<MqttSession>,
    all: readonly RequestedSubscription[],
  ): Promise<unknown> {
    // Behind the turn: each of them was granted or refused by then, for its rights or for the number of them.
    await undefined
    const { session } = client
    const granted = all.filter(
      ({ topic }) => session?.delivery.filters.has(topic) === true && this.#isGranted(session, topic),
    )
    return await this.#store.addSubscriptions(client, granted)
  }

  async removeSubscriptions(client: Client, filters: readonly string[]): Promise<void> {
    await this.#orLog('remove subscriptions', this.#store.removeSubscriptions(client, filters))
  }

  /** Leaves out, and forgets, what is no longer granted. */
  async subscriptionsByClient(client: Client): Promise<readonly RequestedSubscription[]> {
    const session = this.#options.connecting(client.id ?? '')
    if (session === undefined) return []
    const all = await this.#store.subscriptionsByClient(client)
    const granted = await this.#grantedOf(session, all)
    if (granted.length < all.length) {
      const kept = new Set(granted)
      const gone = all.filter((sub) => !kept.has(sub)).map((sub) => sub.topic)
      await this.removeSubscriptions(client, gone)
    }
    session.restored(granted)
    return granted.length === 0 && session.storedBefore ? [{ topic: MARK, qos: 0 }] : granted
  }

  async #grantedOf(
    session: MqttSession,
    all: readonly RequestedSubscription[],
  ): Promise<readonly RequestedSubscription[]> {
    const granted: RequestedSubscription[] = []
    for (const [i, sub] of all.entries()) {
      if (i % PORTION === PORTION - 1) await this.#options.filterTurns.next()
      if (this.#isGranted(session, sub.topic)) granted.push(sub)
    }
    return granted
  }

  async cleanSubscriptions(client: Client): Promise<void> {
    await this.#orLog('clean a session', this.#store.cleanSubscriptions(client))
  }

  outgoingUpdate(client: Client, packet: RoutedPacket): Promise<unknown> {
    return this.#store.outgoingUpdate(client, packet)
  }

  async outgoingSent(client: Client, packet: RoutedPacket): Promise<boolean> {
    try {
      return await this.#store.outgoingSent(client, packet)
    } catch (error) {
      this.#options.failed('keep a message that was sent', error)
      return false
    }
  }

  /** Resolves to nothing: Aedes would push what it gets into a stream that nobody reads, which fills. */
  async outgoingClearMessageId(client: Client, packet: Acknowledged): Promise<void> {
    await this.#orLog('forget an acknowledged message', this.#store.outgoingClearMessageId(client, packet))
  }

  /** Nothing: Aedes sends queues without an end to what is under way. See `queueOf`. */
  outgoingStream(): Readable {
    return Readable.from([])
  }

  /** Yields what was queued for a session that returns, in order. */
  async *queueOf(client: Client): AsyncGenerator<QueuedPacket> {
    try {
      yield* this.#store.outgoingStream(client) as AsyncIterable<QueuedPacket>
    } catch (error) {
      this.#options.failed('read a queue', error)
    }
  }

  incomingStorePacket(client: Client, packet: InboundPublish): Promise<unknown> {
    return this.#store.incomingStorePacket(client, packet)
  }

  incomingGetPacket(client: Client, packet: InboundPublish): Promise<unknown> {
    return this.#store.incomingGetPacket(client, packet)
  }

  incomingDelPacket(client: Client, packet: InboundPublish): Promise<unknown> {
    return this.#store.incomingDelPacket(client, packet)
  }

  async cleanIncoming(client: Client): Promise<void> {
    await this.#orLog('clean a session', this.#store.cleanIncoming(client))
  }

  // Wills live as long as the process: with a broker id that stays, Aedes never sends those of its last life.
  async putWill(): Promise<void> {}

  async delWill(): Promise<void> {}

  streamWill(): Readable {
    return Readable.from([])
  }

  async #orLog(doing: string, work: Promise<unknown>): Promise<unknown> {
    try {
      return await work
    } catch (error) {
      this.#options.failed(doing, error)
      return undefined
    }
  }
}
