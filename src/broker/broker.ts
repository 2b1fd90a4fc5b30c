import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { SecureContextOptions } from 'node:tls'
import { writeToStream } from 'mqtt-packet'
import type {
  Feed,
  Inbound,
  Log,
  PublishedMessage,
  Publisher,
  RetainedView,
  Sessions,
} from '../bridge/ports.ts'
import type { Clock } from '../kernel/clock.ts'
import { Counts } from '../kernel/counts.ts'
import { HandshakeTurns } from '../kernel/handshake-turns.ts'
import { LogThrottle } from '../kernel/log-throttle.ts'
import type { Network } from '../kernel/networks.ts'
import { clientAddressOf, ProxyDoor } from '../kernel/proxy-door.ts'
import { Semaphore, within } from '../kernel/semaphore.ts'
import { TurnTime } from '../kernel/turn-time.ts'
import type { Topics } from '../protocol/topics.ts'
import { followEvents, sessionOf, setHooks } from './aedes-events.ts'
import type { AedesClient, BrokerPersistence, Persistence } from './aedes-internals.ts'
import { ConnectHandler } from './connect-handler.ts'
import type { ConnectionPeer } from './connection.ts'
import { Connections } from './connections.ts'
import { type BrokerCounters, newCounters } from './counters.ts'
import { DeliveryPace } from './delivery-pace.ts'
import { FilterTurns } from './filter-turns.ts'
import { GuardedPersistence } from './guarded-persistence.ts'
import { handshakeWords } from './handshake-words.ts'
import { InboundPath } from './inbound-path.ts'
import { type BrokerLimits, type ConfiguredLimits, FIXED_LIMITS, type FixedLimits } from './limits.ts'
import { Lingering } from './lingering.ts'
import { type Accept, type Listener, listenInherited, listenTcp, listenUnix } from './listeners.ts'
import { DelayedWills } from './mqtt5/delayed-wills.ts'
import { OrderedBroker } from './ordered-broker.ts'
import { PacketRoom } from './packet-room.ts'
import { PeerLog } from './peer-log.ts'
import { createFeed, createPublisher, createSessions } from './port-adapters.ts'
import { ReadTurns } from './read-turns.ts'
import { resend } from './resend.ts'
import { sendRetained } from './retained-for.ts'
import { type Grant, Rights } from './rights.ts'
import type { SessionContext } from './session-context.ts'
import { SharedSubscriptions } from './shared-subscriptions.ts'
import { StoreRoom } from './store-room.ts'
import { HandshakeStranger } from './stranger-watch.ts'
import { Strangers } from './strangers.ts'
import { type TlsSettings, tlsHandshakes } from './tls-listener.ts'
import { TurnWrites } from './turn-writes.ts'
import { Unacknowledged } from './unacknowledged.ts'
import { UnsentBytes } from './unsent-bytes.ts'

export interface BrokerOptions {
  readonly topics: Topics
  /** Called from the first connection on. */
  readonly inbound: Inbound
  /** Stays open when the broker stops. */
  readonly persistence: BrokerPersistence
  readonly view: RetainedView
  readonly clock: Clock
  readonly log: Log
  readonly limits: ConfiguredLimits & Partial<FixedLimits>
  readonly grants?: readonly Grant[] | undefined
  /** Returns the number of approved limbs, by which principals may have more subscriptions. */
  readonly limbs?: () => number
}

