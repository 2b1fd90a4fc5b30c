import type Sqlite from 'better-sqlite3'
import type { Page } from '../../../bridge/ports.ts'
import type { TokenRecord, TokenUse } from '../../../domain/records.ts'
import { pageOf } from '../../paging.ts'
import { tokenOfRow } from '../../records.ts'
import { RowReader } from '../../rows.ts'

/** Holds the tokens of principals, each as its hash. */
export class TokensTable {
  readonly #reader = new RowReader('tokens', ['token_id'])
  readonly #one: Sqlite.Statement<[string]>
  readonly #byHash: Sqlite.Statement<[Uint8Array]>
  readonly #page: Sqlite.Statement<[string | null, string | null, string, number]>
  readonly #count: Sqlite.Statement<[string, number]>
  readonly #put: Sqlite.Statement
  readonly #delete: Sqlite.Statement<[string]>
  readonly #deleteOf: Sqlite.Statement<[string]>
  readonly #used: Sqlite.Statement<[number, string, string]>

  constructor(sql: Sqlite.Database) {
    this.#one = sql.prepare('SELECT * FROM tokens WHERE token_id = ?')
    this.#byHash = sql.prepare('SELECT * FROM tokens WHERE hash = ?')
    this.#page = sql.prepare(
      'SELECT * FROM tokens WHERE (? IS NULL OR principal = ?) AND token_id > ? ORDER BY token_id LIMIT ?',
    )
    this.#count = sql
      .prepare<[string, number]>(`SELECT count(*) FROM (SELECT 1 FROM tokens WHERE principal = ? LIMIT ?)`)
      .pluck()
    this.#put = sql.prepare(`INSERT INTO tokens
      (token_id, hash, name, principal, role, created_at, created_by, expires_at, last_used_at, last_address)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
    this.#delete = sql.prepare('DELETE FROM tokens WHERE token_id = ?')
    this.#deleteOf = sql.prepare('DELETE FROM tokens WHERE principal = ?')
    this.#used = sql.prepare('UPDATE tokens SET last_used_at = ?, last_address = ? WHERE token_id = ?')
  }

  get(tokenId: string): TokenRecord | null {
    const row = this.#one.get(tokenId)
    return row === undefined ? null : tokenOfRow(row, this.#reader)
  }

  byHash(hash: Uint8Array): TokenRecord | null {
    const row = this.#byHash.get(hash)
    return row === undefined ? null : tokenOfRow(row, this.#reader)
  }

  /** Returns tokens in the order of their ids, which is that of the times they were made at. */
  page(principal: string | undefined, after: string | undefined, limit: number): Page<TokenRecord> {
    const rows = this.#page
      .all(principal ?? null, principal ?? null, after ?? '', limit + 1)
      .map((row) => tokenOfRow(row, this.#reader))
    return pageOf(rows, limit, ({ tokenId }) => tokenId)
  }

  countOf(principal: string, max: number): number {
    return Number(this.#count.get(principal, max + 1))
  }

  put(token: TokenRecord): void {
    const { tokenId, hash, name, principal, role, createdAt, createdBy, expiresAt } = token
    const { lastUsedAt, lastAddress } = token
    this.#put.run(
      tokenId,
      hash,
      name,
      principal,
      role,
      createdAt,
      createdBy,
      expiresAt,
      lastUsedAt,
      lastAddress,
    )
  }

  delete(tokenId: string): void {
    this.#delete.run(tokenId)
  }

  deleteOf(principal: string): void {
    this.#deleteOf.run(principal)
  }

  used({ tokenId, at, address }: TokenUse): void {
    this.#used.run(at, address, tokenId)
  }
}
