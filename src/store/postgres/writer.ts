import type { Log, StoreHealth } from '../../bridge/ports.ts'
import { invariant } from '../../kernel/assert.ts'
import type { Clock, MonotonicMs, WallMs } from '../../kernel/clock.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import type { SqlRow } from '../rows.ts'
import { CommitUndone, type PostgresConnection, type Sql, type Value } from './connection.ts'
import { detailOf, isFull, isStorageFailure, reasonOf, unavailable } from './errors.ts'

/** A work's view of its transaction: reads are awaited, writes are sent at once and looked at when the work has ended. */
export class WorkSql implements Sql {
  readonly #connection: Sql
  #sent: Promise<unknown> = Promise.resolve()
  #ended = false
  #failure: { readonly error: unknown } | undefined

  constructor(connection: Sql) {
    this.#connection = connection
  }

  all(text: string, ...values: readonly Value[]): Promise<SqlRow[]> {
    invariant(!this.#ended, 'a transaction was used after it had ended')
    return this.#connection.all(text, ...values)
  }

  run(text: string, ...values: readonly Value[]): Promise<number> {
    invariant(!this.#ended, 'a transaction was used after it had ended')
    return this.#connection.run(text, ...values)
  }

  /** A write of which nobody asks what became of it: it costs the work no way to the server and back. */
  later(text: string, ...values: readonly Value[]): void {
    this.#sent = this.run(text, ...values).catch((error: unknown) => {
      this.#failure ??= { error }
    })
  }

  /** Takes no further statement. What becomes of the writes that are on their way, `end` says. */
  close(): void {
    this.#ended = true
  }

  /** Takes no further statement; rejects with the first write that failed. */
  async end(): Promise<void> {
    this.#ended = true
    await this.#sent
    if (this.#failure) throw this.#failure.error
  }

  /** The first write that failed is why all after it do. */
  causeOf(error: unknown): unknown {
    return this.#failure?.error ?? error
  }
}

export interface WriterOptions {
  /** Opens a connection that has the database's lock. */
  readonly open: () => Promise<PostgresConnection>
  readonly epoch: () => number
  readonly clock: Clock
  readonly log: Log
  readonly onCommit?: ((durationMs: number, works: number) => void) | undefined
  /** Called when what was written in a transaction has been undone. */
  readonly onUndone: () => void
  /** Called when a transaction has ended, well or not. */
  readonly onEnded: () => void
  /** The time for which a lock that was lost may be had again; absent: for ever. */
  readonly fenceMs?: (() => number) | undefined
  /** Called once, with why, when this bridge has the database no more. */
  readonly onOvertaken: (why: string) => void
}

interface Work {
  readonly run: (sql: WorkSql) => Promise<unknown>
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

type Outcome = { readonly work: Work; readonly value?: unknown; readonly error?: unknown }

/** A statement of a work failed when the next work had begun already: the batch is run again, each work to its end. */
class LateFailure extends Error {}

/** Works in one commit. */
const MAX_BATCH = 1000
const MAX_PENDING = 200_000
/** The time that a write of which nobody waits for the end may wait for others to share a commit with. */
const SOON_MS = 5
/** The server ends a session that says nothing for 8 s. */
const ALIVE_MS = 2000
/** The pause between two tries to have a lost lock again. */
const AGAIN_MS = 500
/** The time for which it is asked what became of a commit whose answer was lost. */
const DOUBT_MS = 15_000
const OUTAGES = { quietMs: 10_000, lines: 1, maxKeys: 1, maxLines: 1 } as const

/**
 * The one writing connection. What is asked for while a transaction runs shares the next one; each work has a savepoint,
 * and is undone alone. Works run one after the other, in the order in which they were asked for.
 */
export class Writer {
  readonly #options: WriterOptions
  readonly #throttle: LogThrottle
  #connection: PostgresConnection | undefined
  #pending: Work[] = []
  /** The end of what was asked for last: all before it have ended then. */
  #last: Promise<void> = Promise.resolve()
  #running: Promise<void> | undefined
  #soon: (() => void) | undefined
  #alive: (() => void) | undefined
  /** The time at which the server was last asked something that it answered. */
  #answeredAt: MonotonicMs | undefined
  #fence: (() => void) | undefined
  #broken: { reason: string; since: WallMs; isFull: boolean } | undefined
  /** Somebody else has the database: for ever. */
  #overtaken: { reason: string; since: WallMs } | undefined
  #closed = false

