import type { Log } from '../../bridge/ports.ts'
import type { Clock } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { RunningClock } from '../../kernel/running-clock.ts'
import type { SteadyMark } from '../../kernel/steady-clock.ts'
import type { Epoch, Leader, Leadership } from '../engine.ts'
import { StoreError } from '../errors.ts'
import { PostgresConnection, type PostgresServerOptions, quoted, type Sql } from './connection.ts'
import { cannotLead, readRefused, unavailable, unreachable } from './errors.ts'
import { channelOf } from './key-cache.ts'
import { epochOf, raiseEpoch, requirePrimary, takeLock } from './lock.ts'
import { MIGRATIONS } from './schema.ts'
import { LockWait } from './standby.ts'
import { StandbyNodes } from './standby-nodes.ts'
import { Writer } from './writer.ts'

export interface PostgresOptions extends PostgresServerOptions {
  readonly clock: Clock
  readonly log: Log
  readonly onCommit?: (durationMs: number, works: number) => void
  /** The time that another bridge is given to be gone where there is no standby; the server ends the session of a frozen one in 8 s. */
  readonly patienceMs?: number
  /** The bridge that has lost its lock for so long has it no more; left out: it is tried for ever. */
  readonly fenceMs?: () => number
  /** The name of this bridge, as others are told who leads. */
  readonly name?: string
  /** The limbs that a standby holds. */
  readonly maxHeld?: number
}

/** A database of PostgreSQL, for this bridge alone. It is connected to when it is first asked for something. */
export interface PostgresDatabase extends Leadership {
  readonly writer: Writer
  /** The clock by which rows get old. */
  readonly running: RunningClock
  /** The limbs that this bridge holds while another one leads. */
  readonly standbyNodes: StandbyNodes
  /** Asks what is committed. Rejects with Refusal `storage_unavailable` when the server is not there. */
  read<T>(work: (sql: Sql) => Promise<T>): Promise<T>
  /** A read on a connection of its own that sees one moment, however long it takes. */
  readMoment<T>(work: (sql: Sql) => Promise<T>): Promise<T>
  /** Called when a transaction, or one work of it, was undone. */
  onUndone: () => void
  /** Called when a transaction has ended, well or not. */
  onEnded: () => void
  /** Called with what the server tells of changes; undefined: some of it may not have come. */
  onTold: (told: string | undefined) => void
  /** Returns whether what the server tells would have come: the connection stands, and answered a moment ago. */
  hears(): boolean
  close(): Promise<void>
}

/** A connection that has not answered for longer may be dead without a word. */
const HEARS_MS = 10_000

/** The kernel of a frozen bridge answers for it: the server ends its session, and the lock is free. It asks every 2 s. */
const LEAD_IDLE_MS = 8000

