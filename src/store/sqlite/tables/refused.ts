import type Sqlite from 'better-sqlite3'
import type { RefusedKey, RefusedWidening } from '../../../domain/records.ts'
import { RowReader } from './rows.ts'

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
  readonly #expire: readonly Sqlite.Statement<[number, number]>[]

  /** Each connection of a candidate is compared with each refused key of its node: `maxPerNode` bounds that. */
  constructor(sql: Sqlite.Database, maxPerNode: number) {
    this.#maxPerNode = maxPerNode
    this.#keys = sql.prepare('SELECT * FROM refused_keys WHERE node_id = ? AND until > ?')
    this.#putKey = sql.prepare(
      'INSERT OR REPLACE INTO refused_keys (node_id, hash, salt, until) VALUES (?, ?, ?, ?)',
    )
    this.#trimKeys = sql.prepare(`DELETE FROM refused_keys WHERE node_id = ? AND hash NOT IN
      (SELECT hash FROM refused_keys WHERE node_id = ? ORDER BY until DESC, hash LIMIT ?)`)
    this.#widening = sql.prepare('SELECT * FROM refused_widenings WHERE node_id = ? AND until > ?')
    this.#putWidening = sql.prepare(
      'INSERT OR REPLACE INTO refused_widenings (node_id, fingerprint, until) VALUES (?, ?, ?)',
    )
    this.#expire = (['refused_keys', 'refused_widenings'] as const).map((table) => {
      const key = table === 'refused_keys' ? '(node_id, hash)' : 'node_id'
      const columns = table === 'refused_keys' ? 'node_id, hash' : 'node_id'
      return sql.prepare(
        `DELETE FROM ${table} WHERE ${key} IN (SELECT ${columns} FROM ${table} WHERE until <= ? LIMIT ?)`,
      )
    })
  }

  keys(nodeId: string, now: number): RefusedKey[] {
    return this.#keys.all(nodeId, now).map((row) => {
      const reader = this.#keyReader.of(row)
      return {
        nodeId: reader.text('node_id'),
        key: reader.key('salt', 'hash'),
        until: reader.integer('until'),
      }
    })
  }

  putKey({ nodeId, key, until }: RefusedKey): void {
    this.#putKey.run(nodeId, key.hash, key.salt, until)
    this.#trimKeys.run(nodeId, nodeId, this.#maxPerNode)
  }

  widening(nodeId: string, now: number): RefusedWidening | null {
    const row = this.#widening.get(nodeId, now)
    if (row === undefined) return null
    const reader = this.#wideningReader.of(row)
    return {
      nodeId: reader.text('node_id'),
      fingerprint: reader.text('fingerprint'),
      until: reader.integer('until'),
    }
  }

  putWidening({ nodeId, fingerprint, until }: RefusedWidening): void {
    this.#putWidening.run(nodeId, fingerprint, until)
  }

  /** Forgets what is over, at most `limit` of each kind in one call. Returns the number of rows. */
  expire(now: number, limit = MAX_EXPIRED_AT_ONCE): number {
    return this.#expire.reduce((sum, statement) => sum + statement.run(now, limit).changes, 0)
  }
}
