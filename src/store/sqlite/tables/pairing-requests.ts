import type Sqlite from 'better-sqlite3'
import type { RequestBounds } from '../../../bridge/ports.ts'
import type { PairingRequestRecord } from '../../../domain/records.ts'
import { addressGroup } from '../../../kernel/address.ts'
import { requestOfRow, requestValues } from '../../records.ts'
import { RowReader } from '../../rows.ts'

/** Requests that wait for an operator; bounded by the limits of pairing, not here. */
export class PairingRequestsTable {
  readonly #reader = new RowReader('requests', ['request_id'])
  readonly #one: Sqlite.Statement<[string]>
  readonly #ofNode: Sqlite.Statement<[string]>
  readonly #ofNodes: Sqlite.Statement<[string]>
  readonly #sizes: Sqlite.Statement<[]>
  readonly #put: Sqlite.Statement
  readonly #delete: Sqlite.Statement<[string]>
  readonly #count: Sqlite.Statement<[number]>
  readonly #addresses6: Sqlite.Statement<[], string>
  readonly #countFrom: Sqlite.Statement<[string, number]>

  constructor(sql: Sqlite.Database) {
    this.#one = sql.prepare('SELECT * FROM requests WHERE request_id = ?')
    this.#ofNode = sql.prepare('SELECT * FROM requests WHERE node_id = ? ORDER BY requested_at, request_id')
    this.#ofNodes = sql.prepare(
      'SELECT * FROM requests WHERE node_id IN (SELECT value FROM json_each(?)) ORDER BY requested_at, request_id',
    )
    // The size is in the head of a row: what is too large is not even read.
    this.#sizes = sql.prepare(
      'SELECT request_id, expires_at, octet_length(registration) AS bytes FROM requests ORDER BY expires_at DESC, request_id',
    )
    this.#put =
      sql.prepare(`INSERT OR REPLACE INTO requests (request_id, node_id, kind, revision, registration, salt,
      hash, code, address, requested_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
    this.#delete = sql.prepare('DELETE FROM requests WHERE request_id = ?')
    this.#count = sql.prepare<[number]>('SELECT count(*) FROM (SELECT 1 FROM requests LIMIT ?)').pluck()
    this.#addresses6 = sql
      .prepare<[], string>(`SELECT address FROM requests WHERE address LIKE '%:%'`)
      .pluck()
    this.#countFrom = sql
      .prepare<[string, number]>('SELECT count(*) FROM (SELECT 1 FROM requests WHERE address = ? LIMIT ?)')
      .pluck()
  }

  get(requestId: string): PairingRequestRecord | null {
    const row = this.#one.get(requestId)
    return row === undefined ? null : requestOfRow(row, this.#reader)
  }

  ofNode(nodeId: string): PairingRequestRecord[] {
    return this.#ofNode.all(nodeId).map((row) => requestOfRow(row, this.#reader))
  }

  /** Returns the requests for a list of names, as JSON. */
  ofNodes(names: string): PairingRequestRecord[] {
    return this.#ofNodes.all(names).map((row) => requestOfRow(row, this.#reader))
  }

  /** Picks the requests that may be loaded: those that were heard of last, within the bounds. */
  within({ now, maxRequests, maxBytes }: RequestBounds): { kept: string[]; beyond: string[] } {
    const kept: string[] = []
    const beyond: string[] = []
    let bytes = 0
    for (const row of this.#sizes.all() as { request_id: string; expires_at: number; bytes: number }[]) {
      const fits = row.expires_at > now && kept.length < maxRequests && bytes + row.bytes <= maxBytes
      if (fits) bytes += row.bytes
      ;(fits ? kept : beyond).push(row.request_id)
    }
    return { kept, beyond }
  }

  deleteAll(requestIds: readonly string[]): void {
    for (const requestId of requestIds) this.#delete.run(requestId)
  }

  put(request: PairingRequestRecord): void {
    this.#put.run(...requestValues(request))
  }

  delete(requestId: string): void {
    this.#delete.run(requestId)
  }

  count(max: number): number {
    return Number(this.#count.get(max + 1))
  }

  /** Counts the requests from an address; an IPv6 network is one. */
  countFrom(address: string, max: number): number {
    const network = addressGroup(address)
    if (network === address) return Number(this.#countFrom.get(address, max + 1))
    let count = 0
    for (const each of this.#addresses6.iterate()) {
      if (addressGroup(each) === network && ++count > max) break
    }
    return count
  }
}
