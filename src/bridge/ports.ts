import type { HistoryRow, StatusChange } from '../domain/history.ts'
import type { InvocationRecord } from '../domain/invocations.ts'
import type {
  AuditEntry,
  NodeKeys,
  NodeRecord,
  PairingRequestRecord,
  PolicyRecord,
  PrincipalRecord,
  RefusedEntry,
  RefusedKey,
  RefusedWidening,
  TokenRecord,
  TokenUse,
} from '../domain/records.ts'
import type { WallMs } from '../kernel/clock.ts'
import type { Refusal } from '../kernel/errors.ts'
import type { AuditLog } from '../protocol/audit-kinds.ts'
import type { InvocationState, Role } from '../protocol/names.ts'
import type { Address } from '../protocol/topics.ts'

/**
 * These are the ports: what the use cases need of the world. Adapters of row 4 implement these; `app.ts` hands them
 * in.
 */

/** A page of a listing in the order of its key; `next` is the last key when there is more. */
export interface Page<T> {
  readonly items: readonly T[]
  readonly next: string | undefined
}

/**
 * Reads and writes inside one transaction. Asynchronous, so that a store across a network fits behind it; the
 * SQLite adapter answers in the same turn of the event loop.
 */
export interface Tx {
  node(nodeId: string): Promise<NodeRecord | null>
  /** Creates or replaces the node; keeps its keys. */
  putNode(node: NodeRecord): Promise<void>
  nodeKeys(nodeId: string): Promise<NodeKeys | null>
  putNodeKeys(nodeId: string, keys: NodeKeys): Promise<void>
  /** Removes the node, its keys, requests, refused widenings and policies (not the refused keys). */
  deleteNode(nodeId: string): Promise<void>

  request(requestId: string): Promise<PairingRequestRecord | null>
  requestsOfNode(nodeId: string): Promise<readonly PairingRequestRecord[]>
  putRequest(request: PairingRequestRecord): Promise<void>
  deleteRequest(requestId: string): Promise<void>
  /** Reads at once all that a claim is decided from: a store behind a network is asked once. */
  claimFacts(asked: ClaimAsked): Promise<ClaimFacts>
  /** Reads at once what hundreds of limbs that are made by hand are decided from. */
  nameFacts(names: readonly string[]): Promise<NameFacts>

  refusedKeys(nodeId: string, now: number): Promise<readonly RefusedKey[]>
  /** Bounded: the store keeps the newest `maxRefusedKeysPerNode` of a node. */
  putRefusedKey(refused: RefusedKey): Promise<void>
  refusedWidening(nodeId: string, now: number): Promise<RefusedWidening | null>
  putRefusedWidening(refused: RefusedWidening): Promise<void>
  /** Returns what is refused now of all limbs, in order of nodeId; pages like those of `principals`. */
  refused(now: number, after: string | undefined, limit: number): Promise<Page<RefusedEntry>>
  /** Lifts every refusal of a limb. How many. */
  forgive(nodeId: string): Promise<number>

  principal(name: string): Promise<PrincipalRecord | null>
  putPrincipal(principal: PrincipalRecord): Promise<void>
  /** Removes the principal, its policies, its tokens, its idempotency keys and the answers kept for them. */
  deletePrincipal(name: string): Promise<void>
  /**
   * Forgets the stored MQTT sessions of an identity that is no more, or is another device from now on: whoever has the
   * name next must find none, also when the bridge is killed right after this. Their queues may be left, as those of nobody,
   * to `deleteSessions`, which must follow, and to `cutSessions` of the next start.
   */
  forgetSessions(owner: string): Promise<void>
  principals(after: string | undefined, limit: number): Promise<Page<PrincipalRecord>>
  /** Counts no further than `max + 1`. */
  countAdmins(max: number): Promise<number>

  token(tokenId: string): Promise<TokenRecord | null>
  tokenByHash(hash: Uint8Array): Promise<TokenRecord | null>
  /** Returns the tokens of one principal, or of all (undefined), in the order in which they were made. */
  tokens(principal: string | undefined, after: string | undefined, limit: number): Promise<Page<TokenRecord>>
  /** Counts no further than `max + 1`. */
  countTokens(principal: string, max: number): Promise<number>
  putToken(token: TokenRecord): Promise<void>
  deleteToken(tokenId: string): Promise<void>

