import { Aedes, type AedesOptions } from 'aedes'
import type { Clock } from '../kernel/clock.ts'
import type {
  AedesClient,
  Callback,
  Deliver,
  InboundPublish,
  MessageExtras,
  Qos,
  RoutedPacket,
} from './aedes-internals.ts'
import type { FilterTurns } from './filter-turns.ts'
import { frame5 } from './mqtt5/publish.ts'
import { OrderedQueue, type QueuePace } from './ordered-queue.ts'
import { PublishFrame } from './publish-frame.ts'
import { ownerOf } from './session-key.ts'
import type { Share } from './shared-subscriptions.ts'
import type { StoreRoom } from './store-room.ts'

export interface OrderedBrokerOptions extends Omit<AedesOptions, 'published'> {
  /**
   * Keeps what must outlive the connection, or undefined when there is nothing to keep. Resolves to whether a
   * session that is stored takes it. Never rejects.
   */
  readonly store: (packet: RoutedPacket, shares: readonly Share[] | undefined) => Promise<boolean> | undefined
  /** Chooses who of those that share a subscription gets a message; undefined: nobody does. */
  readonly sharesOf: (packet: RoutedPacket) => readonly Share[] | undefined
  readonly deliverShare: (share: Share) => void
  readonly maxRouteQueue: number
  readonly clock: Clock
  readonly filterTurns: FilterTurns
  /** The memory of messages that are not stored and delivered yet. */
  readonly storeRoom: StoreRoom
  /** Says how many of the messages that were stored together are delivered in one turn. */
  readonly pace: QueuePace
  /** Is told how many subscriptions a message was handed to. */
  readonly delivered: (subscriptions: number) => void
  /** Sees each message as it is routed. Total. */
  readonly tap: (message: Route) => void
  /** Messages that must not wait for the store any longer. */
  readonly overdue: (count: number) => void
  readonly failed: (error: unknown) => void
  /** A QoS 2 message of a client is through, or its end was reached before. */
  readonly published: (client: AedesClient, packet: InboundPublish) => void
}

export interface Route extends MessageExtras {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  /** Aedes' id of the client it comes from. */
  readonly from?: string | undefined
  /** The session whose request it answers; compare only. */
  readonly asker?: object | undefined
  /** The session that asked has been told already. */
  readonly told?: boolean | undefined
  /** Is called when it was delivered, with the number of subscriptions that it was handed to. */
  readonly reached?: ((subscriptions: number) => void) | undefined
}

const HEARTBEAT = '/heartbeat'

/** The ways in which messages come to one session. */
export interface Delivering {
  /** Is the same for all its subscriptions: a message that matches thousands of them costs a call for each, and no packet. */
  readonly once: Deliver
  /** Is told more of a message, for a subscription that asks for it. */
  readonly as: Deliver
}

/**
 * Aedes with one order for all messages. Left alone, Aedes lets two messages of one turn take paths of
 * different length (retained or plain, QoS 1 or 0) and drops, by its duplicate counter, the one that comes
 * second with the lower number. Here all take one queue: stored as they come, delivered in the order of calls.
 */
export class OrderedBroker extends Aedes {
  declare readonly clients: Readonly<Record<string, AedesClient>>
  declare counter: number
  declare readonly mq: { emit(packet: RoutedPacket | InboundPublish, done?: () => void): void }
  declare deleteClient: (clientId: string) => void
  /** Rises with every message that is handed to subscribers. */
  emission = 0
  /** Rises with every subscription that a message is handed to. */
  calls = 0
  /** The last message that a live session was subscribed to, by its emission. */
  taken = 0
  readonly #order: OrderedQueue
  /** The client whose function Aedes has read just now. */
  #subscribing: { readonly client: AedesClient<unknown>; readonly once: Deliver } | undefined
  /** The functions that Aedes made, each with the one that is called in its place. */
  readonly #inPlaceOf = new WeakMap<object, Deliver>()
  readonly #options: OrderedBrokerOptions
  #current: RoutedPacket | undefined
  #asker: object | undefined
  /** Shows whether the session that asked has the answer that is being delivered. */
  isTold = false
  #frames: (PublishFrame | undefined)[] = []
  #frames5: (PublishFrame | undefined)[] = []
  /** Messages with RETAIN that wait, for the store or behind those that do. */
  readonly #retaining = new Set<RoutedPacket>()
  /** Their topics, gathered when somebody asks, until the messages are others: each message would pay for a list that is kept. */
  #retainingTopics: ReadonlySet<string> | undefined

