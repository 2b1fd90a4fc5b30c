import type Sqlite from 'better-sqlite3'
import type { Log, StoreHealth } from '../../bridge/ports.ts'
import { InvariantError } from '../../kernel/assert.ts'
import type { Clock, WallMs } from '../../kernel/clock.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import { isStorageFailure, sqliteCode } from './errors.ts'

/**
 * The one writer. What is asked for in one turn of the event loop shares one transaction, so that a storm of
 * registrations costs few fsyncs. A batch runs from setImmediate and ends before the loop goes on: its works
 * await nothing but the transaction, which answers in microtasks, and Node runs every microtask before the next
 * callback of a socket or timer. So nothing outside the batch ever runs while it is half-way, and a read on the
 * same connection sees only what is committed.
 */

export interface GroupCommitOptions {
  readonly clock: Clock
  readonly log: Log
  readonly onCommit?: (durationMs: number, works: number) => void
  /** Called when what was committed is on the disk. Never throws. */
  readonly onDurable?: () => void
}

/** Works in one commit. */
const MAX_BATCH = 10_000
/**
 * The time of a turn of the event loop after which a batch takes no further work, so that a storm of dear ones is many turns;
 * the commit comes on top. It is less in a turn in which others have worked.
 */
const MAX_BATCH_MS = 20
/** Works between two looks at the clock. */
const LOOK_EVERY = 16
/** The bytes of payloads after which it takes no further work either: their commit takes four times as long as they do. */
const MAX_BATCH_BYTES = 1024 * 1024
/** Works that wait. Only a loop that asks without ever waiting gets there; it is told so. */
const MAX_PENDING = 200_000
/** The time that a write may wait for another one to share a commit with, when nobody waits for it. */
const SOON_MS = 100
/** The time that a record of what is done already may wait for others to share a commit with. */
const LAZY_MS = 5
/** The time after which a commit that did not wait for the disk is on it, at the latest. */
const FLUSH_MS = 200
/** The time between two tries while the store is broken, so that it heals without anybody having to ask. */
const PROBE_MS = 2000
/** A disk that is full now and then would otherwise be told twice for every commit. */
const OUTAGES = { quietMs: 10_000, lines: 1, maxKeys: 1, maxLines: 1 } as const
/** The number of waiting writes at which the commit waits no longer: each may hold a payload. */
const MAX_SOON = 1000

interface Work {
  readonly run: () => unknown
  /** Needs a savepoint of its own, because it is more than one statement. */
  readonly compound: boolean
  /** Survives the end of the process, but not yet a power cut: the commit need not wait for the disk. */
  readonly lazy: boolean
  /** The bytes of payloads that it writes; 0 where they are few. */
  readonly bytes: number
  /** Is called when the work has ended: its transaction is closed to it then. */
  readonly ended: (() => void) | undefined
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

type Outcome = { readonly work: Work; readonly error?: unknown; readonly value?: unknown }

export class GroupCommit {
  readonly #sql: Sqlite.Database
  readonly #options: GroupCommitOptions
  readonly #statements: Record<
    'begin' | 'commit' | 'rollback' | 'savepoint' | 'undo' | 'release' | 'probe',
    Sqlite.Statement
  >
  readonly #touch: Sqlite.Statement
  #pending: Work[] = []
  #scheduled = false
  #running = false
  #soon: (() => void) | undefined
  #soonAt = Number.POSITIVE_INFINITY
  /** The works that were asked for so far, and those of them that have ended; they end in their order. */
  #asked = 0
  #ended = 0
  /** Waiters for everything that was asked for before them, the first one first. */
  #waiters: { readonly upTo: number; readonly resolve: () => void }[] = []
  /** Reads that were asked for while a batch was open. */
  #readers: (() => void)[] = []
  #broken: { reason: string; since: WallMs } | undefined
  readonly #throttle: LogThrottle
  readonly #time: TurnTime
  #probe: (() => void) | undefined
  readonly #changes: Sqlite.Statement<[]>
  /** Shows whether the last commit, of a store that was broken, put something on the disk. */
  #wrote = false
  #stall: ((error: InvariantError) => void) | undefined
  #closed = false
  /** The reason why nothing may be written, although SQLite would. */
  #refused: { reason: string; since: WallMs } | undefined
  /** Shows how SQLite's `synchronous` stands. */
  #waitsForDisk = true
  #flush: (() => void) | undefined