  putPolicy(policy: PolicyRecord): Promise<void>
  /** Deletes an entry, and resolves to whether there was one. */
  deletePolicy(principal: string, nodeId: string, capability: string): Promise<boolean>
  /** The entries with exactly this principal and node (`*` is itself) for the capability or `*`: at most two. */
  policiesAt(principal: string, nodeId: string, capability: string): Promise<readonly PolicyRecord[]>
  policies(filter: PolicyFilter, after: string | undefined, limit: number): Promise<Page<PolicyRecord>>

  audit(entry: AuditEntry): Promise<void>
  /** Appends the entries in their order, for less than each costs by itself. */
  auditAll(entries: readonly AuditEntry[]): Promise<void>
  /** Newest or oldest first. A page may be short, even empty, and still have a `next`: its cost is bounded. */
  auditRows(
    filter: AuditFilter,
    order: Order,
    after: string | undefined,
    limit: number,
  ): Promise<Page<AuditRow>>

  /** A number higher than every one before, also before the last restart. */
  nextFence(): Promise<number>
  invocation(invocationId: string): Promise<InvocationRecord | null>
  /** Returns the running time at which an invocation ended, or was begun; null when there is none. */
  invocationBornAt(invocationId: string): Promise<number | null>
  invocationByKey(principal: string, idempotencyKey: string): Promise<InvocationRecord | null>
  /** Creates or replaces the row. */
  putInvocation(record: InvocationRecord): Promise<void>
  /**
   * Stores what the caller was answered, as JSON text, within bounds; it is kept for invocations with an idempotency
   * key. Resolves with the number of answers that were given up: older ones, or this one when it finds no room.
   */
  putAnswer(invocationId: string, answer: string, bounds: AnswerBounds): Promise<number>
  answer(invocationId: string): Promise<string | null>
  /** Counts the rows of the principal that have an idempotency key, no further than `max + 1`. */
  countKeys(principal: string, max: number): Promise<number>
  /** Frees the principal's idempotency keys, and drops the answers kept for them. */
  forgetKeys(principal: string): Promise<void>
  /**
   * Drops some of the answers that are kept for the principal's keys, the oldest first; the keys stay known. Resolves to
   * whether there may be more.
   */
  dropAnswersOf(principal: string): Promise<boolean>
  /** Stores what an invocation that waits for its limb needs after a restart; it goes when the invocation is sent or ends. */
  putOfflineWait(wait: OfflineWait): Promise<void>
  /** Reads what was stored of some invocations, in any order; those that wait for no limb have nothing. */
  offlineWaits(invocationIds: readonly string[]): Promise<readonly OfflineWait[]>
  /** Invocations that have not ended; at most `limit`. */
  openInvocations(limit: number): Promise<readonly InvocationRecord[]>
  /** Pages like those of `auditRows`. */
  invocations(
    filter: InvocationFilter,
    order: Order,
    after: string | undefined,
    limit: number,
  ): Promise<Page<InvocationRecord>>
}

/** A claim, as the store is asked about it. */
export interface ClaimAsked {
  readonly nodeId: string
  /** The address whose requests are counted, an IPv6 network as one; undefined: none are. */
  readonly address: string | undefined
  /** The time on the running clock. */
  readonly now: number
  /** Counts go no further than these and one more. */
  readonly maxPending: number
  readonly maxPendingPerAddress: number
}

/** Holds what is stored about the name of a claim, and how many others wait. */
export interface ClaimFacts {
  readonly keys: NodeKeys | null
  readonly refusedKeys: readonly RefusedKey[]
  /** The requests for the same name, the oldest first. */
  readonly requests: readonly PairingRequestRecord[]
  readonly pending: number
  readonly pendingFrom: number
}

