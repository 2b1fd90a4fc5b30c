import type Sqlite from 'better-sqlite3'
import type { Page } from '../../../bridge/ports.ts'
import type { PrincipalRecord } from '../../../domain/records.ts'
import { pageOf } from '../../paging.ts'
import { principalOfRow } from '../../records.ts'
import { RowReader } from '../../rows.ts'

/** People and programs that use limbs. */
export class PrincipalsTable {
  readonly #reader = new RowReader('principals', ['name'])
  readonly #one: Sqlite.Statement<[string]>
  readonly #among: Sqlite.Statement<[string], string>
  readonly #page: Sqlite.Statement<[string, number]>
  readonly #all: Sqlite.Statement<[]>
  readonly #put: Sqlite.Statement
  readonly #deletes: readonly Sqlite.Statement<[string]>[]
  readonly #countAdmins: Sqlite.Statement<[number]>

  constructor(sql: Sqlite.Database) {
    this.#one = sql.prepare('SELECT * FROM principals WHERE name = ?')
    this.#among = sql
      .prepare<[string], string>('SELECT name FROM principals WHERE name IN (SELECT value FROM json_each(?))')
      .pluck()
    this.#page = sql.prepare('SELECT * FROM principals WHERE name > ? ORDER BY name LIMIT ?')
    this.#all = sql.prepare('SELECT * FROM principals')
    this.#put =
      sql.prepare(`INSERT OR REPLACE INTO principals (name, role, password_hash, created_at, created_by)
      VALUES (?, ?, ?, ?, ?)`)
    this.#deletes = [
      sql.prepare('DELETE FROM principals WHERE name = ?'),
      sql.prepare('DELETE FROM policies WHERE principal = ?'),
    ]
    this.#countAdmins = sql
      .prepare<[number]>("SELECT count(*) FROM (SELECT 1 FROM principals WHERE role = 'admin' LIMIT ?)")
      .pluck()
  }

  get(name: string): PrincipalRecord | null {
    const row = this.#one.get(name)
    return row === undefined ? null : principalOfRow(row, this.#reader)
  }

  /** Returns those of a list of names, as JSON, that are principals. */
  among(names: string): string[] {
    return this.#among.all(names)
  }

  page(after: string | undefined, limit: number): Page<PrincipalRecord> {
    const rows = this.#page.all(after ?? '', limit + 1).map((row) => principalOfRow(row, this.#reader))
    return pageOf(rows, limit, (principal) => principal.name)
  }

  put(principal: PrincipalRecord): void {
    const { name, role, passwordHash, createdAt, createdBy } = principal
    this.#put.run(name, role, passwordHash, createdAt, createdBy)
  }

  /** Deletes a principal and its policies. */
  delete(name: string): void {
    for (const statement of this.#deletes) statement.run(name)
  }

  countAdmins(max: number): number {
    return Number(this.#countAdmins.get(max + 1))
  }

  /** Throws for the first row that does not parse. */
  check(): void {
    for (const row of this.#all.all()) principalOfRow(row, this.#reader)
  }
}
