import type Sqlite from 'better-sqlite3'
import type { Page } from '../../../bridge/ports.ts'
import type { PrincipalRecord } from '../../../domain/records.ts'
import { isPasswordHash } from '../../../kernel/secrets.ts'
import { NAME_PATTERN, ROLES } from '../../../protocol/names.ts'
import { pageOf } from './paging.ts'
import { RowReader } from './rows.ts'

/** People and programs that use limbs. */
export class PrincipalsTable {
  readonly #reader = new RowReader('principals', ['name'])
  readonly #one: Sqlite.Statement<[string]>
  readonly #page: Sqlite.Statement<[string, number]>
  readonly #all: Sqlite.Statement<[]>
  readonly #put: Sqlite.Statement
  readonly #deletes: readonly Sqlite.Statement<[string]>[]
  readonly #countAdmins: Sqlite.Statement<[number]>

  constructor(sql: Sqlite.Database) {
    this.#one = sql.prepare('SELECT * FROM principals WHERE name = ?')
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
    return row === undefined ? null : this.#record(row)
  }

  page(after: string | null, limit: number): Page<PrincipalRecord> {
    const rows = this.#page.all(after ?? '', limit + 1).map((row) => this.#record(row))
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
    for (const row of this.#all.all()) this.#record(row)
  }

  #record(row: unknown): PrincipalRecord {
    const reader = this.#reader.of(row)
    const passwordHash = reader.text('password_hash')
    if (!isPasswordHash(passwordHash)) reader.bad('password_hash', 'is not a scrypt hash in PHC form')
    return {
      name: reader.matching('name', NAME_PATTERN),
      role: reader.oneOf('role', ROLES),
      passwordHash,
      createdAt: reader.integer('created_at'),
      createdBy: reader.text('created_by'),
    }
  }
}
