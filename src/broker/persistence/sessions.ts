import { PacedLog } from '../../bridge/live/paced-log.ts'
import type { MqttStore, SessionTerms } from '../../bridge/mqtt-store.ts'
import type { Log } from '../../bridge/ports.ts'
import type { Clock, MonotonicMs } from '../../kernel/clock.ts'
import { Counts } from '../../kernel/counts.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { RunningClock, RunningMs } from '../../kernel/running-clock.ts'
import type { Queues } from './queues.ts'
import { rowOf, type SubscriptionIndex } from './subscriptions.ts'

export interface StoredSessionsOptions {
  readonly store: MqttStore
  readonly clock: Clock
  /** The clock by which stored sessions get old. */
  readonly running: RunningClock
  readonly log: Log
  readonly index: SubscriptionIndex
  readonly queues: Queues
  readonly isLive: (clientId: string) => boolean
  /** Sessions that are kept for one identity. */
  readonly maxPerIdentity: () => number
  /** Subscriptions of the stored sessions of one identity that a start loads. */
  readonly maxSubscriptions: number
}

/** A stored session, as an operator sees it. */
export interface KeptSession {
  readonly key: string
  /** The time at which it was used last, in milliseconds since 1970. */
  readonly usedAt: number
  /** Messages that wait for it. */
  readonly queued: number
}

/** Lines about sessions that were pushed out, of each name: who makes them without end pushes out one with each. */
const FORGOTTEN = { quietMs: 60_000, lines: 3, maxKeys: 200, maxLines: 60 } as const

/** Sessions in one turn of the sweep: some 50 ms. */
const SWEEP_SESSIONS = 200
/** Messages and subscriptions of the sessions that go in one turn, beyond those of one. */
const SWEEP_ROWS = 2000

/**
 * Knows which persistent sessions there are and whose they are. It answers from memory, so that a CONNECT neither
 * waits for the disk nor depends on it.
 */
export class StoredSessions {
  readonly #options: StoredSessionsOptions
  readonly #owners = new Map<string, string>()
  /** The sessions of each owner, the oldest use first, each with the time of that. */
  readonly #used = new Map<string, Map<string, number>>()
  /** Sessions that may have missed messages: stored before this start, or with a queue that was full. */
  readonly #stale = new Set<string>()
  /** Sessions whose rows are behind memory, because the store failed. */
  readonly #unsaved = new Set<string>()
  /**
   * The time at which a session that is away was last used, of those that were used since the start: no wall clock
   * moves that.
   */
  readonly #leftAt = new Map<string, MonotonicMs>()
  /** The time that sessions outlive their connections, of those that said so. */
  readonly #expirySeconds = new Map<string, number>()
  /** The end, running time, of those that were stored before the start and have not been back. */
  readonly #overAt = new Map<string, number>()
  /** Sessions that were to be forgotten, and whose rows are still there, because the store failed. */
  readonly #undeleted = new Set<string>()
  /** Ids with QoS 2 handshakes on disk since the start; those of before belong to stored sessions. */
  readonly #incoming = new Set<string>()

  /** The weight of the subscriptions of each session that is away, and of each owner. */
  readonly #away = new Map<string, { readonly owner: string; readonly weight: number }>()
  readonly #awayOf = new Counts()
  readonly #forgotten: PacedLog
  /** Called with the key of each session that is forgotten; `isGone`: its identity is no more. */
  onForgotten: (clientId: string, isGone: boolean) => void = () => undefined

  constructor(options: StoredSessionsOptions) {
    this.#options = options
    this.#forgotten = new PacedLog(options, FORGOTTEN)
  }

  async load(): Promise<void> {
    const { store, running } = this.#options
    const now = running.now()
    await this.#cut()
    for (const { clientId, owner, usedAt, expirySeconds, leftAt } of await store.loadSessions()) {
      this.#own(clientId, owner, usedAt)
      this.#stale.add(clientId)
      if (expirySeconds === null) continue
      this.#expirySeconds.set(clientId, expirySeconds)
      // Who was connected when the bridge ended was cut off by that, now.
      this.#overAt.set(clientId, (leftAt ?? now) + expirySeconds * 1000)
    }
  }