export interface Broker {
  readonly publisher: Publisher
  readonly sessions: Sessions
  readonly feed: Feed
  readonly counters: BrokerCounters
  /** Memory of all connections that have shown no secret. */
  readonly strangerBytes: number
  /** Bytes of packets of limbs and principals that are not whole. */
  readonly partialBytes: number
  /** Bytes that sessions were sent and have not taken. */
  readonly unsentBytes: number
  /** Messages whose delivery waits for the store. */
  readonly waiting: number
  /** Bytes of messages that wait for the store, or for their delivery behind it. */
  readonly waitingBytes: number
  /**
   * `proxies`: the addresses whose connections begin with a header of the PROXY protocol. Rejects with a text that says
   * what to do.
   */
  listenTcp(host: string, port: number, proxies?: readonly Network[]): Promise<Listener>
  /** MQTT over TLS, on an inherited socket in place of host and port if there is one. Rejects with a text that says what to do. */
  listenTls(host: string, port: number, tls: TlsSettings, inheritedFd?: number): Promise<TlsListener>
  /** The control socket: who may write to it is admin. */
  listenUnix(path: string, mode: number): Promise<Listener>
  /** Listens on a socket that the service manager opened; `local`: a control socket. */
  listenInherited(fd: number, local: boolean, proxies?: readonly Network[]): Promise<Listener>
  /** Takes over a connection of another listener. Never throws. */
  attach(stream: Duplex, peer: ConnectionPeer): void
  /** Lets nobody in any more; who is connected stays. */
  closeListeners(): Promise<void>
  /** Listeners first, then what is under way, then the sessions. Bounded by some three seconds. */
  stop(): Promise<void>
  /** Holds from now on, for the sessions that are there too; a connection keeps what it was counted with. */
  setLimits(limits: Partial<ConfiguredLimits>): void
  /** Holds from now on, for what is delivered to the sessions that are there too. */
  setGrants(grants: readonly Grant[]): void
  /** Resolves when what was published before this has been handed to its subscribers. */
  settled(): Promise<void>
}

export interface TlsListener {
  readonly host: string
  readonly port: number
  /** The certificate of handshakes from now on; sessions keep theirs. */
  setMaterial(material: SecureContextOptions): void
}

/** Fixed, so that what is queued under it is found again after a restart. */
const BROKER_ID = 'limb-bridge'
/** Aedes' housekeeping has nothing to do here; four times this must fit a timer (2^31 - 1 ms). */
const HEARTBEAT_INTERVAL_MS = 86_400_000
/** Shares of a stop, whose whole must stay well below the five seconds of the service. */
const ROUTE_MS = 500
const DRAIN_MS = 1000
const CLOSE_MS = 250
/** The time of a turn of the event loop in which sessions are sent what is retained, and what was queued. */
const SENDING_MS = 5
/** `local:`, a name and a space. */
const MAX_KEY_PREFIX_CHARS = 128
/** Retained messages that are read at once, for sessions that asked for them. */
const RETAINED_READS = 4
/** Its own ceiling: its tries are walked recursively. */
const AEDES_TOPIC_LEVELS = 100

/** A store that fails, fails for each message. */
const STORE_TROUBLE = { quietMs: 10_000, lines: 1, maxKeys: 1, maxLines: 1 } as const