  constructor(options: WriterOptions) {
    this.#options = options
    this.#throttle = new LogThrottle(options.clock, OUTAGES)
  }

  get pending(): number {
    return this.#pending.length
  }

  health(): StoreHealth {
    const trouble = this.#overtaken ?? this.#broken
    if (trouble === undefined) return { ok: true }
    const { reason, since } = trouble
    const away = this.#overtaken === undefined && this.#fence !== undefined && this.#broken?.isFull === false
    return { ok: false, reason, since, ...(away && { away }) }
  }

  async probe(): Promise<StoreHealth> {
    await this.transact((sql) => sql.run('UPDATE leader SET epoch = epoch WHERE cell = 0')).catch(
      () => undefined,
    )
    return this.health()
  }

  transact<T>(run: (sql: WorkSql) => Promise<T>): Promise<T> {
    const asked = this.#add(run)
    this.#start()
    return asked
  }

  /** The same for what nobody waits for. Keeps the order. */
  soon<T>(run: (sql: WorkSql) => Promise<T>): Promise<T> {
    const asked = this.#add(run)
    this.#soon ??= this.#options.clock.after(SOON_MS, () => this.#start())
    return asked
  }

  /** Resolves when everything asked for so far has ended, well or not; undefined when nothing is under way. */
  settled(): Promise<void> | undefined {
    if (this.#pending.length === 0 && !this.#running) return undefined
    this.#start()
    return this.#last
  }

  async close(): Promise<void> {
    this.#closed = true
    while (this.#pending.length > 0 || this.#running) {
      this.#start()
      await this.#running
    }
    this.#soon?.()
    this.#alive?.()
    this.#fence?.()
    await this.#connection?.close()
  }

  #add<T>(run: (sql: WorkSql) => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(unavailable('the database is closed'))
    if (this.#overtaken) return Promise.reject(unavailable(this.#overtaken.reason))
    if (this.#pending.length >= MAX_PENDING) return Promise.reject(unavailable('too many writes are waiting'))
    const asked = new Promise<T>((resolve, reject) => {
      this.#pending.push({ run, resolve: resolve as (value: unknown) => void, reject })
    })
    const ended = () => undefined
    this.#last = asked.then(ended, ended)
    return asked
  }

  #start(): void {
    if (this.#running || this.#pending.length === 0) return
    this.#running = this.#batches().finally(() => {
      this.#running = undefined
      // What was asked for after the last look at what is pending.
      this.#start()
    })
  }

  async #batches(): Promise<void> {
    // What is asked for in one turn is one batch.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#pending.length > 0) {
      this.#soon?.()
      this.#soon = undefined
      await this.#batch(this.#pending.splice(0, MAX_BATCH))
    }
  }