/** Holds who has some of the names that were asked about, and the pairing requests for them. */
export interface NameFacts {
  readonly nodes: ReadonlySet<string>
  readonly principals: ReadonlySet<string>
  /** The requests of each name that has any, the oldest first. */
  readonly requests: ReadonlyMap<string, readonly PairingRequestRecord[]>
}

/** The bytes of answers that are kept for idempotency keys. */
export interface AnswerBounds {
  readonly perPrincipal: number
  readonly total: number
}

/** An address, IPv6 by its /64, that a principal has signed in from. */
export interface KnownAddress {
  readonly name: string
  readonly address: string
  /** Wall time in milliseconds. */
  readonly usedAt: number
}

export type Order = 'newest' | 'oldest'

/** A row of the audit log as it is kept. */
export interface AuditRow extends AuditEntry {
  readonly seq: number
  /** The hash of the hash before it and the row. */
  readonly hash: Uint8Array
}

export interface AuditFilter {
  readonly actor?: string | undefined
  readonly nodeId?: string | undefined
  /** One kind; with a `.` at its end, all that begin with it. */
  readonly kind?: string | undefined
  readonly since?: number | undefined
  /** The time before which they were made. */
  readonly until?: number | undefined
}

export interface InvocationFilter {
  readonly principal?: string | undefined
  readonly nodeId?: string | undefined
  readonly state?: InvocationState | undefined
}

/** A row that somebody kept the hash of. */
export interface AuditPair {
  readonly seq: number
  readonly hash: Uint8Array
}

/** The newest row of one of the logs, and how many rows that log has. */
export interface AuditEnd {
  readonly log: AuditLog
  readonly seq: number
  readonly hash: Uint8Array
  readonly rows: number
}

export interface AuditVerdict {
  readonly whole: boolean
  /** The number of rows that were checked. */
  readonly rows: number
  /** The first number of what is there now; absent when nothing is. */
  readonly firstSeq?: number
  /** The number of the newest decision. */
  readonly lastSeq?: number
  readonly lastHash?: Uint8Array
  /** The newest row of each log that has any. */
  readonly ends: readonly Omit<AuditEnd, 'rows'>[]
  /** The fate of the pair that was asked about: its row is there, with this hash, or retention took it. */
  readonly known?: 'there' | 'pruned'
  /** The first row that is not what was written, or that is missing. */
  readonly brokenAt?: number
  /** The same as a sentence. */
  readonly problem?: string
}

/** Says what may be deleted. `…Before` are running times: no wall clock makes a row older. */
export interface Retention {
  /** The wall time now, for the row that the audit log has of it. */
  readonly at: number
  /** The running time now: refused keys and widenings whose time is up may go. */
  readonly running: number
  /** Ended invocations from before this. */
  readonly invocationsBefore: number
  readonly maxInvocations: number
  /** Idempotency keys, and the answers kept for them, of invocations from before this. */
  readonly keysBefore: number
  /** Decisions and activity of the audit log. */
  readonly auditBefore: number
  readonly maxAuditRows: number
  readonly maxActivityRows: number
  readonly attemptsBefore: number
  readonly maxAttemptRows: number
}

/** Tells what one step of pruning did. */
export interface Pruned {
  readonly rows: number
  /** Shows whether another step has something to do. */
  readonly more: boolean
}

/** An invocation that waits for its limb, as it is stored. */
export interface OfflineWait {
  readonly invocationId: string
  /** The part of the request that is in no other row, as JSON text. */
  readonly asked: string
  /** The time on the running clock until which it waits. */
  readonly endsAt: number
}

export interface PolicyFilter {
  readonly principal?: string | undefined
  readonly nodeId?: string | undefined
}

/** The part of a transaction that reads. */
export type ReadTx = Pick<
  Tx,
  | 'node'
  | 'nodeKeys'
  | 'request'
  | 'requestsOfNode'
  | 'refusedKeys'
  | 'refusedWidening'
  | 'refused'
  | 'principal'
  | 'principals'
  | 'countAdmins'
  | 'token'
  | 'tokenByHash'
  | 'tokens'
  | 'countTokens'
  | 'policiesAt'
  | 'policies'
  | 'auditRows'
  | 'invocation'
  | 'invocationBornAt'
  | 'invocationByKey'
  | 'answer'
  | 'countKeys'
  | 'offlineWaits'
  | 'openInvocations'
  | 'invocations'
