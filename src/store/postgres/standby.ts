import type { Clock, MonotonicMs } from '../../kernel/clock.ts'
import type { Leader, OnStandby } from '../engine.ts'
import { StoreError } from '../errors.ts'
import { PostgresConnection, type PostgresServerOptions } from './connection.ts'
import { cannotLead, isStorageFailure, unavailable } from './errors.ts'
import { leaderOf, refuseFollower } from './lock.ts'

/** Waits until no other bridge has the database. */

export interface WaitOptions extends PostgresServerOptions {
  readonly clock: Clock
  /** The time that another bridge is given to be gone where there is no standby. */
  readonly patienceMs?: number
}

const LOOK_MS = 250
/** A leader whose session alone has ended connects again at once, and is to find its lock free. */
const FREE_MS = 500
/** The time that the leader has to come first after an outage of the server: it asks twice a second, and gives up a try after 5 s. */
const HEAD_START_MS = 6000

const pause = (clock: Clock, ms: number) => new Promise<void>((resolve) => void clock.after(ms, resolve))

export class LockWait {
  readonly #options: WaitOptions
  readonly #standby: OnStandby | undefined
  #connection: PostgresConnection | undefined
  /** Another bridge was seen to have it: from then on nothing that the server says or does not say ends the wait. */
  #waits = false
  /** The server was away since the leader was last seen. */
  #outage = false
  #told: string | undefined
  #stopped = false

  constructor(options: WaitOptions, standby: OnStandby | undefined) {
    this.#options = options
    this.#standby = standby
  }

  /** Resolves when the lock is free, which another standby may see too. Rejects with a StartError that says what to do. */
  async untilFree(): Promise<void> {
    const { clock, patienceMs = 0 } = this.#options
    const until = clock.monotonicMs() + patienceMs
    let freeSince: MonotonicMs | undefined
    for (;;) {
      if (this.#stopped) throw unavailable('the database is closed')
      const seen = await this.#look()
      if (seen !== undefined) {
        freeSince = undefined
        if (this.#standby === undefined && clock.monotonicMs() >= until) throw taken(seen)
      } else if (this.#connection !== undefined) {
        freeSince ??= clock.monotonicMs()
        const wait = this.#outage ? HEAD_START_MS : FREE_MS
        if (!this.#waits || clock.monotonicMs() - freeSince >= wait) return
      }
      await pause(clock, LOOK_MS)
    }
  }

  /** Says whether to wait on after a try to take the lock has failed so. */
  goesOn(error: unknown): boolean {
    return this.#standby !== undefined && this.#waits && isStorageFailure(error)
  }

  /** Another bridge was quicker. */
  lostRace(): void {
    this.#waits = this.#standby !== undefined
  }

  /** Ends the wait, which rejects. */
  stop(): void {
    this.#stopped = true
  }

  async close(): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    await connection?.close()
  }

  async #look(): Promise<Leader | undefined> {
    try {
      this.#connection ??= await opened(this.#options)
      const leader = await leaderOf(this.#connection, this.#options.schema)
      if (leader !== undefined) this.#sees(leader)
      return leader
    } catch (error) {
      await this.close()
      if (!this.#waits) throw cannotLead(error)
      this.#outage = true
      this.#tell(undefined)
      return undefined
    }
  }

  #sees(leader: Leader): void {
    this.#outage = false
    if (this.#standby === undefined) return
    this.#waits = true
    this.#tell(leader)
  }

  #tell(leader: Leader | undefined): void {
    const text = JSON.stringify(leader ?? null)
    if (text === this.#told) return
    this.#told = text
    this.#standby?.(leader)
  }
}

function taken({ name, since }: Leader): StoreError {
  const when = since === undefined ? '' : `, since ${new Date(since).toISOString()}`
  return new StoreError(
    `Another bridge has the database: ${name}${when}. Stop that one first, or give this one a schema of its own with store.schema.`,
  )
}

/** Opens a connection to a server that can be led on. */
async function opened(options: PostgresServerOptions): Promise<PostgresConnection> {
  const connection = await PostgresConnection.open(options)
  try {
    await checkServer(connection)
    return connection
  } catch (error) {
    await connection.close()
    throw error
  }
}

const MIN_VERSION = 140_000

async function checkServer(connection: PostgresConnection): Promise<void> {
  const [row] = await connection.all(`SELECT current_setting('server_version_num')::int AS number,
    current_setting('server_version') AS version, current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS follows`)
  if (Number(row?.number) < MIN_VERSION)
    throw new StoreError(`The server is PostgreSQL ${row?.version}; the bridge needs 14 or newer.`)
  if (row?.encoding !== 'UTF8')
    throw new StoreError(
      `The database has the encoding ${row?.encoding}; make one with UTF8: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.`,
    )
  refuseFollower(row?.follows)
}
