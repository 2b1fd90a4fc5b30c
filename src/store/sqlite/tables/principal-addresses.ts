import type Sqlite from 'better-sqlite3'
import type { KnownAddress } from '../../../bridge/ports.ts'
import { addressOfRow } from '../../records.ts'
import { RowReader } from '../../rows.ts'

/** The newest addresses that are kept of one principal. */
const MAX_PER_NAME = 16
/** The newest addresses that are read at a start. */
const MAX_LOADED = 16_000

/** The addresses that principals signed in from. */
export class PrincipalAddressesTable {
  readonly #reader = new RowReader('principal_addresses', ['name', 'address'])
  readonly #all: Sqlite.Statement<[number]>
  readonly #put: Sqlite.Statement<[string, number, string]>
  readonly #trim: Sqlite.Statement<[string, string, number]>
  readonly #delete: Sqlite.Statement<[string]>

  constructor(sql: Sqlite.Database) {
    this.#all = sql.prepare(
      'SELECT * FROM (SELECT * FROM principal_addresses ORDER BY used_at DESC LIMIT ?) ORDER BY used_at',
    )
    // A principal that was removed meanwhile leaves nothing behind.
    this.#put = sql.prepare(`INSERT OR REPLACE INTO principal_addresses (name, address, used_at)
      SELECT name, ?, ? FROM principals WHERE name = ?`)
    this.#trim = sql.prepare(`DELETE FROM principal_addresses WHERE name = ? AND address NOT IN
      (SELECT address FROM principal_addresses WHERE name = ? ORDER BY used_at DESC LIMIT ?)`)
    this.#delete = sql.prepare('DELETE FROM principal_addresses WHERE name = ?')
  }

  all(): KnownAddress[] {
    return this.#all.all(MAX_LOADED).map((row) => addressOfRow(row, this.#reader))
  }

  put({ name, address, usedAt }: KnownAddress): void {
    this.#put.run(address, usedAt, name)
    this.#trim.run(name, name, MAX_PER_NAME)
  }

  delete(name: string): void {
    this.#delete.run(name)
  }
}