>

/** The bounds of what may be loaded of the requests that wait. */
export interface RequestBounds {
  /** The time on the running clock: requests that expired before are not loaded. */
  readonly now: number
  readonly maxRequests: number
  /** The bytes of registrations, as JSON. */
  readonly maxBytes: number
}

export interface LoadedRequests {
  readonly requests: readonly PairingRequestRecord[]
  /** The number of those that were beyond the bounds; they are removed. */
  readonly ended: number
}

/** Says whether what was asked for last could be stored, and since when not. */
export type StoreHealth =
  | { readonly ok: true }
  | {
      readonly ok: false
      readonly reason: string
      readonly since: WallMs
      /** The server is away, and this bridge is still the one that has it: no other one would do better. */
      readonly away?: boolean
    }

/**
 * Texts come back as they were given, with NUL and with characters of four bytes; lists are in the order of the bytes
 * of their keys. A store that somebody else has taken over refuses every write.
 */
export interface Store {
  /** Says how it is, from what it has met; asks nothing. */
  health(): StoreHealth
  /** Writes something small of its own, and resolves to what `health` says then. Total. */
  probe(): Promise<StoreHealth>
  /** Does what keeps it small and quick, a bounded piece of it; called every half minute. */
  maintain(): Promise<void>
  /** Reads what is committed, and nothing of works that are open. Works on a full or read-only disk too: nobody is kept out by a write that fails. */
  read<T>(work: (tx: ReadTx) => Promise<T>): Promise<T>
  /**
   * Runs `work` in a transaction. Works that arrive in one turn of the event loop share one commit; each is
   * undone alone when it throws. Resolves after the commit is on disk. Rejects with the work's own error, or
   * with Refusal `storage_unavailable` when the store could not commit. `work` awaits nothing but its `tx`, and changes
   * nothing else: a store may have to run it again, and both runs must end alike. What memory and the network shall do
   * follows when this resolves.
   */
  transact<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /**
   * Records an invocation that was or is being sent (undefined: one that never began), and the audit row about it. For those
   * whom nobody waits for: it shares a commit with others, 5 ms later at most, and reaches the disk within another
   * 200 ms. Rejects like `transact`.
   */
  recordInvocation(record: InvocationRecord | undefined, entry: AuditEntry): Promise<void>
  /** Resolves when everything that was asked for before has been committed, or refused: reads see it then. */
  settled(): Promise<void>
  /** Every node, in order of nodeId, in pages of some thousands. Read once, at the start. */
  loadNodes(): AsyncIterable<readonly NodeRecord[]>
  loadRequests(bounds: RequestBounds): Promise<LoadedRequests>
  /** Returns how long bridges have run on this store, as it was saved last; 0 at first. */
  runningMs(): Promise<number>
  /** Never lowers it. Stores too how far the steady clock is. */
  saveRunningMs(ms: number): Promise<void>
  /** One write for many heartbeats; a lost batch loses only the freshness of `lastHeartbeatAt`. */
  saveHeartbeats(batch: readonly { nodeId: string; at: number }[]): Promise<void>
  /** One write for many uses of tokens; tokens that are no more are passed over. */
  saveTokenUses(batch: readonly TokenUse[]): Promise<void>
  /**
   * Recomputes the hash chain of the audit log, a page at a time, so that nothing else waits for it, and looks for a
   * row that somebody kept.
   */
  verifyAudit(known?: AuditPair): Promise<AuditVerdict>
  /** The ends of those logs of the audit log that have any rows. */
  auditEnds(): Promise<readonly AuditEnd[]>
  /** Deletes some of what may go: what is done in one short turn. */
  prune(retention: Retention): Promise<Pruned>
  /** The addresses that principals signed in from, the oldest use first; bounded. */
  knownAddresses(): Promise<readonly KnownAddress[]>
  /** Stores one, and keeps the newest few of its name only. Nobody waits for it. */
  saveKnownAddress(known: KnownAddress): Promise<void>
  /** Ends what a killed bridge left open. Resolves with the time since which history is kept. */
  resumeHistory(now: number): Promise<number>
  /** One write for many changes, in order. Those of nodes that are no more are left out. */
  saveHistory(batch: readonly StatusChange[]): Promise<void>
  /** The newest changes of a node, the oldest of them first; bounded. */
  history(nodeId: string): Promise<readonly HistoryRow[]>
  /** Deletes some of the oldest: from before a running time, and beyond a number. How many. */
  pruneHistory(before: number, maxRows: number): Promise<number>
  close(): Promise<void>
}

