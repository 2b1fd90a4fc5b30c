/**
 * What MQTT itself must keep over a restart: persistent sessions, their subscriptions and queued messages,
 * QoS 2 handshakes, and retained messages that are not the bridge's own view. Plain rows; the broker adapter
 * gives them MQTT's meaning, the store keeps them. Every write resolves after it is on disk, unless its
 * comment says otherwise; writes of one turn of the event loop share one commit.
 */

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

export interface StoredSubscription {
  readonly clientId: string
  readonly filter: string
  readonly qos: 0 | 1 | 2
  /** MQTT 5 options (rh, rap, nl, identifier) as JSON, or null. */
  readonly extra: string | null
}

export interface MqttStore {
  /** Read once at the start into the adapter's trie. */
  loadSubscriptions(): Promise<readonly StoredSubscription[]>
  putSubscriptions(rows: readonly StoredSubscription[]): Promise<void>
  deleteSubscriptions(clientId: string, filters: readonly string[]): Promise<void>

  /** Which identity (`candidate`, node or principal name) a stored session belongs to; null: none stored. */
  sessionOwner(clientId: string): Promise<string | null>
  putSession(clientId: string, owner: string, at: number): Promise<void>
  /** Session, subscriptions, queue and handshakes. */
  deleteSession(clientId: string): Promise<void>
  sessionsOf(owner: string): Promise<readonly string[]>
  /** Sessions that nobody used since `before`. */
  sessionsIdleSince(before: number): Promise<readonly string[]>

  enqueue(clientIds: readonly string[], message: Omit<QueuedMessage, 'sequence'>): Promise<void>
  /** A page of a session's queue in order, after `sequence`. */
  queued(clientId: string, afterSequence: number, limit: number): Promise<readonly QueuedMessage[]>
  countQueued(clientId: string): Promise<number>
  updateQueued(
    clientId: string,
    sequence: number,
    change: { messageId?: number; stage?: 'pubrel' },
  ): Promise<void>
  deleteQueued(clientId: string, sequence: number): Promise<void>

  putIncoming(clientId: string, messageId: number, message: StoredMessage): Promise<void>
  incoming(clientId: string, messageId: number): Promise<StoredMessage | null>
  deleteIncoming(clientId: string, messageId: number): Promise<boolean>
  deleteAllIncoming(clientId: string): Promise<void>

  putRetained(message: StoredMessage): Promise<void>
  deleteRetained(topic: string): Promise<void>
  /** Every retained message below a prefix (which ends with a slash). */
  deleteRetainedBelow(prefix: string): Promise<readonly string[]>
  retained(topic: string): Promise<StoredMessage | null>
  /** A page in order of topic, after a topic, of those that start with `prefix` (an index range, no scan). */
  retainedBelow(prefix: string, afterTopic: string, limit: number): Promise<readonly StoredMessage[]>
  countRetained(): Promise<number>
}
