import type { Log } from '../../bridge/ports.ts'
import type { Clock } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { RunningClock } from '../../kernel/running-clock.ts'
import type { SteadyMark } from '../../kernel/steady-clock.ts'
import { StoreError } from '../errors.ts'
import { PostgresConnection, type PostgresServerOptions, type Sql } from './connection.ts'
import { isStorageFailure, reasonOf } from './errors.ts'
import { MIGRATIONS } from './schema.ts'
import { Writer } from './writer.ts'

export interface PostgresOptions extends PostgresServerOptions {
  readonly clock: Clock
  readonly log: Log
  readonly onCommit?: (durationMs: number, works: number) => void
}

/** A database of PostgreSQL, for this bridge alone. It is connected to when it is first asked for something. */
export interface PostgresDatabase {
  readonly writer: Writer
  /** The clock by which rows get old. */
  readonly running: RunningClock
  /** Connects, brings the schema up, and takes the database. Rejects with why not. */
  ready(): Promise<void>
  /** Asks what is committed. Rejects with Refusal `storage_unavailable` when the server is not there. */
  read<T>(work: (sql: Sql) => Promise<T>): Promise<T>
  /** A read on a connection of its own that sees one moment, however long it takes. */
  readMoment<T>(work: (sql: Sql) => Promise<T>): Promise<T>
  /** Called when a transaction, or one work of it, was undone. */
  onUndone: () => void
  close(): Promise<void>
}

/** "limb" in ASCII: with the hash of the schema's name a number that no other program's lock has, with some luck. */
const LOCK_CLASS = 0x6c696d62
/** The kernel of a frozen bridge answers for it: the server ends its session, and the lock is free. It asks every 2 s. */
const LEAD_IDLE_MS = 8000

export function openPostgres(options: PostgresOptions): PostgresDatabase {
  const { clock, log, onCommit, schema } = options
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema))
    throw new StoreError(
      `The schema ${JSON.stringify(schema)} is not a name of lower-case letters, digits and _.`,
    )
  const running = new RunningClock(clock)
  let epoch = -1
  let reader: Promise<PostgresConnection> | undefined
  let current: PostgresConnection | undefined

  const lead = async (): Promise<PostgresConnection> => {
    const connection = await PostgresConnection.open(options, LEAD_IDLE_MS)
    try {
      await takeLock(connection, options)
      if (epoch < 0) {
        await migrate(connection, schema)
        await continueRunning(connection, running)
        epoch = await raiseEpoch(connection)
      }
      return connection
    } catch (error) {
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
    }),
    running,
    onUndone: () => {},
    async ready() {
      if (epoch >= 0) return
      await database.writer.transact(async () => {})
    },
    async read(work) {
      await database.ready()
      try {
        return await work(await connected())
      } catch (error) {
        throw asRefusal(error)
      }
    },
    async readMoment(work) {
      await database.ready()
      const connection = await PostgresConnection.open(options)
      try {
        await connection.run('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
        return await work(connection)
      } catch (error) {
        throw asRefusal(error)
      } finally {
        await connection.close()
      }
    },
    async close() {
      await database.writer.close()
      await reader?.then((each) => each.close()).catch(() => undefined)
    },
  }

  /** One for all reads: whoever comes while it is opened waits for the same one. */
  function connected(): Promise<PostgresConnection> {
    if (reader === undefined || current?.failed) {
      current = undefined
      const opening = PostgresConnection.open(options)
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

/** Refuses what cannot be reached as such: it never looks like a wrong password, and who signs in is told to come again. */
function asRefusal(error: unknown): unknown {
  if (!isStorageFailure(error)) return error
  return new Refusal(
    'storage_unavailable',
    `the database cannot be read now: ${reasonOf(error)}; try again later`,
  )
}

async function takeLock(connection: PostgresConnection, { schema }: PostgresServerOptions): Promise<void> {
  const [row] = await connection.all(
    `SELECT pg_try_advisory_lock(${LOCK_CLASS}, hashtext($1)) AS taken`,
    schema,
  )
  if (row?.taken === true) return
  throw new Refusal('storage_unavailable', 'another bridge has the database')
}

/** Forward only, and under the lock: no other bridge migrates at the same time. */
async function migrate(connection: PostgresConnection, schema: string): Promise<void> {
  await connection.script('BEGIN')
  // Asked first: a user who may not make one can be given one.
  const there = await connection.all('SELECT 1 FROM pg_namespace WHERE nspname = $1', schema)
  if (there.length === 0) await connection.script(`CREATE SCHEMA ${schema}`)
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

async function raiseEpoch(connection: PostgresConnection): Promise<number> {
  const [row] = await connection.all('UPDATE leader SET epoch = epoch + 1 WHERE cell = 0 RETURNING epoch')
  return Number(row?.epoch)
}

async function continueRunning(connection: PostgresConnection, running: RunningClock): Promise<void> {
  const rows = await connection.all("SELECT key, value FROM meta WHERE key IN ('running_ms', 'steady')")
  const stored = new Map(rows.map(({ key, value }) => [key, String(value)]))
  const mark = JSON.parse(stored.get('steady') ?? '{}') as Partial<SteadyMark>
  const whole = Number.isFinite(mark.steadyMs) && Number.isFinite(mark.wallMs)
  running.continueFrom(Number(stored.get('running_ms') ?? 0), whole ? (mark as SteadyMark) : undefined)
}
