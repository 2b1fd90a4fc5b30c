/**
 * Keeps what MQTT itself needs over a restart: persistent sessions, their subscriptions and queued messages,
 * QoS 2 handshakes, and retained messages that are not the bridge's own view. Plain rows; the broker adapter
 * gives them MQTT's meaning, the store keeps them.
 *
 * Writes of one turn of the event loop share one commit, and take effect in the order of the calls. A write
 * resolves after it is on disk; one that is asked for `soon` may wait some 100 ms for a commit to share, and is
 * meant for what a crash may undo. Reads see every write that was asked for before, unless their comment says
 * otherwise. A write that cannot be stored rejects with Refusal `storage_unavailable`.
 */

/** `now`: somebody waits for the commit. `soon`: the next commit is early enough. */
export type Urgency = 'now' | 'soon'

export interface StoredMessage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  /** Everything else of the packet that must come back as it was (MQTT 5 properties and such), as JSON. */
  readonly extra: string | null
}

export interface QueuedMessage extends StoredMessage {
  /** Order in the queue: rising, unique over restarts. */
  readonly sequence: number
  readonly brokerId: string
  readonly brokerCounter: number
  readonly messageId: number | null
  /** `pubrel` once the receiver has acknowledged a QoS 2 message with PUBREC. */
  readonly stage: 'publish' | 'pubrel'
}

/** The part of a message that the queues of several sessions have in common. */
export type QueueMessage = Pick<QueuedMessage, 'topic' | 'payload' | 'extra' | 'brokerId' | 'brokerCounter'>

/** One session's copy: QoS and retain flag are those of its subscription. */
export interface QueueTarget {
  readonly clientId: string
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
}

export interface QueueSize {
  readonly clientId: string
  readonly messages: number
  /** The bytes of topics and payloads. */
  readonly bytes: number
  /** The highest sequence. */
  readonly newest: number
  /** The highest `brokerCounter`: a broker that starts again counts on from there. */
  readonly newestCounter: number
}

/** Says how long a session outlives its connection. */
export interface SessionTerms {
  /** The seconds; null: as long as the configuration says. */
  readonly expirySeconds: number | null
  /** The time at which its connection ended, wall time; null while it is connected. */
  readonly leftAt: number | null
}

/** A will that is sent `delaySeconds` after its connection has ended. */
export interface StoredWill extends StoredMessage {
  readonly clientId: string
  readonly delaySeconds: number
  /** The time at which it must be sent, wall time; null while its client is connected. */
  readonly dueAt: number | null
}

export interface StoredSession extends SessionTerms {
  /** Unique: the broker's name for identity and client id together. */
  readonly clientId: string
  /** The identity that it belongs to: a node's or principal's name, or the broker's word for others. */
  readonly owner: string
  /** The time at which it was used last, in milliseconds since 1970. */
  readonly usedAt: number
}

/** The bounds of what is loaded of one owner at a start. */
export interface SessionBounds {
  readonly sessions: number
  /** Subscriptions of all its sessions together. */
  readonly subscriptions: number
}

export interface StoredSubscription {
  readonly clientId: string
  readonly filter: string
  readonly qos: 0 | 1 | 2
  /** MQTT 5 options (rh, rap, nl, identifier) as JSON, or null. */
  readonly extra: string | null
}

export interface RetainedLimits {
  /** Retained messages in all. */
  readonly total: number
  /** The bytes of their topics and payloads. */
  readonly totalBytes: number
  /** The bound: at most `max` of them, of `maxBytes`, below `prefix`, which ends with a slash. */
  readonly below: { readonly prefix: string; readonly max: number; readonly maxBytes: number } | undefined
}

/** Says what became of a retained message; for every outcome but `stored` nothing is retained on its topic. */
export type RetainedOutcome =
  | 'stored'
  | 'too_many'
  | 'too_many_below'
  | 'too_many_bytes'
  | 'too_many_bytes_below'
  | 'no_room'

export interface MqttStore {
  /** Read once at the start into the adapter's trie. */
  loadSubscriptions(): Promise<readonly StoredSubscription[]>
  /** The oldest use first. Read once at the start. */
  loadSessions(): Promise<readonly StoredSession[]>
  /** The queues that are not empty. Read once at the start. */
  queueSizes(): Promise<readonly QueueSize[]>