  constructor(options: OrderedBrokerOptions) {
    super({ ...options, published: (_packet, _client, done) => done(null) })
    this.#options = options
    this.#order = new OrderedQueue(options.failed, options.pace)
  }

  /**
   * Has messages delivered to a session in these ways. Aedes would make a packet of its own for each subscription that
   * matches. It reads the client's function right before it subscribes with one of its own around it.
   */
  delivers(client: AedesClient<unknown>, delivering: Delivering): void {
    const get = (): Deliver => {
      this.#subscribing = { client, once: delivering.once }
      return delivering.as
    }
    for (const name of ['deliver0', 'deliverQoS']) Object.defineProperty(client, name, { get })
  }

  override subscribe(...[topic, deliver, done]: Parameters<Aedes['subscribe']>): void {
    const { client, once } = this.#subscribing ?? {}
    this.#subscribing = undefined
    const options = client?.subscriptions[topic as string]
    const isPlain = once !== undefined && options !== undefined && !options.nl && !options.rap
    if (isPlain) this.#inPlaceOf.set(deliver, once)
    super.subscribe(topic, this.#standingFor(deliver), done)
  }

  override unsubscribe(...[topic, deliver, done]: Parameters<Aedes['unsubscribe']>): void {
    const end = () => super.unsubscribe(topic, this.#standingFor(deliver), done)
    // Whoever waits for it subscribes anew behind it. Without a callback another one takes its place at once.
    if (done === undefined) end()
    else this.#options.filterTurns.run(this, end)
  }

  #standingFor(deliver: Parameters<Aedes['subscribe']>[1]): Parameters<Aedes['subscribe']>[1] {
    return (this.#inPlaceOf.get(deliver) ?? deliver) as Parameters<Aedes['subscribe']>[1]
  }

  /** Messages that wait for the store. */
  get waiting(): number {
    return this.#order.length
  }

  /**
   * Delivers in the order of calls; `done` when it was stored and handed to every live session, with whether
   * anybody was subscribed. At the bound messages no longer wait for the store: nothing is lost for who is
   * connected, and memory stays.
   */
  route(message: Route, done?: (matched: boolean) => void): void {
    const { topic, payload, qos, retain, from, properties, expiresAt } = message
    this.#options.tap(message)
    const packet: RoutedPacket = {
      cmd: 'publish',
      brokerId: this.id,
      brokerCounter: ++this.counter,
      topic,
      payload,
      qos,
      retain,
      // DUP belongs to one hop [MQTT-3.3.1-3].
      dup: false,
      ...(from === undefined ? undefined : { clientId: from }),
      ...(properties === undefined ? undefined : { properties }),
      ...(expiresAt === undefined ? undefined : { expiresAt }),
    }
    let stays = false
    const shares = this.#options.sharesOf(packet)
    const stored = this.#options.store(packet, shares)
    const waits = stored !== undefined || this.#order.length > 0
    const leave = waits ? this.#options.storeRoom.enter(from && ownerOf(from), topic, payload) : undefined
    let isOver = stored === undefined
    const over = () => {
      if (isOver) leave?.()
      isOver = true
    }
    const task = () => {
      over()
      if (retain) this.#retains(packet, false)
      this.#emit(packet, message, shares)
      done?.(stays || this.taken === this.emission)
    }
    if (stored === undefined) {
      if (retain && this.#order.length > 0) this.#retains(packet, true)
      this.#order.run(task)
      return
    }
    if (retain) this.#retains(packet, true)
    const ticket = this.#order.hold(task)
    ticket.since = this.#options.clock.monotonicMs()
    void stored.then((kept) => {
      stays = kept
      over()
      this.#order.release(ticket)
    })
    if (this.#order.length <= this.#options.maxRouteQueue) return
    // They were released before, and wait for their turns alone.
    if (this.#order.head?.ready === true) this.#order.release(ticket)
    else this.releaseWaiting()
  }

  #retains(packet: RoutedPacket, waits: boolean): void {
    if (waits) this.#retaining.add(packet)
    else if (!this.#retaining.delete(packet)) return
    this.#retainingTopics = undefined
  }

  /** Runs `task` after the delivery of every message that was routed before. */
  inOrder(task: () => void): void {
    this.#order.run(task)
  }

  /** The same; resolves when `task` has run. */
  whenInOrder(task: () => void): Promise<void> {
    return new Promise((resolve) =>
      this.inOrder(() => {
        task()
        resolve()
      }),
    )
  }

  releaseWaiting(): void {
    if (this.#order.length === 0) return
    this.#options.overdue(this.#order.length)
    this.#order.releaseAll()
  }

  /** Delivers all that waits, now: this is the end. */
  deliverWaiting(): void {
    const { head, length } = this.#order
    if (head === undefined) return
    if (!head.ready) this.#options.overdue(length)
    this.#order.runAll()
  }

  /** Returns whether a message with RETAIN waits, which the store may have already and subscribers are sent next. */
  isRetaining(topic: string): boolean {
    if (this.#retaining.size === 0) return false
    this.#retainingTopics ??= new Set([...this.#retaining].map((packet) => packet.topic))
    return this.#retainingTopics.has(topic)
  }

  /** Takes a client out of Aedes' table, when the table still means this one. */
  drop(client: AedesClient): void {
    if (client.id !== null && this.clients[client.id] === client) this.deleteClient(client.id)
  }

  /** Returns whether the message that waits first has waited for the store longer than usual. */
  isSlow(ms: number): boolean {
    const since = this.#order.head?.since
    return since !== undefined && this.#options.clock.monotonicMs() - since > ms
  }

  /** The packet that waits first; compare only. */
  get head(): unknown {
    return this.#order.head
  }

  /** The bytes of the message that is being delivered, shared by all who get it at this QoS. */
  frame(qos: Qos): PublishFrame | undefined {
    const packet = this.#current
    if (packet === undefined) return undefined
    this.#frames[qos] ??= new PublishFrame(packet.topic, packet.payload, qos, false)
    return this.#frames[qos]
  }

  /** The same for those who speak MQTT 5 and get it without anything of their own. */
  frame5(qos: Qos, retain: boolean): PublishFrame | undefined {
    const packet = this.#current
    if (packet === undefined || packet.expiresAt !== undefined) return undefined
    const index = retain ? qos + 3 : qos
    this.#frames5[index] ??= frame5(packet, qos, retain)
    return this.#frames5[index]
  }

  /** The session that asked for the answer that is being delivered; undefined for any other message. */
  get asker(): object | undefined {
    return this.#asker
  }

  /** The message that is being delivered, as it was routed. */
  get current(): RoutedPacket | undefined {
    return this.#current
  }

  /** Is called by Aedes' own handlers. A message that `authorizePublish` has dealt with ends here. */
  override publish(
    published: Parameters<Aedes['publish']>[0],
    clientOrDone?: unknown,
    callback?: Parameters<Aedes['publish']>[1],
  ): void {
    const packet = published as unknown as InboundPublish
    const hasClient = typeof clientOrDone === 'object' && clientOrDone !== null
    const client = hasClient ? (clientOrDone as AedesClient) : undefined
    const then = (typeof clientOrDone === 'function' ? clientOrDone : callback) as Callback | undefined
    const done = () => {
      then?.()
      if (packet.qos === 2 && client !== undefined) this.#options.published(client, packet)
    }
    if (packet.consumed === true) {
      done()
    } else if (packet.topic.startsWith('$SYS/')) {
      // Nobody may subscribe to these. Aedes itself needs one: without it it would take its own live clients'
      // wills for those of a broker that died.
      if (packet.topic.endsWith(HEARTBEAT)) this.mq.emit(packet)
      done()
    } else {
      const { topic, payload, qos, retain } = packet
      this.route({ topic, payload, qos, retain, from: client?.id ?? undefined }, () => done())
    }
  }

  #emit(packet: RoutedPacket, { asker, told, reached }: Route, shares: readonly Share[] | undefined): void {
    const before = this.calls
    this.emission++
    this.#current = packet
    this.#asker = asker
    this.isTold = told === true
    try {
      this.mq.emit(packet)
      if (shares !== undefined) for (const share of shares) this.#options.deliverShare(share)
    } finally {
      this.#current = undefined
      this.#asker = undefined
      this.isTold = false
      this.#frames = []
      this.#frames5 = []
      const subscriptions = this.calls - before
      this.#options.delivered(subscriptions)
      reached?.(subscriptions)
    }
  }
}
