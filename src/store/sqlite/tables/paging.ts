import type Sqlite from 'better-sqlite3'
import type { Order } from '../../../bridge/ports.ts'
import {
  cursorOf,
  MAX_SEQ,
  PAGE_BYTES,
  rowsWithin,
  SPARSE_ROWS,
  WINDOW_ROWS,
  type WindowPage,
} from '../../paging.ts'
import type { SqlRow } from '../../rows.ts'
import type { ChainTable } from './audit-chain.ts'

export interface WindowQuery {
  readonly table: ChainTable | 'invocations'
  /** Columns with an index on (column, seq); those whose value is undefined do not apply. The rarest first. */
  readonly indexed: readonly (readonly [column: string, value: unknown])[]
  /** The conditions; those whose value is undefined do not apply. */
  readonly where: readonly (readonly [condition: string, value: unknown])[]
  readonly order: Order
  readonly after: string | undefined
  readonly limit: number
}

/**
 * A page of a table that is ordered by its number. It looks at a bounded window of rows, those with the value of an
 * indexed column if one is asked for, so a page may hold fewer than asked for, none even, and still name the next one.
 *
 * @throws Refusal `invalid_request` for an `after` that no page gave.
 */
export function windowPage(sql: Sqlite.Database, query: WindowQuery): WindowPage {
  const [compare, direction] = query.order === 'newest' ? ['<', 'DESC'] : ['>', 'ASC']
  const start = query.after === undefined ? (query.order === 'newest' ? MAX_SEQ : 0) : cursorOf(query.after)
  const [index, ...others] = query.indexed.filter(([, value]) => value !== undefined)
  const conditions = [
    ...others.map(([column, value]) => [`${column} = ?`, value] as const),
    ...query.where.filter(([, value]) => value !== undefined),
  ]
  const from = index === undefined ? query.table : `${query.table} INDEXED BY ${query.table}_by_${index[0]}`
  const equal = index === undefined ? '' : ` AND ${index[0]} = ?`
  const most = index !== undefined && conditions.length > 0 ? SPARSE_ROWS : WINDOW_ROWS
  const window = `SELECT * FROM ${from} WHERE seq ${compare} ?${equal} ORDER BY seq ${direction} LIMIT ${most}`
  const windowValues = index === undefined ? [start] : [start, index[1]]
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.map(([text]) => text).join(' AND ')}`
  const rows = sql
    .prepare(`SELECT * FROM (${window})${where} ORDER BY seq ${direction} LIMIT ?`)
    .all(...windowValues, ...conditions.map(([, value]) => value), query.limit + 1) as SqlRow[]
  const kept = Math.min(query.limit, rowsWithin(rows, PAGE_BYTES))
  if (rows.length > kept) {
    const page = rows.slice(0, kept)
    return { rows: page, next: String(page.at(-1)?.seq) }
  }
  const edge = sql
    .prepare(`SELECT seq FROM (${window}) ORDER BY seq ${direction} LIMIT 1 OFFSET ${most - 1}`)
    .pluck()
    .get(...windowValues)
  return { rows, next: edge === undefined ? undefined : String(edge) }
}

/** Makes one page of the pages of several tables that share one sequence of numbers. */
export function mergedPage(pages: readonly WindowPage[], order: Order, limit: number): WindowPage {
  const sign = order === 'newest' ? -1 : 1
  const place = (row: SqlRow) => sign * Number(row.seq)
  // Beyond the nearest of their ends, one of them may have rows that it has not shown yet.
  const ends = pages.flatMap(({ next }) => (next === undefined ? [] : sign * Number(next)))
  const end = Math.min(...ends)
  const rows = pages
    .flatMap((page) => page.rows)
    .filter((row) => place(row) <= end)
    .sort((a, b) => place(a) - place(b))
  const kept = Math.min(limit, rowsWithin(rows, PAGE_BYTES))
  if (rows.length > kept) {
    const page = rows.slice(0, kept)
    return { rows: page, next: String(page.at(-1)?.seq) }
  }
  return { rows, next: ends.length === 0 ? undefined : String(sign * end) }
}
