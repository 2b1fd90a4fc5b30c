import type Sqlite from 'better-sqlite3'
import type { Order, Page } from '../../../bridge/ports.ts'
import { Refusal } from '../../../kernel/errors.ts'
import type { SqlRow } from './rows.ts'

/** A page from up to `limit + 1` rows: the one too many only says that there is more. */
export function pageOf<T>(rows: readonly T[], limit: number, key: (item: T) => string): Page<T> {
  if (rows.length <= limit) return { items: rows, next: null }
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return { items, next: last === undefined ? null : key(last) }
}

/** Rows that one page looks at: some 20 ms of event loop, however rare what is looked for is. */
const WINDOW_ROWS = 20_000

export interface WindowQuery {
  readonly table: 'audit' | 'invocations'
  /** A condition that an index on (column, seq) serves. */
  readonly index: readonly [condition: string, value: unknown] | null
  /** Those whose value is undefined do not apply. */
  readonly where: readonly (readonly [condition: string, value: unknown])[]
  readonly order: Order
  readonly after: string | null
  readonly limit: number
}

/**
 * A page of a table that is ordered by its number. It looks at a bounded window of rows, so a page may hold
 * fewer than asked for, none even, and still name the next one.
 *
 * @throws Refusal `invalid_request` for an `after` that no page gave.
 */
export function windowPage(
  sql: Sqlite.Database,
  query: WindowQuery,
): { rows: SqlRow[]; next: string | null } {
  const [compare, direction] = query.order === 'newest' ? ['<', 'DESC'] : ['>', 'ASC']
  const start = query.after === null ? (query.order === 'newest' ? MAX_SEQ : 0) : cursorOf(query.after)
  const conditions = query.where.filter(([, value]) => value !== undefined)
  const index = query.index === null ? '' : ` AND ${query.index[0]}`
  const window = `SELECT * FROM ${query.table} WHERE seq ${compare} ?${index} ORDER BY seq ${direction} LIMIT ${WINDOW_ROWS}`
  const windowValues = query.index === null ? [start] : [start, query.index[1]]
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.map(([text]) => text).join(' AND ')}`
  const rows = sql
    .prepare(`SELECT * FROM (${window})${where} ORDER BY seq ${direction} LIMIT ?`)
    .all(...windowValues, ...conditions.map(([, value]) => value), query.limit + 1) as SqlRow[]
  if (rows.length > query.limit) {
    rows.pop()
    return { rows, next: String(rows.at(-1)?.['seq']) }
  }
  const edge = sql
    .prepare(`SELECT seq FROM (${window}) ORDER BY seq ${direction} LIMIT 1 OFFSET ${WINDOW_ROWS - 1}`)
    .pluck()
    .get(...windowValues)
  return { rows, next: edge === undefined ? null : String(edge) }
}

const MAX_SEQ = Number.MAX_SAFE_INTEGER

function cursorOf(after: string): number {
  if (!/^\d{1,15}$/.test(after)) {
    throw new Refusal('invalid_request', 'after: use the "next" of the page before', 'after')
  }
  return Number(after)
}