  /** Forgets what is beyond the limits before it takes memory: they may have been larger, and their owners many. */
  async #cut(): Promise<void> {
    const { store, maxPerIdentity, maxSubscriptions, log } = this.#options
    const most = maxPerIdentity()
    let forgotten: number
    try {
      forgotten = await store.cutSessions({ sessions: most, subscriptions: maxSubscriptions })
    } catch (error) {
      log.warn({ err: error }, 'stored sessions beyond the limits could not be forgotten; they are loaded')
      return
    }
    if (forgotten === 0) return
    log.warn(
      { forgotten, maxStoredSessionsPerIdentity: most, maxSubscriptions },
      'there were more stored sessions, or subscriptions of them, than one identity may have; the oldest are forgotten (mqtt.maxStoredSessionsPerIdentity, mqtt.maxSubscriptionsPerPrincipal)',
    )
  }

  /** Returns what the subscriptions of an owner's sessions that are away count as. */
  awaySubscriptions(owner: string): number {
    return this.#awayOf.of(owner)
  }

  /** Counts the subscriptions of all sessions, of which none is connected yet. */
  countAway(): void {
    for (const clientId of this.#owners.keys()) this.#leaves(clientId)
  }

  #leaves(clientId: string): void {
    this.#returns(clientId)
    const owner = this.#owners.get(clientId)
    const weight = this.#options.index.weightOf(clientId)
    if (owner === undefined || weight === 0) return
    this.#away.set(clientId, { owner, weight })
    this.#awayOf.add(owner, weight)
  }

  #returns(clientId: string): void {
    const away = this.#away.get(clientId)
    if (away === undefined) return
    this.#away.delete(clientId)
    this.#awayOf.add(away.owner, -away.weight)
  }

  /** The sessions of an owner, the oldest use first. */
  list(owner: string): KeptSession[] {
    const { queues, running } = this.#options
    return [...(this.#used.get(owner) ?? [])].map(([key, usedAt]) => ({
      key,
      usedAt: running.wallMs(usedAt as RunningMs),
      queued: queues.length(key),
    }))
  }

  /** All who have a stored session. */
  owners(): Iterable<string> {
    return this.#used.keys()
  }

  #own(key: string, owner: string, usedAt: number): void {
    this.#disown(key)
    this.#owners.set(key, owner)
    const used = this.#used.get(owner) ?? new Map<string, number>()
    this.#used.set(owner, used.set(key, usedAt))
  }

  #disown(key: string): void {
    const owner = this.#owners.get(key)
    if (owner === undefined) return
    this.#owners.delete(key)
    const used = this.#used.get(owner)
    used?.delete(key)
    if (used?.size === 0) this.#used.delete(owner)
  }

  /** Makes room for the newest session of an owner: the oldest that is away goes. */
  #makeRoom(owner: string, newest: string): void {
    const used = this.#used.get(owner)
    if (used === undefined || used.size <= this.#options.maxPerIdentity()) return
    const oldest = [...used.keys()].find((key) => key !== newest && !this.#options.isLive(key))
    if (oldest === undefined) return
    this.#forgotten.infoOrCount(
      owner,
      { owner, session: oldest },
      `${owner} has too many stored sessions: the oldest is forgotten (mqtt.maxStoredSessionsPerIdentity)`,
    )
    this.#ignore(this.delete(oldest))
  }

  get size(): number {
    return this.#owners.size
  }

  ownerOf(clientId: string): string | undefined {
    return this.#owners.get(clientId)
  }

  of(owner: string): readonly string[] {
    return [...(this.#used.get(owner)?.keys() ?? [])]
  }

  /** Returns whether anything is kept under this id. */
  isStored(clientId: string): boolean {
    const { index, queues } = this.#options
    return (
      this.#owners.has(clientId) ||
      this.#incoming.has(clientId) ||
      index.has(clientId) ||
      queues.has(clientId)
    )
  }

  /**
   * The session is used, and whose it is: call it at a CONNECT that is not clean, after `ownerOf` was looked
   * at. A new session, or a new owner, is on disk when this resolves; a known one is noted `soon`.
   */
  async put(clientId: string, owner: string, expirySeconds: number | null = null): Promise<void> {
    const { store, running } = this.#options
    const at = running.now()
    // A message may have been queued in the very moment a session was forgotten: not for its successor.
    const isLeft = !this.#owners.has(clientId) && this.isStored(clientId)
    if (isLeft || this.#undeleted.has(clientId)) await this.delete(clientId)
    const known =
      this.#owners.get(clientId) === owner && (this.#expirySeconds.get(clientId) ?? null) === expirySeconds
    this.#own(clientId, owner, at)
    this.#returns(clientId)
    this.#setExpiry(clientId, expirySeconds)
    this.#makeRoom(owner, clientId)
    this.#overAt.delete(clientId)
    const terms = { expirySeconds, leftAt: null }
    // One with an expiry is noted at once: while it is connected its time does not run.
    const urgency = known && expirySeconds === null ? 'soon' : 'now'
    const stored = store.putSession(clientId, owner, at, urgency, terms)
    if (urgency === 'soon') {
      this.#ignore(stored)
      return
    }
    try {
      await stored
    } catch (error) {
      this.unsaved(clientId)
      throw error
    }
  }

  /** The connection of a persistent session has ended, and no newer one has taken over. */
  ended(clientId: string, expirySeconds: number | null = null): void {
    const owner = this.#owners.get(clientId)
    if (this.#options.isLive(clientId)) return
    this.#options.queues.rest(clientId)
    if (owner === undefined) return
    if (expirySeconds === 0) {
      this.#ignore(this.delete(clientId))
      return
    }
    this.#setExpiry(clientId, expirySeconds)
    const { clock, running, store } = this.#options
    const now = running.now()
    this.#own(clientId, owner, now)
    this.#leaves(clientId)
    this.#leftAt.set(clientId, clock.monotonicMs())
    const terms = { expirySeconds, leftAt: expirySeconds === null ? null : now }
    this.#ignore(store.putSession(clientId, owner, now, 'soon', terms))
    this.#makeRoom(owner, clientId)
  }

  isOver(clientId: string): boolean {
    const overAt = this.#overAt.get(clientId)
    if (overAt !== undefined) return this.#options.running.now() >= overAt
    const seconds = this.#expirySeconds.get(clientId)
    const leftAt = this.#leftAt.get(clientId)
    if (seconds === undefined || leftAt === undefined || this.#options.isLive(clientId)) return false
    return this.#options.clock.monotonicMs() - leftAt >= seconds * 1000
  }

  #setExpiry(clientId: string, expirySeconds: number | null): void {
    if (expirySeconds === null) this.#expirySeconds.delete(clientId)
    else this.#expirySeconds.set(clientId, expirySeconds)
  }

  /** Forgets one session with its subscriptions, queue and handshakes. Resolves when it is on disk. */
  delete(clientId: string): Promise<void> {
    return this.#deleteAll([clientId])
  }

  /** Forgets every session of an identity that is no more. At once in memory; resolves when it is on disk. */
  forget(owner: string): Promise<void> {
    return this.#deleteAll(this.of(owner), true)
  }

  /**
   * Returns whether this session must be sent the retained view once more, because it may have missed changes: true
   * once for each session that was stored before the bridge started, and once after its queue was full.
   */
  takeStale(clientId: string): boolean {
    return this.#stale.delete(clientId)
  }

  missed(clientId: string): void {
    if (this.#owners.has(clientId)) this.#stale.add(clientId)
  }

  unsaved(clientId: string): void {
    this.#unsaved.add(clientId)
  }

  hasIncoming(clientId: string): void {
    this.#incoming.add(clientId)
  }

  /** Writes what could not be written before. Rejects when it still cannot. */
  async saveUnsaved(): Promise<void> {
    const now = this.#options.running.now()
    for (const clientId of this.#unsaved) await this.#save(clientId, now)
  }

  /**
   * Forgets sessions that nobody used for `idleMs`, some hundred at once. Call it every now and then, more often
   * than `idleMs`. Returns the ids that were forgotten; when there are any, there may be more.
   */
  async sweep(idleMs: number): Promise<readonly string[]> {
    const { store, running } = this.#options
    await this.saveUnsaved()
    const now = running.now()
    // Who is connected is noted every half period, so that a crash after a year online does not end it.
    const old = await store.sessionsIdleSince(now - idleMs / 2)
    const used = old
      .filter((clientId) => this.#owners.has(clientId) && this.#options.isLive(clientId))
      .slice(0, SWEEP_SESSIONS)
    await Promise.all(
      used.map((clientId) =>
        store.putSession(clientId, this.#owners.get(clientId) ?? '', now, 'soon', this.#termsOf(clientId)),
      ),
    )
    const idle = await store.sessionsIdleSince(now - idleMs)
    const ended = [...this.#expirySeconds.keys()].filter((clientId) => this.isOver(clientId))
    const unused = idle.filter((clientId) => !this.#isUsed(clientId, idleMs))
    const over = this.#inOneTurn(new Set([...ended, ...unused]))
    await this.#deleteAll(over)
    return over
  }

  /** Picks those that may go together: each message and subscription of theirs is looked at. */
  #inOneTurn(clientIds: Iterable<string>): string[] {
    const { index, queues } = this.#options
    const picked: string[] = []
    let rows = 0
    for (const clientId of clientIds) {
      if (picked.length === SWEEP_SESSIONS || rows >= SWEEP_ROWS) break
      picked.push(clientId)
      rows += queues.length(clientId) + index.of(clientId).length
    }
    return picked
  }

  #termsOf(clientId: string): SessionTerms {
    const expirySeconds = this.#expirySeconds.get(clientId) ?? null
    const leftAt = this.#leftAt.get(clientId)
    if (expirySeconds === null || leftAt === undefined || this.#options.isLive(clientId)) {
      return { expirySeconds, leftAt: null }
    }
    const { clock, running } = this.#options
    return { expirySeconds, leftAt: running.now() - (clock.monotonicMs() - leftAt) }
  }

  /** Connected, or away for less than that by the clock that nobody sets. */
  #isUsed(clientId: string, idleMs: number): boolean {
    if (!this.#owners.has(clientId)) return false
    if (this.#options.isLive(clientId)) return true
    const leftAt = this.#leftAt.get(clientId)
    return leftAt !== undefined && this.#options.clock.monotonicMs() - leftAt < idleMs
  }

  async #save(clientId: string, now: number): Promise<void> {
    const { store, index } = this.#options
    const owner = this.#owners.get(clientId)
    if (owner !== undefined) {
      await store.putSession(clientId, owner, now, 'now', this.#termsOf(clientId))
      await store.putSubscriptions(index.of(clientId).map((each) => rowOf(clientId, each)))
    }
    this.#unsaved.delete(clientId)
  }

  async #deleteAll(clientIds: readonly string[], isGone = false): Promise<void> {
    if (clientIds.length === 0) return
    const { store, index, queues } = this.#options
    const owners = clientIds.map((clientId) => {
      const owner = this.#owners.get(clientId)
      return { clientId, owner, usedAt: this.#used.get(owner ?? '')?.get(clientId) ?? 0 }
    })
    // Memory first: from now on nothing is queued for them, and the deletion comes after what was.
    for (const clientId of clientIds) {
      this.#returns(clientId)
      index.removeAll(clientId)
      queues.forget(clientId)
      this.#disown(clientId)
      for (const known of [
        this.#stale,
        this.#unsaved,
        this.#undeleted,
        this.#incoming,
        this.#leftAt,
        this.#expirySeconds,
        this.#overAt,
      ]) {
        known.delete(clientId)
      }
      this.onForgotten(clientId, isGone)
    }
    try {
      await store.deleteSessions(clientIds)
    } catch (error) {
      // Their rows are still there: who tries again must find them.
      for (const { clientId, owner, usedAt } of owners) {
        if (owner === undefined || this.#owners.has(clientId)) continue
        this.#own(clientId, owner, usedAt)
        this.#undeleted.add(clientId)
      }
      throw error
    }
  }

  #ignore(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#options.log.debug({ error: messageOf(error) }, 'the use of a session was not noted')
    })
  }
}
