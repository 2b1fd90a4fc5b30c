import type Sqlite from 'better-sqlite3'
import type { SteadyMark } from '../../../kernel/steady-clock.ts'

const KEY = 'running_ms'
const STEADY = 'steady'

/** Is the running time at which a row was born; rows of before that was kept count as born when the schema changed. */
export const BORN = "coalesce(running, (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'running_since'))"

/** Keeps the two clocks of what is stored: how long bridges have run on this database, and the steady one. */
export class RunningTime {
  readonly #get: Sqlite.Statement<[]>
  readonly #put: Sqlite.Statement<[string]>
  readonly #mark: Sqlite.Statement<[]>
  readonly #putMark: Sqlite.Statement<[string]>

  constructor(sql: Sqlite.Database) {
    this.#get = sql.prepare<[]>(`SELECT CAST(value AS INTEGER) FROM meta WHERE key = '${KEY}'`).pluck()
    this.#put = sql.prepare(`INSERT INTO meta (key, value) VALUES ('${KEY}', ?) ON CONFLICT (key) DO UPDATE
      SET value = excluded.value WHERE CAST(excluded.value AS INTEGER) > CAST(value AS INTEGER)`)
    this.#mark = sql.prepare<[]>(`SELECT value FROM meta WHERE key = '${STEADY}'`).pluck()
    this.#putMark = sql.prepare(`INSERT OR REPLACE INTO meta (key, value) VALUES ('${STEADY}', ?)`)
  }

  get(): number {
    return Number(this.#get.get() ?? 0)
  }

  put(ms: number): void {
    this.#put.run(String(Math.floor(ms)))
  }

  /** Returns the mark that was stored last; undefined: the steady clock begins now. */
  mark(): SteadyMark | undefined {
    const stored = this.#mark.get()
    if (typeof stored !== 'string') return undefined
    const mark = JSON.parse(stored) as Partial<SteadyMark>
    return Number.isFinite(mark.steadyMs) && Number.isFinite(mark.wallMs) ? (mark as SteadyMark) : undefined
  }

  putMark(mark: SteadyMark): void {
    this.#putMark.run(JSON.stringify(mark))
  }
}