/** Says who is at the other end of a session. */
export type Identity =
  | { readonly kind: 'candidate'; readonly nodeId: string; readonly key: string | undefined }
  | { readonly kind: 'limb'; readonly nodeId: string }
  | {
      readonly kind: 'principal'
      readonly name: string
      readonly role: Role
      readonly local: boolean
      /** The token it signed in with; undefined: a password, or the control socket. */
      readonly tokenId?: string | undefined
      /** The time of the running clock at which that token ends; undefined: never. */
      readonly endsAt?: number | undefined
    }

/** Says how a session came to its end. */
export type SessionEnd = 'disconnect' | 'lost' | 'replaced' | 'refused' | 'stopped'

/**
 * One live connection. Compared by object identity only: two connections may share every name.
 */
export interface Session {
  /** Changes once, from candidate to limb, when the pairing is approved. */
  identity: Identity
  readonly clientId: string
  /** The peer's IP address without port, or `local`. */
  readonly address: string
  readonly alive: boolean
  /** Shows whether the store keeps for it what all who are subscribed are sent, until it is acknowledged. */
  readonly isStored?: boolean | undefined
  /** The version of MQTT, such as `3.1.1`. */
  readonly version?: string | undefined
  /** Returns whether this session has a subscription that matches `topic`. */
  subscribedTo(topic: string): boolean
  /**
   * Sends to this session alone, at QoS 1 if its subscription allows; when it is not acknowledged, again to the same
   * session when that returns. False when it is not subscribed. After `lifeMs` milliseconds it is not delivered any
   * more; `context` is for clients that can be told so.
   */
  send(topic: string, payload: Uint8Array, context?: MessageContext & { lifeMs?: number }): boolean
  /**
   * Resolves when its peer has taken what was sent to it so far, or is gone. Absent: nothing ever waits to be sent.
   */
  whenTaken?(): Promise<void>
  /** Sends a response, when it is not a session of the broker. */
  readonly respond?: ((verb: string, payload: Uint8Array) => void) | undefined
  /** The milliseconds of the event loop that each request of it costs before it comes here; absent: next to none. */
  readonly overheadMs?: number | undefined
  /** Closes the connection; `afterFlush` lets what was told go out first (bounded by a second). */
  end(why: SessionEnd, afterFlush: boolean): void
}

/** The parts of a message beside its payload, where both sides have a place for it. */
export interface MessageContext {
  /** The topic on which the sender wants its answer. */
  readonly responseTopic?: string | undefined
  /** The bytes that tie an answer to its question. */
  readonly correlation?: Uint8Array | undefined
}

/** A message that was too large to be kept. */
export interface UnreadMessage {
  /** The bytes of its packet, and how many it may have. */
  readonly bytes: number
  readonly maxBytes: number
  readonly context?: MessageContext | undefined
  /** Values at the top level of its JSON: `invocationId`, `success`, `transaction`. */
  readonly keys: { get(key: string): unknown }
}