  putSubscriptions(rows: readonly StoredSubscription[]): Promise<void>
  deleteSubscriptions(clientId: string, filters: readonly string[]): Promise<void>

  /** `now` when the urgency is left out; as long as the configuration says without terms. */
  putSession(
    clientId: string,
    owner: string,
    at: number,
    urgency?: Urgency,
    terms?: SessionTerms,
  ): Promise<void>
  /** The session, its subscriptions, queue and handshakes of each of these. */
  deleteSessions(clientIds: readonly string[]): Promise<void>
  /**
   * Forgets the sessions that are more than one owner may have, the oldest use first, and those whose subscriptions are
   * more than an owner may have, without reading them into memory. Resolves to how many. Called at the start, before
   * anything is loaded: the limits may have been larger before. Queues without a session go too: the bridge was killed
   * between a decision that ended their sessions and their deletion.
   */
  cutSessions(most: SessionBounds): Promise<number>
  /** Sessions that nobody used since `before`. */
  sessionsIdleSince(before: number): Promise<readonly string[]>

  /** Read once at the start. A session that is deleted takes its will along. */
  loadWills(): Promise<readonly StoredWill[]>
  putWill(will: StoredWill): Promise<void>
  deleteWill(clientId: string): Promise<void>

  /** The sequences, in the order of `targets`. */
  enqueue(targets: readonly QueueTarget[], message: QueueMessage): Promise<readonly number[]>
  /** A page of a session's queue in order, after `sequence`. */
  queued(clientId: string, afterSequence: number, limit: number): Promise<readonly QueuedMessage[]>
  /** One message of a queue, read without waiting for writes that are under way. */
  queuedOne(clientId: string, sequence: number): Promise<QueuedMessage | null>
  updateQueued(
    clientId: string,
    sequence: number,
    change: { messageId?: number; stage?: 'pubrel' },
    urgency: Urgency,
  ): Promise<void>
  /** `soon`: a crash only sends the message again. */
  deleteQueued(clientId: string, sequence: number): Promise<void>

  putIncoming(clientId: string, messageId: number, message: StoredMessage): Promise<void>
  incoming(clientId: string, messageId: number): Promise<StoredMessage | null>
  countIncoming(clientId: string): Promise<number>
  deleteIncoming(clientId: string, messageId: number): Promise<boolean>
  deleteAllIncoming(clientId: string): Promise<void>

  /**
   * Deletes those of the next `limit` retained topics after `after` whose time is up (`expiresAt` of their extras).
   * Resolves to the last of these topics, or undefined when they were the last of all.
   */
  deleteExpiredRetained(after: string, limit: number, now: number): Promise<string | undefined>
  /**
   * Replacing a message by one of its size is always possible; a new topic, or more bytes, only within the limits. What
   * was retained on the topic goes when its successor is not kept: it is out of date.
   */
  putRetained(
    message: Omit<StoredMessage, 'retain'>,
    limits: RetainedLimits,
    urgency: Urgency,
  ): Promise<RetainedOutcome>
  deleteRetained(topic: string, urgency: Urgency): Promise<void>
  /** Every retained message below a prefix (which ends with a slash). */
  deleteRetainedBelow(prefix: string): Promise<readonly string[]>
  retained(topic: string): Promise<StoredMessage | null>
  /**
   * A page of topics in the order of their bytes, after a topic, of those that start with `prefix` (which ends
   * with a slash, or is empty): a range of an index, without the payloads.
   */
  retainedTopics(prefix: string, afterTopic: string, limit: number): Promise<readonly string[]>
  /** Returns whether the database takes so many bytes more of what it can do without. */
  hasRoom(bytes: number): boolean
}

/** The store of the wills that outlive the bridge. */
export type WillStore = Pick<MqttStore, 'loadWills' | 'putWill' | 'deleteWill' | 'hasRoom'>

/** Returns the bytes that a message is counted with: its topic, its payload, and what MQTT 5 says beside them, which may be 16 KiB. */
export function messageBytes({
  topic,
  payload,
  extra,
}: Pick<StoredMessage, 'topic' | 'payload' | 'extra'>): number {
  return Buffer.byteLength(topic) + payload.length + (extra === null ? 0 : Buffer.byteLength(extra))
}
