import type Sqlite from 'better-sqlite3'
import type { Page } from '../../../bridge/ports.ts'
import type { RefusedEntry, RefusedKey, RefusedWidening } from '../../../domain/records.ts'
import { refusedEntryOfRow, refusedKeyOfRow, refusedWideningOfRow } from '../../records.ts'
import { RowReader } from '../../rows.ts'

const MAX_EXPIRED_AT_ONCE = 1000

/** Keys and widenings that an operator rejected, remembered until their time is up. */
export class RefusedTable {
  readonly #maxPerNode: number
  readonly #keyReader = new RowReader('refused_keys', ['node_id'])
  readonly #wideningReader = new RowReader('refused_widenings', ['node_id'])
  readonly #keys: Sqlite.Statement<[string, number]>
  readonly #putKey: Sqlite.Statement
  readonly #trimKeys: Sqlite.Statement<[string, string, number]>
  readonly #widening: Sqlite.Statement<[string, number]>
  readonly #putWidening: Sqlite.Statement
  readonly #page: Sqlite.Statement<[{ now: number; after: string; limit: number }]>
  readonly #forgive: readonly Sqlite.Statement<[string]>[]
  readonly #expire: readonly Sqlite.Statement<[number, number]>[]

  /** Each connection of a candidate is compared with each refused key of its node: `maxPerNode` bounds that. */
  constructor(sql: Sqlite.Database, maxPerNode: number) {
    this.#maxPerNode = maxPerNode
    this.#keys = sql.prepare('SELECT * FROM refused_keys WHERE node_id = ? AND until > ?')
    this.#putKey = sql.prepare(
      'INSERT OR REPLACE INTO refused_keys (node_id, hash, salt, why, at, until) VALUES (?, ?, ?, ?, ?, ?)',
    )
    this.#trimKeys = sql.prepare(`DELETE FROM refused_keys WHERE node_id = ? AND hash NOT IN
      (SELECT hash FROM refused_keys WHERE node_id = ? ORDER BY until DESC, hash LIMIT ?)`)
    this.#widening = sql.prepare('SELECT * FROM refused_widenings WHERE node_id = ? AND until > ?')
    this.#putWidening = sql.prepare(
      'INSERT OR REPLACE INTO refused_widenings (node_id, fingerprint, at, until) VALUES (?, ?, ?, ?)',
    )
    this.#page = sql.prepare(`SELECT * FROM (
        SELECT node_id, why, at, until, node_id || ' ' || lower(hex(hash)) AS place FROM refused_keys WHERE until > $now
        UNION ALL
        SELECT node_id, 'widening_rejected', at, until, node_id || ' ' FROM refused_widenings WHERE until > $now
      ) WHERE place > $after ORDER BY place LIMIT $limit`)
    this.#forgive = [
      sql.prepare('DELETE FROM refused_keys WHERE node_id = ?'),
      sql.prepare('DELETE FROM refused_widenings WHERE node_id = ?'),
    ]
    this.#expire = (['refused_keys', 'refused_widenings'] as const).map((table) => {
      const key = table === 'refused_keys' ? '(node_id, hash)' : 'node_id'
      const columns = table === 'refused_keys' ? 'node_id, hash' : 'node_id'
      return sql.prepare(
        `DELETE FROM ${table} WHERE ${key} IN (SELECT ${columns} FROM ${table} WHERE until <= ? LIMIT ?)`,
      )
    })
  }

  keys(nodeId: string, now: number): RefusedKey[] {
    return this.#keys.all(nodeId, now).map((row) => refusedKeyOfRow(row, this.#keyReader))
  }

  putKey({ nodeId, key, why, at, until }: RefusedKey): void {
    this.#putKey.run(nodeId, key.hash, key.salt, why, at, until)
    this.#trimKeys.run(nodeId, nodeId, this.#maxPerNode)
  }

  widening(nodeId: string, now: number): RefusedWidening | null {
    const row = this.#widening.get(nodeId, now)
    return row === undefined ? null : refusedWideningOfRow(row, this.#wideningReader)
  }

  putWidening({ nodeId, fingerprint, at, until }: RefusedWidening): void {
    this.#putWidening.run(nodeId, fingerprint, at, until)
  }

  /** Returns what is refused at `now`, in order of nodeId. A cursor is the node and, for a key, the key's hash. */
  page(now: number, after: string | undefined, limit: number): Page<RefusedEntry> {
    const rows = this.#page.all({ now, after: after ?? '', limit: limit + 1 })
    const items = rows.slice(0, limit).map((row) => refusedEntryOfRow(row, this.#keyReader))
    if (rows.length <= limit) return { items, next: undefined }
    return { items, next: this.#keyReader.of(rows[limit - 1]).text('place') }
  }

  forgive(nodeId: string): number {
    return this.#forgive.reduce((sum, statement) => sum + statement.run(nodeId).changes, 0)
  }

  /** Forgets what is over, at most `limit` of each kind in one call. Returns the number of rows. */
  expire(now: number, limit = MAX_EXPIRED_AT_ONCE): number {
    return this.#expire.reduce((sum, statement) => sum + statement.run(now, limit).changes, 0)
  }
}