export function openPostgres(options: PostgresOptions): PostgresDatabase {
  const { clock, log, onCommit, schema, fenceMs, name = 'a bridge without a name' } = options
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema))
    throw new StoreError(
      `The schema ${JSON.stringify(schema)} is not a name of lower-case letters, digits and _.`,
    )
  const running = new RunningClock(clock)
  let epoch: Epoch = -1
  let leads: Leader | undefined
  let isLost: (why: string) => void = () => {}
  /** The reason why the database could not be taken, in more than the words of a refusal. */
  let failure: unknown
  const lost = new Promise<string>((resolve) => {
    isLost = resolve
  })
  let reader: Promise<PostgresConnection> | undefined
  let current: PostgresConnection | undefined
  let answeredAt = clock.monotonicMs()
  let isClosed = false
  let waiting: LockWait | undefined

  const lead = async (): Promise<PostgresConnection> => {
    const connection = await PostgresConnection.open(options, LEAD_IDLE_MS)
    try {
      await requirePrimary(connection)
      // Whose it is comes first: one that was taken over does not wait for the lock.
      if (epoch >= 0) database.writer.compare(await epochOf(connection))
      await takeLock(connection, options.schema)
      if (epoch < 0) {
        await migrate(connection, schema)
        await continueRunning(connection, running)
        const since = clock.wallMs()
        epoch = await raiseEpoch(connection, name, since)
        leads = { name, since }
        await database.standbyNodes.mark(connection, epoch)
      }
      return connection
    } catch (error) {
      failure = error
      await connection.close()
      throw error
    }
  }
  const database: PostgresDatabase = {
    writer: new Writer({
      open: lead,
      epoch: () => epoch,
      clock,
      log,
      onCommit,
      onUndone: () => database.onUndone(),
      onEnded: () => database.onEnded(),
      fenceMs,
      onOvertaken: isLost,
    }),
    running,
    standbyNodes: new StandbyNodes({
      clock,
      log,
      schema,
      connected,
      // One that does not answer may not end either: nobody waits for it.
      hangUp: () => void current?.close(),
      maxHeld: options.maxHeld,
    }),
    lost,
    get leads() {
      return leads
    },
    onUndone: () => {},
    onEnded: () => {},
    onTold: () => {},
    hears: () => current?.failed === false && clock.monotonicMs() - answeredAt < HEARS_MS,
    get heldLimbs() {
      return database.standbyNodes.size
    },
    async lead(standby) {
      const waits = (leader: Leader | undefined) => {
        database.standbyNodes.start()
        standby?.(leader)
      }
      const wait = new LockWait(options, standby && waits)
      waiting = wait
      try {
        for (;;) {
          await wait.untilFree()
          if (await isTaken(wait)) return epoch
        }
      } finally {
        await wait.close()
      }
    },
    async read(work) {
      await ready()
      const connection = await connected().catch(unreachable)
      return await work(answering(connection)).catch(readRefused)
    },
    async readMoment(work) {
      await ready()
      const connection = await PostgresConnection.open(options).catch(unreachable)
      try {
        await connection.run('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
        return await work(connection)
      } catch (error) {
        return readRefused(error)
      } finally {
        await connection.close()
      }
    },
    async close() {
      isClosed = true
      waiting?.stop()
      database.standbyNodes.close()
      await database.writer.close()
      await reader?.then((each) => each.close()).catch(() => undefined)
    },
  }

  /** Returns false when another standby was quicker, or the server has gone meanwhile; rejects when nothing will help. */
  async function isTaken(wait: LockWait): Promise<boolean> {
    failure = undefined
    try {
      await ready()
      return true
    } catch (error) {
      const cause = failure ?? error
      // The lock itself says so: what it was taken for is what another bridge has.
      if (cause instanceof Refusal) wait.lostRace()
      else if (!wait.goesOn(cause)) throw cannotLead(cause)
      return false
    }
  }

  /** Connects, brings the schema up, and takes the database, unless that is done. */
  async function ready(): Promise<void> {
    // A read would open a connection that nobody closes.
    if (isClosed) throw unavailable('the database is closed')
    if (epoch < 0) await database.writer.transact(async () => {})
  }

  function tell(told: string | undefined): void {
    database.standbyNodes.heard(told)
    database.onTold(told)
  }

  async function openReader(): Promise<PostgresConnection> {
    const connection = await PostgresConnection.open(options)
    try {
      await connection.listen(channelOf(schema), tell)
      // What was told while nobody listened.
      tell(undefined)
      answeredAt = clock.monotonicMs()
      return connection
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  /** Notes when the server answers. */
  function answering(connection: PostgresConnection): Sql {
    const noted = async <T>(asked: Promise<T>): Promise<T> => {
      const answer = await asked
      answeredAt = clock.monotonicMs()
      return answer
    }
    return {
      all: (text, ...values) => noted(connection.all(text, ...values)),
      run: (text, ...values) => noted(connection.run(text, ...values)),
    }
  }

  /** One for all reads: whoever comes while it is opened waits for the same one. */
  function connected(): Promise<PostgresConnection> {
    if (reader === undefined || current?.failed) {
      current = undefined
      const opening = openReader()
      reader = opening
      opening.then(
        (connection) => {
          current = connection
        },
        () => {
          if (reader === opening) reader = undefined
        },
      )
    }
    return reader
  }
  return database
}

/** Forward only, and under the lock: no other bridge migrates at the same time. */
async function migrate(connection: PostgresConnection, schema: string): Promise<void> {
  await connection.script('BEGIN')
  // Asked first: a user who may not make one can be given one.
  const there = await connection.all('SELECT 1 FROM pg_namespace WHERE nspname = $1', schema)
  if (there.length === 0) await connection.script(`CREATE SCHEMA ${quoted(schema)}`)
  await connection.script('CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)')
  const [row] = await connection.all('SELECT version FROM schema_version')
  const version = Number(row?.version ?? 0)
  if (version > MIGRATIONS.length) {
    throw new StoreError(
      `The schema ${schema} has version ${version}, and this bridge knows versions up to ${MIGRATIONS.length}: it was ` +
        'written by a newer version. Nothing was changed. Install that version again.',
    )
  }
  for (const step of MIGRATIONS.slice(version)) await connection.script(step)
  await connection.script(
    `DELETE FROM schema_version; INSERT INTO schema_version VALUES (${MIGRATIONS.length})`,
  )
  await connection.script('COMMIT')
}

async function continueRunning(connection: PostgresConnection, running: RunningClock): Promise<void> {
  const rows = await connection.all("SELECT key, value FROM meta WHERE key IN ('running_ms', 'steady')")
  const stored = new Map(rows.map(({ key, value }) => [key, String(value)]))
  const mark = JSON.parse(stored.get('steady') ?? '{}') as Partial<SteadyMark>
  const whole = Number.isFinite(mark.steadyMs) && Number.isFinite(mark.wallMs)
  running.continueFrom(Number(stored.get('running_ms') ?? 0), whole ? (mark as SteadyMark) : undefined)
}