/** The embedded broker: all of Aedes is behind this function. */
export async function createBroker(options: BrokerOptions): Promise<Broker> {
  // Else the first packet that Aedes writes makes 65,536 Buffers, one for each number: 7 MB, in a turn of 0.1 s.
  writeToStream.cacheNumbers = false
  const limits = { ...FIXED_LIMITS, ...options.limits }
  const counters = newCounters()
  const { topics, inbound, view, clock, log } = options
  const rights = new Rights(topics, options.grants ?? [], (topic) => view.owns(topic))
  const storeTrouble = new LogThrottle(clock, STORE_TROUBLE)
  const storeSlow = new LogThrottle(clock, STORE_TROUBLE)

  const filterTurns = new FilterTurns(clock)
  const persistence = new GuardedPersistence({
    store: options.persistence,
    view,
    rights,
    filterTurns,
    keepShares: (shares) => shared.keep(shares),
    connecting: (clientId) => connects.holder(clientId),
    failed: (doing, error) => {
      counters.unstored++
      storeTrouble.write('', (suppressed) =>
        log.warn({ err: error, count: suppressed + 1 }, `the store failed to ${doing}; live messages go on`),
      )
    },
  })
  const { steady } = options.persistence.running
  const { feed, tap } = createFeed(options.persistence, steady)
  const shared = new SharedSubscriptions({
    persistence: options.persistence,
    rights,
    number: () => ++broker.counter,
    isLive: (clientId) => broker.clients[clientId] !== undefined,
    failed: (error) => log.warn({ err: error }, 'a message of a shared subscription could not be kept'),
  })
  const reading = new ReadTurns(clock)
  const storeRoom = new StoreRoom({
    maxBytes: () => limits.maxRouteBytes,
    full: (bytes) =>
      storeSlow.write('', (suppressed) =>
        log.warn(
          { bytes, maxBytes: limits.maxRouteBytes, suppressed },
          'the store is too slow for the messages that it is sent: who sends them is read later',
        ),
      ),
  })
  const broker: OrderedBroker = createOrdered({
    persistence,
    shared,
    limits,
    reading,
    filterTurns,
    storeRoom,
    clock,
    log,
    tap,
    published: (client, packet) => path.finished(sessionOf(client), packet.messageId),
  })
  const wills = new DelayedWills({
    store: options.persistence.wills,
    clock,
    running: options.persistence.running,
    log,
    send: (message) => broker.route(message),
  })
  // A will lives no longer than its session, and is nobody's when who wrote it is no more.
  const { sessions } = options.persistence
  const left = new Unacknowledged((clientId) => sessions.missed(clientId))
  sessions.onForgotten = (key, isGone) => {
    left.forget(key)
    if (isGone) wills.cancel(key)
    else wills.sessionEnds(key)
  }
  const strangers = new Strangers({
    clock,
    maxBytes: () => limits.maxStrangerBytes,
    spent: (bytes) =>
      log.warn(
        { bytes, maxBytes: limits.maxStrangerBytes },
        'connections that have shown no key or password hold too much memory together: the oldest of them are ended; the limit is mqtt.maxStrangerBytes',
      ),
  })
  const context: SessionContext = {
    broker,
    inbound,
    persistence: persistence as unknown as Persistence,
    rights,
    topics,
    limits,
    counters,
    subscriptionCounts: new Counts(),
    limbs: options.limbs,
    stored: options.persistence.sessions,
    clock,
    log,
    peerLog: new PeerLog(clock, log),
    wills,
    steady,
    shared,
    publish: (session, message, acknowledge) => path.receive(session, message, acknowledge),
    unread: (session, topic, message) => path.unread(session, topic, message),
    strangers,
    lingering: new Lingering({ clock, strangers }),
    reading,
    filterTurns,
    storeRoom,
    writes: newWrites(clock, reading),
    room: new PacketRoom({
      clock,
      maxBytesPerIdentity: () => limits.maxPartialBytesPerIdentity,
      maxBytes: () => limits.maxPartialBytes,
      wholeMs: limits.wholePacketMs,
    }),
    readingRetained: new Semaphore(RETAINED_READS, Number.POSITIVE_INFINITY),
    unsent: new UnsentBytes({
      maxBytesPerIdentity: () => limits.maxUnsentBytesPerIdentity,
      maxBytes: () => limits.maxUnsentBytes,
    }),
    sending: new TurnTime(clock, SENDING_MS),
  }
  const connects = new ConnectHandler(context, options.persistence.sessions)
  const path = new InboundPath(context)
  setHooks(broker, connects, path)
  await broker.listen()
  // A message must not be numbered like one that waits in a stored queue.
  broker.counter = options.persistence.lastCounter
  await wills.load()
  followEvents(broker, {
    ...options,
    counters,
    sending: context.sending,
    left,
    resend: (session, messages) => resend(session, persistence.queueOf(session.client), messages, context),
    sendRetained: (session, filters) => sendRetained(session, filters, persistence),
  })

  const connections = new Connections(context)
  const turnsOfHandshakes = new HandshakeTurns({ clock, helloMs: () => limits.connectSeconds * 1000 })
  const listeners: Listener[] = []
  const listening = async (listener: Promise<Listener>) => {
    const open = await listener
    listeners.push(open)
    return open
  }

  /** Opens a listener whose connections come through a door for proxies, which closes with it. */
  async function behind(
    networks: readonly Network[] = [],
    section: 'mqtt' | 'tls',
    listen: (door: ProxyDoor) => Promise<Listener>,
  ): Promise<Listener> {
    const door = new ProxyDoor({
      networks,
      clock,
      refused(address, fault) {
        counters.refused.proxy_header++
        const message = `the proxy ${address} (${section}.proxyNetworks) ${fault}: connection closed`
        context.peerLog.warn('proxy_header', address, {}, message)
      },
    })
    const listener = await listen(door)
    const close = async () => {
      door.close()
      await listener.close()
    }
    return listening(Promise.resolve({ ...listener, close }))
  }

  function plainDoor(door: ProxyDoor): Accept {
    return (socket) => door.enter(socket, () => connections.attach(socket, peerOf(socket, 'tcp')))
  }

  async function closeListeners(): Promise<void> {
    connections.refuse()
    await Promise.all(listeners.splice(0).map((listener) => listener.close()))
  }

  async function stop(): Promise<void> {
    context.peerLog.stop()
    wills.stop()
    await closeListeners()
    // What is published already reaches those who are connected.
    await within(clock, ROUTE_MS, new Promise<void>((resolve) => broker.inOrder(resolve)))
    broker.deliverWaiting()
    await within(clock, DRAIN_MS, connections.drained())
    await connections.endAll()
    const closed = new Promise<void>((resolve) => broker.close(resolve))
    await within(clock, CLOSE_MS, Promise.all([closed, context.lingering.over()]))
    context.lingering.end()
    await within(clock, CLOSE_MS, context.lingering.over())
  }

  return {
    publisher: createPublisher(context, options.persistence, feed),
    sessions: createSessions(options.persistence, connects.holders),
    feed,
    counters,
    get unsentBytes() {
      return context.unsent.bytes
    },
    get partialBytes() {
      return context.room.bytes
    },
    get strangerBytes() {
      return context.strangers.bytes
    },
    get waitingBytes() {
      return storeRoom.bytes
    },
    get waiting() {
      return broker.waiting
    },
    listenTcp: (host, port, proxies) =>
      behind(proxies, 'mqtt', (door) => listenTcp(host, port, 'mqtt', plainDoor(door))),
    listenTls: async (host, port, tls, inheritedFd) => {
      const handshakes = tlsHandshakes(tls, turnsOfHandshakes, {
        secured: (socket, certificateName) =>
          connections.open(socket, { ...peerOf(socket, 'tls'), certificateName }),
        failed: (address, reason, name) => {
          counters.refused.tls++
          const words = handshakeWords(reason)
          context.peerLog.info(
            'tls',
            address,
            { reason, name },
            `TLS handshake with ${address} failed: ${words}`,
          )
          inbound.handshakeFailed?.(address, words, name)
        },
      })
      const begin = (socket: Socket) => {
        if (!connections.enter(socket, peerOf(socket, 'tls'))) return
        const stranger = new HandshakeStranger(context, socket)
        handshakes.begin(socket, () => stranger.end())
      }
      const listener = await behind(tls.proxyNetworks, 'tls', async (door) => {
        const accept = (socket: Socket) => door.enter(socket, () => begin(socket))
        const open = await (inheritedFd === undefined
          ? listenTcp(host, port, 'tls', accept)
          : listenInherited(inheritedFd, accept))
        const close = async () => {
          await open.close()
          handshakes.close()
        }
        return { ...open, close }
      })
      return { host: listener.host, port: listener.port, setMaterial: handshakes.setMaterial }
    },
    listenUnix: (file, mode) =>
      listening(listenUnix(file, mode, (socket) => connections.attach(socket, LOCAL_PEER))),
    listenInherited: (fd, local, proxies) =>
      local
        ? listening(listenInherited(fd, (socket) => connections.attach(socket, LOCAL_PEER)))
        : behind(proxies, 'mqtt', (door) => listenInherited(fd, plainDoor(door))),
    attach: (stream, peer) => connections.attach(stream, peer),
    setLimits(changed) {
      Object.assign(limits, changed)
      // These two Aedes reads from itself.
      Object.assign(broker, {
        connectTimeout: limits.connectSeconds * 1000,
        maxInflightInbound: limits.maxInflightPerSession,
      })
    },
    setGrants: (grants) => rights.setGrants(grants),
    settled: () => new Promise((resolve) => broker.inOrder(resolve)),
    closeListeners,
    stop,
  }
}

