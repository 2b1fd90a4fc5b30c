import type Sqlite from 'better-sqlite3'

const KEY = 'running_ms'

/** Is the running time at which a row was born; rows of before that was kept count as born when the schema changed. */
export const BORN = "coalesce(running, (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'running_since'))"

/** Counts how long bridges have run on this database: the clock of every end that is stored. */
export class RunningTime {
  readonly #get: Sqlite.Statement<[]>
  readonly #put: Sqlite.Statement<[string]>

  constructor(sql: Sqlite.Database) {
    this.#get = sql.prepare<[]>(`SELECT CAST(value AS INTEGER) FROM meta WHERE key = '${KEY}'`).pluck()
    this.#put = sql.prepare(`INSERT INTO meta (key, value) VALUES ('${KEY}', ?) ON CONFLICT (key) DO UPDATE
      SET value = excluded.value WHERE CAST(excluded.value AS INTEGER) > CAST(value AS INTEGER)`)
  }

  get(): number {
    return Number(this.#get.get() ?? 0)
  }

  put(ms: number): void {
    this.#put.run(String(Math.floor(ms)))
  }
}
