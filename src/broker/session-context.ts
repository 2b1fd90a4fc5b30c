import type { Inbound, UnreadMessage } from '../bridge/ports.ts'
import type { Counts } from '../kernel/counts.ts'
import type { Semaphore } from '../kernel/semaphore.ts'
import type { SteadyClock } from '../kernel/steady-clock.ts'
import type { TurnTime } from '../kernel/turn-time.ts'
import type { Topics } from '../protocol/topics.ts'
import type { BrokerPersistence, Persistence } from './aedes-internals.ts'
import type { Connection, ConnectionContext } from './connection.ts'
import type { FilterTurns } from './filter-turns.ts'
import type { BrokerLimits } from './limits.ts'
import type { Lingering } from './lingering.ts'
import type { DelayedWills } from './mqtt5/delayed-wills.ts'
import type { OrderedBroker } from './ordered-broker.ts'
import type { PacketRoom } from './packet-room.ts'
import type { ReadTurns } from './read-turns.ts'
import type { Outcome, Received } from './received.ts'
import type { Rights } from './rights.ts'
import type { SharedSubscriptions } from './shared-subscriptions.ts'
import type { StoreRoom } from './store-room.ts'
import type { Strangers } from './strangers.ts'
import type { TurnWrites } from './turn-writes.ts'
import type { UnsentBytes } from './unsent-bytes.ts'

/** The parts that every session of a broker shares. */
export interface SessionContext extends ConnectionContext {
  readonly broker: OrderedBroker
  readonly inbound: Inbound
  readonly persistence: Persistence
  readonly rights: Rights
  readonly topics: Topics
  readonly limits: BrokerLimits
  readonly wills: DelayedWills
  /** The clock by which messages expire. */
  readonly steady: SteadyClock
  /** The number of approved limbs; undefined where nobody knows it. */
  readonly limbs: (() => number) | undefined
  /** Knows the sessions that are stored. */
  readonly stored: Pick<BrokerPersistence['sessions'], 'awaySubscriptions'>
  /** Counts the subscriptions of the live sessions of each principal, by their weights. */
  readonly subscriptionCounts: Counts
  /** Brings a message to its end; `acknowledge` is called in the order of the session's messages. */
  readonly publish: (session: Connection, message: Received, acknowledge: (outcome: Outcome) => void) => void
  /** A message was too large, and read over. */
  readonly unread: (session: Connection, topic: string, message: UnreadMessage) => void
  readonly strangers: Strangers
  readonly lingering: Lingering
  readonly shared: SharedSubscriptions
  readonly reading: ReadTurns
  readonly filterTurns: FilterTurns
  readonly storeRoom: StoreRoom
  readonly writes: TurnWrites
  /** Lets a few sessions at a time read what is retained: a payload may have a megabyte. */
  readonly readingRetained: Semaphore
  /** Counts what sessions were sent and have not taken. */
  readonly unsent: UnsentBytes
  /** Holds the large packets of limbs and principals that are not whole. */
  readonly room: PacketRoom
  /** The time in which all sessions are sent what is retained, and what was queued for them. */
  readonly sending: TurnTime
}