  async #batch(works: readonly Work[]): Promise<void> {
    try {
      const connection = await this.#connected()
      const { outcomes, transaction } = await this.#run(connection, works).catch((error: unknown) =>
        this.#runAgain(connection, works, error),
      )
      await this.#commit(connection, transaction, works.length)
      this.#options.onEnded()
      this.#healed()
      for (const { work, ...end } of outcomes)
        'error' in end ? work.reject(end.error) : work.resolve(end.value)
    } catch (error) {
      await this.#fail(works, error)
    }
  }

  async #connected(): Promise<PostgresConnection> {
    if (this.#connection === undefined || this.#connection.failed) {
      this.#options.onUndone()
      return await this.#open()
    }
    return this.#connection
  }

  /** Connects, and has the lock then, of an epoch that is still this bridge's. */
  async #open(): Promise<PostgresConnection> {
    const askedAt = this.#options.clock.monotonicMs()
    const connection = await this.#options.open()
    this.#connection = connection
    // The time was up while it was connected to: nothing may be stored any more.
    if (this.#overtaken) throw unavailable(this.#overtaken.reason)
    this.#answeredAt = askedAt
    this.#fence?.()
    this.#fence = undefined
    connection.onEnd = () => this.#sessionEnded(connection)
    this.#keepAlive()
    return connection
  }

  /** Asks for the lock at once: whoever waits for it sees it free now. */
  #sessionEnded(connection: PostgresConnection): void {
    if (this.#closed || this.#overtaken || this.#running || connection !== this.#connection) return
    this.#brokenFor(new Error('Connection terminated'))
    this.#armFence()
    void this.#look().finally(() => this.#keepAlive())
  }

  #armFence(): void {
    const { fenceMs, epoch, clock } = this.#options
    if (fenceMs === undefined || epoch() < 0 || this.#fence || this.#overtaken || this.#closed) return
    const now = clock.monotonicMs()
    const limit = fenceMs()
    this.#fence = clock.after(Math.max(0, (this.#answeredAt ?? now) + limit - now), () =>
      this.#lose(
        `the lock of the database was lost and could not be had again within ${limit / 1000} s (lead.fenceSeconds)`,
      ),
    )
  }

  /** Runs the works; `each`: waits for the end of each before the next one begins. */
  async #run(connection: PostgresConnection, works: readonly Work[], each = false) {
    this.#send(connection, 'BEGIN')
    const [row] = await connection.all(
      'SELECT epoch, pg_current_xact_id()::text AS transaction FROM leader WHERE cell = 0 FOR SHARE',
    )
    this.compare(Number(row?.epoch))
    const outcomes: Outcome[] = []
    const sent: WorkSql[] = []
    for (const work of works) {
      const sql = new WorkSql(connection)
      // What was sent before has been looked at: a failure was that work's alone.
      if (each) sent.length = 0
      sent.push(sql)
      // Both in one message: two of five statements of a work would be these.
      if (outcomes.length === 0) this.#send(connection, 'SAVEPOINT work')
      else connection.script('RELEASE work; SAVEPOINT work').catch(() => undefined)
      outcomes.push(await this.#one(connection, work, sql, sent))
    }
    // All of them are answered when the last one is.
    for (const sql of sent) await ended(sql)
    return { outcomes, transaction: String(row?.transaction) }
  }

  /** Undoes a batch in which a statement failed, and runs it again, so that it is known whose statement it was. */
  async #runAgain(connection: PostgresConnection, works: readonly Work[], error: unknown) {
    if (!(error instanceof LateFailure) || connection.failed) throw error
    await connection.run('ROLLBACK')
    this.#options.onUndone()
    return this.#run(connection, works, true)
  }

  /**
   * Runs one work. When it ends well its writes are on their way, and the next one may begin: the server takes them in
   * order. When it throws, all that was sent is looked at: `sent` are the works whose writes may be on their way.
   */
  async #one(connection: PostgresConnection, work: Work, sql: WorkSql, sent: WorkSql[]): Promise<Outcome> {
    const alone = sent[0] === sql
    try {
      const value = await work.run(sql)
      if (alone) await sql.end()
      sql.close()
      return { work, value }
    } catch (thrown) {
      for (const before of sent.splice(0)) if (before !== sql) await ended(before)
      const error = sql.causeOf(thrown)
      await sql.end().catch(() => undefined)
      if (isStorageFailure(error) || connection.failed) throw error
      this.#send(connection, 'ROLLBACK TO work')
      this.#options.onUndone()
      return { work, error }
    }
  }

  /** Is not awaited: when it fails, so does what comes after it. */
  #send(connection: PostgresConnection, text: string): void {
    connection.run(text).catch(() => undefined)
  }

  async #commit(connection: PostgresConnection, transaction: string, works: number): Promise<void> {
    const { clock, onCommit } = this.#options
    const startedAt = clock.monotonicMs()
    try {
      await connection.commit()
    } catch (error) {
      if (error instanceof CommitUndone) throw error
      // The answer is lost, and with it whether it is stored. Memory must not go on without knowing.
      if (!(await this.#wasCommitted(transaction))) throw error
    }
    this.#answeredAt = startedAt
    onCommit?.(clock.monotonicMs() - startedAt, works)
  }

  async #wasCommitted(transaction: string): Promise<boolean> {
    const { clock, log } = this.#options
    const until = clock.monotonicMs() + DOUBT_MS
    // The lock is lost with the connection: the doubt lasts no longer than the fence.
    this.#armFence()
    while (clock.monotonicMs() < until && !this.#closed && !this.#overtaken) {
      try {
        const connection = await this.#open()
        const [row] = await connection.all('SELECT pg_xact_status($1::xid8) AS status', transaction)
        if (row?.status !== 'in progress') return row?.status === 'committed'
      } catch {
        // It is not there yet. A connection that was there a moment ago would keep the lock from the next one.
        await this.#connection?.close()
      }
      await new Promise<void>((resolve) => clock.after(250, () => resolve()))
    }
    log.error(
      { transaction },
      'whether the last changes were stored is not known: the database went away while it stored them',
    )
    return false
  }

  /** Goes on when the epoch that stands in the database is this bridge's; else everything is refused from now on. */
  compare(epoch: number): void {
    if (epoch !== this.#options.epoch()) this.#overtake()
  }

  #overtake(): never {
    const reason = 'another bridge has taken the database over'
    this.#lose(reason)
    throw unavailable(reason)
  }

  /** Stores nothing from now on, and for ever. */
  #lose(reason: string): void {
    if (this.#overtaken) return
    this.#overtaken = { reason, since: this.#options.clock.wallMs() }
    this.#options.log.error({}, `${reason}; all changes are refused here`)
    this.#options.onOvertaken(reason)
  }

  async #fail(works: readonly Work[], error: unknown): Promise<void> {
    this.#options.onUndone()
    this.#options.onEnded()
    const connection = this.#connection
    this.#connection = undefined
    await connection?.close()
    if (this.#overtaken === undefined) this.#brokenFor(error)
    this.#armFence()
    const refusal = unavailable(this.#overtaken?.reason ?? reasonOf(error))
    for (const work of works) work.reject(refusal)
    this.#keepAlive()
  }

  #brokenFor(error: unknown): void {
    const { clock, log } = this.#options
    const reason = reasonOf(error)
    this.#broken = { reason, since: this.#broken?.since ?? clock.wallMs(), isFull: isFull(error) }
    if (this.#throttle.once('store'))
      log.error(
        { reason, error: detailOf(error) },
        'the database cannot store; new pairings and changes are refused',
      )
  }

  #healed(): void {
    if (this.#broken === undefined) return
    this.#broken = undefined
    if (this.#throttle.over('store')) this.#options.log.info({}, 'the database stores again')
  }

  /** Says something now and then: a session that says nothing is ended by the server, and its lock is free. */
  #keepAlive(): void {
    this.#alive?.()
    // One that never led has nothing to keep.
    if (this.#closed || this.#overtaken || this.#options.epoch() < 0) return
    this.#alive = this.#options.clock.after(this.#broken ? AGAIN_MS : ALIVE_MS, () => {
      if (this.#running) return this.#keepAlive()
      void this.#look().finally(() => this.#keepAlive())
    })
  }

  /** Reads whose the database is; where there is no connection, tries whether there can be one. */
  async #look(): Promise<void> {
    const connection = this.#connection
    if (connection === undefined || connection.failed) {
      await this.probe()
      return
    }
    try {
      const askedAt = this.#options.clock.monotonicMs()
      const [row] = await connection.all('SELECT epoch FROM leader WHERE cell = 0')
      this.compare(Number(row?.epoch))
      this.#answeredAt = askedAt
    } catch (error) {
      await this.#fail([], error)
    }
  }
}

/** Waits for the end of what a work has sent. @throws LateFailure when the server refused some of it for its data */
async function ended(sql: WorkSql): Promise<void> {
  await sql.end().catch((error: unknown) => {
    throw isStorageFailure(error) ? error : new LateFailure('a statement failed', { cause: error })
  })
}