/** Sends to all who are subscribed. The order of calls is the order of delivery; nothing is awaited. */
export interface Publisher {
  /** Shows whether what was published before is not with its subscribers yet: what is published now waits behind it. */
  readonly isBehind: boolean
  publish(
    topic: string,
    payload: Uint8Array,
    options: {
      qos: 0 | 1
      retain: boolean
      correlation?: Uint8Array | undefined
      /**
       * The session whose request it answers: other sessions get it only while they keep up with what they are sent.
       */
      asker?: Session | undefined
      /** It was sent to that session by itself. */
      told?: boolean | undefined
      /** Is called when it was delivered, with the number of subscriptions that it was handed to. */
      reached?: ((subscriptions: number) => void) | undefined
    },
  ): void
  /** Returns whether a limb may publish on a topic, by its own rights and what is granted to it. */
  mayPublish(nodeId: string, topic: string): boolean
  /** Reads what is retained on a topic. */
  retained(topic: string): AsyncIterable<PublishedMessage>
  /** Deletes every retained message of a limb: its data, and what a grant lets it keep. Resolves when it is on disk. */
  clearRetainedOf(nodeId: string): Promise<void>
}

/** A message that subscribers get. */
export interface PublishedMessage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
}

/** All that is said on the broker, for those who carry it elsewhere. */
export interface Feed {
  /** Called with each message in its order, before any subscriber has it. A listener is total and quick. */
  listen(listener: (message: PublishedMessage) => void): void
  /**
   * Retained messages that `filter` matches and whose time is not up, as they are read; a newer one may be said
   * meanwhile.
   */
  retained(filter: string): AsyncIterable<PublishedMessage>
}

/** The part of the live sessions that the use cases need. */
export interface Sessions {
  /** Forgets stored MQTT sessions (subscriptions, queues) of an identity that is no more. */
  forget(name: string): Promise<void>
  /** Live and stored sessions, in the order of names and client ids. Candidates have none. */
  list(page: SessionPage): readonly KnownSession[]
  /** Ends what is live and forgets what is stored under this identity and client id. False: there is neither. */
  forgetOne(name: string, clientId: string): Promise<boolean>
}

/** Says which sessions are listed. */
export interface SessionPage {
  /** The identity whose sessions they are; undefined: those of all. */
  readonly name: string | undefined
  /** The name and the client id, with a space between them, after which they come; undefined: from the first on. */
  readonly after: string | undefined
  readonly limit: number
}

/** A session that is live, stored, or both. */
export interface KnownSession {
  readonly name: string
  readonly clientId: string
  readonly live: boolean
  /** The address of a live one. */
  readonly address?: string | undefined
  /** The time at which a live one has connected, or one that is away was used last; milliseconds since 1970. */
  readonly since: number
  /** Messages that wait for it in the store. */
  readonly queued: number
}

/** A copy of the database that was looked at after it was made. */
export interface BackupFile {
  /** Absolute path. */
  readonly file: string
  readonly bytes: number
  readonly takenAt: number
}

export interface Backups {
  /**
   * Makes one while everything else goes on. On disk and checked when it resolves. Rejects with a Refusal:
   * `conflict` while another one is made, `storage_unavailable` when it cannot be written, or the bridge stops.
   */
  create(): Promise<BackupFile>
  /** Shows whether one is being made: until it is done, the write-ahead log only grows. */
  readonly isUnderWay: boolean
  /** Shows whether the bridge stops: what is being made ends, and has not failed. */
  readonly isStopping: boolean
  /**
   * Removes all but the newest `keep`, and of those the oldest beyond so many bytes; never the newest. Rejects when one
   * cannot be removed, but only after the others.
   */
  prune(keep: number, maxBytes: number): Promise<PrunedBackups>
  /** Resolves to when the newest one there was made, wall time; undefined: there is none. */
  newestAt(): Promise<number | undefined>
  /** Resolves to those that are there, the newest first. */
  list(): Promise<readonly BackupFile[]>
}

export interface PrunedBackups {
  /** The number that is left, and its bytes. */
  readonly kept: number
  readonly bytes: number
  /** The number of those among the newest `keep` that went because of their bytes. */
  readonly beyondBytes: number
}

/** The machine that the bridge runs on, and its log. */
export interface BridgeSystem {
  /** Resolves to what a look at the machine finds; changes nothing, and reads no whole file. */
  checks(): Promise<
    readonly {
      readonly what: string
      readonly level: 'ok' | 'warning' | 'problem'
      readonly message: string
    }[]
  >
  /** Returns the newest lines of the log, the oldest first: a bounded number. */
  logLines(): readonly Readonly<Record<string, unknown>>[]
}

