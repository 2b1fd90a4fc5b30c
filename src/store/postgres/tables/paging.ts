import type { Order } from '../../../bridge/ports.ts'
import { cursorOf, MAX_SEQ, PAGE_BYTES, rowsWithin, WINDOW_ROWS, type WindowPage } from '../../paging.ts'
import type { Sql, Value } from '../connection.ts'

/** A comparison up to its value, such as `at >= `; one whose value is undefined does not apply. */
type Condition = readonly [comparison: string, value: Value | undefined]

export interface WindowAsked {
  readonly table: 'audit' | 'invocations'
  /** Conditions on columns with an index on (column, seq), the rarest first. */
  readonly indexed: readonly Condition[]
  readonly where: readonly Condition[]
  readonly order: Order
  readonly after: string | undefined
  readonly limit: number
}

/**
 * A page of a table that is ordered by its number. It looks at a bounded window of rows, so a page may hold fewer than
 * asked for, none even, and still name the next one.
 *
 * @throws Refusal `invalid_request` for an `after` that no page gave.
 */
export async function windowPage(sql: Sql, query: WindowAsked): Promise<WindowPage> {
  const [compare, direction] = query.order === 'newest' ? ['<', 'DESC'] : ['>', 'ASC']
  const start = query.after === undefined ? (query.order === 'newest' ? MAX_SEQ : 0) : cursorOf(query.after)
  const given = (conditions: readonly Condition[]) =>
    conditions.filter((each): each is readonly [string, Value] => each[1] !== undefined)
  const [index, ...others] = given(query.indexed)
  const values: Value[] = [start]
  const place = (value: Value) => `$${values.push(value)}`
  const equal = index === undefined ? '' : ` AND ${index[0]}${place(index[1])}`
  const windowValues = [...values]
  const window = `SELECT * FROM ${query.table} WHERE seq ${compare} $1${equal} ORDER BY seq ${direction} LIMIT ${WINDOW_ROWS}`
  const conditions = [...others, ...given(query.where)].map(
    ([comparison, value]) => `${comparison}${place(value)}${comparison.includes('(') ? ')' : ''}`,
  )
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`
  const rows = await sql.all(
    `SELECT * FROM (${window}) w${where} ORDER BY seq ${direction} LIMIT ${place(query.limit + 1)}`,
    ...values,
  )
  const kept = Math.min(query.limit, rowsWithin(rows, PAGE_BYTES))
  if (rows.length > kept) {
    const page = rows.slice(0, kept)
    return { rows: page, next: String(page.at(-1)?.seq) }
  }
  const [edge] = await sql.all(
    `SELECT seq FROM (${window}) w ORDER BY seq ${direction} LIMIT 1 OFFSET ${WINDOW_ROWS - 1}`,
    ...windowValues,
  )
  return { rows, next: edge === undefined ? undefined : String(edge.seq) }
}
