import type Sqlite from 'better-sqlite3'
import type { Page, PolicyFilter } from '../../../bridge/ports.ts'
import type { PolicyRecord } from '../../../domain/records.ts'
import { LEVELS } from '../../../protocol/names.ts'
import { type PolicyKey, pageOf, policyKeyOf } from '../../paging.ts'
import { policyOfRow } from '../../records.ts'
import { RowReader } from '../../rows.ts'

/** Access policies by composite key (principal, node, capability). */
export class PoliciesTable {
  readonly #sql: Sqlite.Database
  readonly #reader = new RowReader('policies', ['principal', 'node_id', 'capability'])
  readonly #put: Sqlite.Statement
  readonly #delete: Sqlite.Statement
  readonly #at: Sqlite.Statement
  readonly #bad: Sqlite.Statement<[]>
  /** One statement for each combination of filters: at most four. */
  readonly #pages = new Map<string, Sqlite.Statement>()

  constructor(sql: Sqlite.Database) {
    this.#sql = sql
    this.#put =
      sql.prepare(`INSERT OR REPLACE INTO policies (principal, node_id, capability, level, set_at, set_by)
      VALUES (?, ?, ?, ?, ?, ?)`)
    this.#delete = sql.prepare('DELETE FROM policies WHERE principal = ? AND node_id = ? AND capability = ?')
    this.#at = sql.prepare(`SELECT * FROM policies
      WHERE principal = ? AND node_id = ? AND capability IN (?, '*')`)
    this.#bad = sql.prepare(`SELECT * FROM policies
      WHERE level NOT IN (${LEVELS.map((level) => `'${level}'`).join(', ')}) LIMIT 1`)
  }

  put({ principal, nodeId, capability, level, setAt, setBy }: PolicyRecord): void {
    this.#put.run(principal, nodeId, capability, level, setAt, setBy)
  }

  delete(...key: PolicyKey): boolean {
    return this.#delete.run(...key).changes > 0
  }

  /** Two point look-ups in the primary key, however many policies there are. */
  at(...key: PolicyKey): PolicyRecord[] {
    return this.#at.all(...key).map((row) => policyOfRow(row, this.#reader))
  }

  /** @throws Refusal `invalid_request` for an `after` that no page gave. */
  page(filter: PolicyFilter, after: string | undefined, limit: number): Page<PolicyRecord> {
    const values: unknown[] = after === undefined ? ['', '', ''] : [...policyKeyOf(after)]
    if (filter.principal !== undefined) values.push(filter.principal)
    if (filter.nodeId !== undefined) values.push(filter.nodeId)
    const rows = this.#pageStatement(filter)
      .all(...values, limit + 1)
      .map((row) => policyOfRow(row, this.#reader))
    return pageOf(rows, limit, (policy) => `${policy.principal}/${policy.nodeId}/${policy.capability}`)
  }

  /** Throws for the first row that does not parse. */
  check(): void {
    const row = this.#bad.get()
    if (row !== undefined) policyOfRow(row, this.#reader)
  }

  #pageStatement(filter: PolicyFilter): Sqlite.Statement {
    const where =
      (filter.principal === undefined ? '' : ' AND principal = ?') +
      (filter.nodeId === undefined ? '' : ' AND node_id = ?')
    let statement = this.#pages.get(where)
    if (!statement) {
      statement = this.#sql.prepare(`SELECT * FROM policies WHERE (principal, node_id, capability) > (?, ?, ?)
        ${where} ORDER BY principal, node_id, capability LIMIT ?`)
      this.#pages.set(where, statement)
    }
    return statement
  }
}