export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Counts what happens; `http/` turns it into Prometheus' form. Labels come from fixed sets only. */
export interface Counters {
  count(name: CounterName, label?: string): void
  /** Counts how long something took, and how it ended. */
  took(name: DurationName, outcome: string, durationMs: number): void
}

export type DurationName = 'invocation'

export type CounterName =
  | 'heartbeats'
  | 'heartbeats_invalid'
  | 'probes'
  | 'discovery_messages'
  | 'foreign_values_left_out'
  | 'registrations'
  | 'pairing_decisions'
  | 'verbs'
  | 'requests_refused'
  | 'status_changes'
  | 'limbs_flapping'
  | 'messages_dropped'
  | 'answers_dropped'
  | 'invocations'
  | 'results_dropped'
  | 'leases'
  | 'sign_ins_refused'
  | 'wrong_keys'
  | 'sessions_replaced'
  | 'registrations_refused'
  | 'backups'
  | 'http_connections_ended'

/** The credentials of a CONNECT. The broker adapter has checked their form before they come here. */
export interface Credentials {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: string | undefined
  /** The password is bytes that are no UTF-8 text; `password` is undefined then. */
  readonly passwordIsBinary?: boolean | undefined
  /** The password is a bearer token, or is meant to be one: it says itself whose it is. */
  readonly isBearer?: true | undefined
  readonly address: string
  /** Came through the control socket: the file's mode is the protection. */
  readonly local: boolean
  /** Common name of a client certificate that the listener verified; empty when it has none, or several. */
  readonly certificateName: string | undefined
  /** The version of MQTT, such as `3.1.1`; undefined: it comes another way. */
  readonly version?: string | undefined
  /** Returns whether nobody waits for the answer any more. */
  readonly isGone?: (() => boolean) | undefined
}

/** CONNACK return codes of MQTT 3.1.1 [MQTT-3.2.2.3]. */
export type RefusedCode = 2 | 3 | 4 | 5

export type Authentication =
  | { readonly admitted: true; readonly identity: Identity }
  | {
      readonly admitted: false
      readonly code: RefusedCode
      readonly reason: string
      /** The store did not answer: nothing was found wrong. */
      readonly unavailable?: true
    }

/** A CONNECT that the broker adapter refused. */
export interface RefusedConnect {
  readonly username: string | undefined
  readonly clientId: string
  readonly address: string
  /** The version of MQTT, such as `3.1.1`. */
  readonly version?: string | undefined
  /** The identity that it is from, when that was looked at. */
  readonly identity?: Identity | undefined
  /** The reason under which the adapter counts it. */
  readonly why: string
  readonly reason: string
  /** The owner of the client id. */
  readonly holder?: { readonly name: string; readonly address: string } | undefined
}

/** The core as the broker adapter sees it. Functions without a promise are total: they never throw. */
export interface Inbound {
  /** Decides who may come in, and as whom. It rejects only for a broken invariant. */
  admit(credentials: Credentials): Promise<Authentication>
  /** A CONNECT under this name was refused by the broker itself. */
  connectRefused?(name: string, address: string, reason: string): void
  /** A TLS handshake failed; `name` is what a certificate said that was not believed. */
  handshakeFailed?(address: string, reason: string, name?: string): void
  /** A publish, a subscription or a will of a session with this identity was denied. */
  denied?(identity: Identity, what: string, topic: string): void
  /** A CONNECT was refused for another reason than who it is from. */
  refused(refusal: RefusedConnect): void
  /** Is called after CONNACK. */
  opened(session: Session): void
  /** Is called once for each opened session, whatever ended it. */
  closed(session: Session, why: SessionEnd): void
  /** Is called after SUBACK: answers that were owed to this session can be sent now. */
  subscribed(session: Session): void
  /** A limb has published something that is routed: to some limbs that is the sign of life. */
  active(session: Session): void
  /**
   * A limb or a candidate has published something that may be about itself, in the words of its own firmware. Returns
   * whether the bridge took it; when it is not granted to the limb it is routed to nobody in any case.
   */
  discovered?(session: Session, topic: string, payload: Uint8Array): boolean
  /** The main path. Writes nothing, waits for nothing. */
  heartbeat(session: Session, payload: Uint8Array): void
  /**
   * `register`, `deregister`, `result` and `request/…`, after rights were checked. What it promises is on
   * disk when it resolves, and the broker acknowledges only then.
   */
  message(session: Session, address: Address, payload: Uint8Array, context?: MessageContext): Promise<void>
  /** One of those, or a heartbeat, was larger than a packet may be: whoever waits for it is told. */
  unread?(session: Session, address: Address, message: UnreadMessage): void
}