const LOCAL_PEER: ConnectionPeer = { address: 'local', local: true, transport: 'unix' }

function peerOf(socket: Socket, transport: 'tcp' | 'tls'): ConnectionPeer {
  return { address: clientAddressOf(socket), local: false, transport }
}

/** The parts by which messages are ordered, stored and delivered. */
interface OrderedParts {
  readonly persistence: GuardedPersistence
  readonly shared: SharedSubscriptions
  readonly limits: BrokerLimits
  readonly reading: ReadTurns
  readonly filterTurns: FilterTurns
  readonly storeRoom: StoreRoom
  readonly clock: Clock
  readonly log: Log
  readonly tap: (message: PublishedMessage) => void
  readonly published: (client: AedesClient, packet: { readonly messageId?: number }) => void
}

function createOrdered(parts: OrderedParts): OrderedBroker {
  const { persistence, shared, limits, reading, filterTurns, storeRoom, clock, log, tap, published } = parts
  const deliveryPace = new DeliveryPace(clock, reading)
  const broker: OrderedBroker = new OrderedBroker({
    id: BROKER_ID,
    persistence,
    // With a queue inside mqemitter one stuck reader stalls all, and its drain overflows the stack.
    concurrency: 0,
    heartbeatInterval: HEARTBEAT_INTERVAL_MS,
    connectTimeout: limits.connectSeconds * 1000,
    drainTimeout: limits.drainTimeoutMs,
    maxInflightInbound: limits.maxInflightPerSession,
    // Their keys: a name stands in front of the client id, whose own length the CONNECT handler looks at.
    maxClientsIdLength: limits.maxClientIdChars + MAX_KEY_PREFIX_CHARS,
    // Ours are denied softly; Aedes would close the connection, and ordinary clients would send it again for ever.
    maxTopicLevels: AEDES_TOPIC_LEVELS,
    keepaliveLimit: 0,
    authenticate: (_client, _username, _password, done) => done(null, true),
    sharesOf: (packet) => shared.sharesOf(packet),
    deliverShare: (share) => shared.deliver(share),
    store: (packet, shares) => {
      const stored = persistence.keep(packet, shares)
      if (stored !== undefined) watchHead()
      return stored
    },
    maxRouteQueue: limits.maxRouteQueue,
    clock,
    filterTurns,
    storeRoom,
    pace: deliveryPace,
    delivered: (subscriptions) => {
      reading.handed(subscriptions)
      deliveryPace.add(subscriptions)
    },
    tap,
    overdue: (count) =>
      log.warn({ count }, 'the store is too slow; messages are delivered before they are stored'),
    failed: (error) => log.error({ err: error }, 'a message could not be delivered'),
    published,
  })
  const watchHead = stuckWatch(broker, clock, limits.storeTimeoutMs)
  return broker
}

/** The writes of all sessions; nothing is read while they are behind. */
function newWrites(clock: Clock, reading: ReadTurns): TurnWrites {
  const writes: TurnWrites = new TurnWrites(clock, (isBehind) => reading.setBehind(writes, isBehind))
  return writes
}

/** A store that never answers must not hold up delivery: what waits too long at the head goes on, with all behind it. */
function stuckWatch(broker: OrderedBroker, clock: Clock, timeoutMs: number): () => void {
  let watching = false
  const look = () => {
    const { head } = broker
    if (head === undefined) {
      watching = false
      return
    }
    clock.after(timeoutMs, () => {
      if (broker.head === head) broker.releaseWaiting()
      look()
    })
  }
  return () => {
    if (watching) return
    watching = true
    // The message itself takes its place after this call.
    queueMicrotask(look)
  }
}