  constructor(sql: Sqlite.Database, options: GroupCommitOptions) {
    this.#throttle = new LogThrottle(options.clock, OUTAGES)
    this.#time = new TurnTime(options.clock, MAX_BATCH_MS)
    this.#sql = sql
    this.#options = options
    this.#touch = sql.prepare(
      "INSERT INTO meta (key, value) VALUES ('flushed', '1') ON CONFLICT (key) DO UPDATE SET value = 1 - CAST(value AS INTEGER)",
    )
    this.#changes = sql.prepare<[]>('SELECT total_changes()').pluck()
    this.#statements = {
      begin: sql.prepare('BEGIN IMMEDIATE'),
      commit: sql.prepare('COMMIT'),
      rollback: sql.prepare('ROLLBACK'),
      savepoint: sql.prepare('SAVEPOINT work'),
      undo: sql.prepare('ROLLBACK TO work'),
      release: sql.prepare('RELEASE work'),
      // Writes the first page, also when the number is the same.
      probe: sql.prepare(`PRAGMA user_version = ${Number(sql.pragma('user_version', { simple: true }))}`),
    }
  }

  health(): StoreHealth {
    const trouble = this.#refused ?? this.#broken
    return trouble === undefined ? { ok: true } : { ok: false, ...trouble }
  }

  /** Refuses every write from now on: what SQLite would store would not be found again. undefined lifts it. */
  refuseWrites(reason: string | undefined): void {
    if (reason === undefined) this.#refused = undefined
    else this.#refused = { reason, since: this.#refused?.since ?? this.#options.clock.wallMs() }
  }

  /** Works that wait for the next commit. */
  get pending(): number {
    return this.#pending.length
  }

  /** Several statements, undone together when `run` throws. `run` awaits nothing but its transaction. */
  transact<T>(run: () => Promise<T>, ended: () => void): Promise<T> {
    return this.#add({ run, compound: true, lazy: false, bytes: 0, ended }, 0) as Promise<T>
  }

  /**
   * Statements that cannot fail half-way, or where a half does no harm. Resolves after the commit. `bytes`: of the payloads
   * in them, where those may be large.
   */
  write<T>(run: () => T, bytes = 0): Promise<T> {
    return this.#add({ run, compound: false, lazy: false, bytes, ended: undefined }, 0) as Promise<T>
  }

  /** The same for what nobody waits for: joins the next commit, or makes one within 100 ms. Keeps the order. */
  writeSoon<T>(run: () => T, bytes = 0): Promise<T> {
    return this.#add({ run, compound: false, lazy: false, bytes, ended: undefined }, SOON_MS) as Promise<T>
  }

  /**
   * The same for the record of what is done already: joins the next commit, or makes one within 5 ms that does not
   * wait for the disk, which takes it within another 200 ms. Keeps the order.
   */
  writeLazily<T>(run: () => T): Promise<T> {
    return this.#add({ run, compound: false, lazy: true, bytes: 0, ended: undefined }, LAZY_MS) as Promise<T>
  }

  /**
   * Resolves when the works that are open have been committed or undone; undefined when none is. They are on the
   * connection that reads: what is read meanwhile would be what they have not committed.
   */
  open(): Promise<void> | undefined {
    return this.#running ? new Promise((resolve) => this.#readers.push(resolve)) : undefined
  }

  /** Writes the first page. Resolves to the health that it leaves. */
  async probe(): Promise<StoreHealth> {
    try {
      await this.write(() => this.#statements.probe.run())
      if (this.#broken !== undefined) this.#healed()
    } catch {
      // What failed is what the health says.
    }
    return this.health()
  }

  /** Resolves when everything asked for so far has ended, well or not; undefined when nothing is under way. */
  settled(): Promise<void> | undefined {
    if (this.#ended === this.#asked) return undefined
    this.#schedule()
    return new Promise((resolve) => this.#waiters.push({ upTo: this.#asked, resolve }))
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#probe?.()
    while (this.#pending.length > 0 || this.#running) await this.settled()
    this.#soon?.()
    this.#flush?.()
  }

  #add(work: Omit<Work, 'resolve' | 'reject'>, delayMs: number): Promise<unknown> {
    if (this.#closed) return Promise.reject(unavailable('the database is closed'))
    if (this.#refused) return Promise.reject(unavailable(this.#refused.reason))
    if (this.#pending.length >= MAX_PENDING) return Promise.reject(unavailable('too many writes are waiting'))
    return new Promise((resolve, reject) => {
      this.#pending.push({ ...work, resolve, reject })
      this.#asked++
      if (delayMs === 0 || this.#pending.length >= MAX_SOON) this.#schedule()
      else this.#scheduleSoon(delayMs)
    })
  }

  #scheduleSoon(delayMs: number): void {
    const { clock } = this.#options
    const at = clock.monotonicMs() + delayMs
    if (at >= this.#soonAt) return
    this.#soon?.()
    this.#soonAt = at
    this.#soon = clock.after(delayMs, () => this.#schedule())
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      void this.#runBatch()
    })
  }

  async #runBatch(): Promise<void> {
    if (this.#running || this.#pending.length === 0) return
    this.#running = true
    this.#soon?.()
    this.#soon = undefined
    this.#soonAt = Number.POSITIVE_INFINITY
    const works = this.#take()
    this.#watchTurn()
    try {
      this.#conclude(await this.#commit(works))
    } catch (error) {
      this.#fail(works, error)
    }
    this.#running = false
    this.#ended += works.length
    for (const read of this.#readers.splice(0)) read()
    if (this.#pending.length > 0) this.#schedule()
    this.#wake()
  }

  #take(): Work[] {
    const works = this.#pending
    this.#pending = works.length > MAX_BATCH ? works.splice(MAX_BATCH) : []
    return works
  }

  #wake(): void {
    const still = this.#waiters.findIndex(({ upTo }) => upTo > this.#ended)
    for (const { resolve } of this.#waiters.splice(0, still < 0 ? this.#waiters.length : still)) resolve()
  }

  /** Leaves what there was no time for to the next batch, in its place. */
  async #commit(works: Work[]): Promise<Outcome[]> {
    const { begin, commit } = this.#statements
    const lazy = works.every((work) => work.lazy)
    // Not possible inside a transaction.
    this.#waitForDisk(!lazy)
    const before = this.#changes.get()
    begin.run()
    const outcomes: Outcome[] = []
    const { clock } = this.#options
    let bytes = 0
    for (const [i, work] of works.entries()) {
      // A payload of a megabyte takes milliseconds by itself.
      const looks = bytes > 0 || i % LOOK_EVERY === 0
      const mayGoOn = !looks || (this.#time.isInTime && bytes <= MAX_BATCH_BYTES)
      if (i > 0 && !mayGoOn) {
        this.#pending = [...works.splice(i), ...this.#pending]
        break
      }
      bytes += work.bytes
      // No await for a plain write: ten thousand of them need no microtask each.
      outcomes.push(work.compound ? await this.#runCompound(work) : this.#runPlain(work))
    }
    const started = clock.monotonicMs()
    commit.run()
    // A commit of nothing works on a read-only disk too: it heals nothing, and takes nothing to the disk.
    const changed = this.#changes.get() !== before
    this.#wrote = this.#broken !== undefined && changed
    this.#options.onCommit?.(clock.monotonicMs() - started, works.length)
    if (changed && !lazy) this.#options.onDurable?.()
    if (lazy) this.#flush ??= clock.after(FLUSH_MS, () => this.#flushNow())
    // What was undone counts as a change.
    else if (changed && outcomes.every((outcome) => !('error' in outcome))) this.#flushed()
    return outcomes
  }

  #waitForDisk(wait: boolean): void {
    if (this.#waitsForDisk === wait) return
    this.#sql.pragma(`synchronous = ${wait ? 'FULL' : 'NORMAL'}`)
    this.#waitsForDisk = wait
  }

  /** A commit that waits for the disk takes every earlier one with it; it must write something to do so. */
  #flushNow(): void {
    this.#flush = undefined
    // A failure is told by the next write that somebody waits for; this one is made again with the next record.
    this.write(() => this.#touch.run()).catch(() => {})
  }

  #flushed(): void {
    this.#flush?.()
    this.#flush = undefined
  }

  #runPlain(work: Work): Outcome {
    try {
      return { work, value: work.run() }
    } catch (error) {
      this.#throwIfLost(error)
      return { work, error }
    }
  }

  async #runCompound(work: Work): Promise<Outcome> {
    const { savepoint, undo, release } = this.#statements
    savepoint.run()
    try {
      const stalled = new Promise<never>((_, reject) => {
        this.#stall = reject
      })
      const value = await Promise.race([work.run(), stalled])
      this.#stall = undefined
      release.run()
      return { work, value }
    } catch (error) {
      this.#stall = undefined
      this.#throwIfLost(error)
      undo.run()
      release.run()
      return { work, error }
    } finally {
      work.ended?.()
    }
  }

  /** A failure of the disk takes the whole batch with it; SQLite may have rolled it back already. */
  #throwIfLost(error: unknown): void {
    if (isStorageFailure(error) || !this.#sql.inTransaction) throw error
  }

  /**
   * Finds a work that awaits something other than its transaction. A task of nextTick that was asked for in a
   * microtask runs when all microtasks are done: by then the batch has ended, or is stuck in that work. It
   * is undone and told so, and the others go on, still before any other callback of the event loop.
   */
  #watchTurn(): void {
    queueMicrotask(() =>
      process.nextTick(() => {
        if (!this.#running) return
        this.#watchTurn()
        this.#stall?.(
          new InvariantError('a transaction awaited something other than its tx; it was rolled back'),
        )
      }),
    )
  }

  #conclude(outcomes: readonly Outcome[]): void {
    if (this.#wrote) this.#healed()
    for (const outcome of outcomes) {
      if ('error' in outcome) outcome.work.reject(outcome.error)
      else outcome.work.resolve(outcome.value)
    }
  }

  #fail(works: readonly Work[], error: unknown): void {
    if (this.#sql.inTransaction) {
      try {
        this.#statements.rollback.run()
      } catch {
        // SQLite rolls back by itself when it cannot do it on request.
      }
    }
    const reason = `${messageOf(error)} (${sqliteCode(error) ?? 'no code'})`
    this.#brokenFor(reason)
    const refusal = unavailable(reason)
    for (const work of works) work.reject(refusal)
  }

  #brokenFor(reason: string): void {
    const { clock, log } = this.#options
    if (this.#broken !== undefined) {
      this.#broken = { ...this.#broken, reason }
    } else {
      this.#broken = { reason, since: clock.wallMs() }
      if (this.#throttle.once('store')) {
        log.error({ reason }, 'the database cannot store; new pairings and changes are refused')
      }
    }
    this.#probeLater()
  }

  #healed(): void {
    this.#broken = undefined
    this.#wrote = false
    this.#probe?.()
    this.#probe = undefined
    if (this.#throttle.over('store')) this.#options.log.info({}, 'the database stores again')
  }

  /** A small write of its own: on an idle bridge nobody else would find out that there is room again. */
  #probeLater(): void {
    if (this.#closed || this.#probe !== undefined) return
    this.#probe = this.#options.clock.after(PROBE_MS, () => {
      this.#probe = undefined
      if (this.#broken === undefined || this.#closed) return
      void this.probe()
    })
  }
}

function unavailable(reason: string): Refusal {
  return new Refusal(
    'storage_unavailable',
    `the database cannot store it now: ${reason}; nothing was changed, try again later`,
  )
}