/** A retained message of the bridge's own, made from the registry when somebody asks. */
export interface RetainedMessage {
  readonly topic: string
  readonly payload: Uint8Array
}

/** Retained `status`, `state` and `limb/bridge/…` are a projection of memory, not a second store. */
export interface RetainedView {
  /** Returns whether retained messages of this topic come from the view and are never stored. */
  owns(topic: string): boolean
  /**
   * Yields the messages that `filter` matches. An exact filter costs one look-up; a wildcard walks the registry
   * lazily.
   */
  match(filter: string): Iterable<RetainedMessage>
}

/** An invocation on its way. */
export interface InvocationDelivery {
  /** Shows whether the limb may have got it. It may turn from false to true, and never back. */
  readonly sent: boolean
  /** Nobody waits for the answer any more. */
  giveUp(): void
}

/** One signed request to a limb. */
export interface HttpInvocation {
  readonly nodeId: string
  readonly endpointUrl: string
  /** The address that the limb's own session comes from, or came from last; undefined: not known. */
  readonly address: string | undefined
  readonly secret: string
  readonly body: Uint8Array
}

/** A look at whether a limb that is an HTTP server is there. */
export type HttpProbe = Pick<HttpInvocation, 'nodeId' | 'endpointUrl' | 'address'>

/** The finding of a probe: the body of an answer of success, LIMITS.heartbeatBytes at most, or why there was none. */
export type ProbeOutcome = { readonly body: Uint8Array } | { readonly failure: string }

/** The adapter that speaks HTTP. */
export interface HttpLimbClient {
  /**
   * Total. Gives the body of the answer, of LIMITS.resultBytes at most, or why there is none; `why` is for the
   * log, where a refusal says less to whoever asked. It counts as sent from
   * the connection on, the TLS handshake included.
   */
  post(
    invocation: HttpInvocation,
    done: (outcome: Uint8Array | Refusal, why?: string) => void,
  ): InvocationDelivery
  /** Asks `GET <endpointUrl>/health`, within a few seconds. Total; the function that it returns gives up. */
  probe(probe: HttpProbe, done: (outcome: ProbeOutcome) => void): () => void
  /** The bytes of answers that are not whole yet; absent: they are not counted. */
  readonly heldBytes?: number
}

/** The parts that invoking over HTTP needs; absent: it is not done. */
export interface InvokeOverHttp {
  /** The bridge's own secret, of which those of the limbs are made. */
  readonly master: Uint8Array
  readonly client: HttpLimbClient
}

/** The parts that housekeeping needs of the adapters beyond the ports. */
export interface Upkeep {
  /**
   * Writes of the persistent sessions what could not be written before, and with `byAge` forgets some that nobody
   * used for too long. How many.
   */
  sweepSessions(): Promise<number>
  /** The next limb, in the order of the names, that retained data is kept of; undefined: no more. */
  nextWithData(after: string): Promise<string | undefined>
}

/** The health of the adapters, as they say themselves; the same readiness that `/readyz` shows. */
export interface Health {
  readonly ready: boolean
  /** The reasons why not, each a sentence; empty when ready. */
  readonly reasons: readonly string[]
  readonly uplinks: readonly { readonly name: string; readonly connected: boolean }[]
  /** This bridge as the one that leads, and since when; absent where no other machine could. */
  readonly lead?: { readonly name: string; readonly since?: WallMs | undefined } | undefined
  /** The things that work and need a look, each a sentence with the setting that moves it. */
  readonly warnings: readonly string[]
}
