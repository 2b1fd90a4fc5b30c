import type { Page } from '../bridge/ports.ts'
import { Refusal } from '../kernel/errors.ts'
import type { SqlRow } from './rows.ts'

/** A page from up to `limit + 1` rows: the one too many only says that there is more. */
export function pageOf<T>(rows: readonly T[], limit: number, key: (item: T) => string): Page<T> {
  if (rows.length <= limit) return { items: rows, next: undefined }
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return { items, next: last === undefined ? undefined : key(last) }
}

/** Rows that one page looks at: some 5 ms of event loop, however rare what is looked for is. */
export const WINDOW_ROWS = 5000
/** The same where an index leads to rows that are then looked at: each may lie in a part of the disk of its own. */
export const SPARSE_ROWS = 500
/** Texts of a page; the row that reaches it is the last. A page is encoded, sent and kept until it is read. */
export const PAGE_BYTES = 524_288

export interface WindowPage {
  readonly rows: readonly SqlRow[]
  /** The number up to which it looked; undefined: there is nothing more. */
  readonly next: string | undefined
}

/** Counts the first rows that have so many bytes of text; at least one. */
export function rowsWithin(rows: readonly SqlRow[], maxBytes: number): number {
  let bytes = 0
  const end = rows.findIndex((row) => {
    for (const value of Object.values(row)) if (typeof value === 'string') bytes += value.length
    return bytes > maxBytes
  })
  return end < 0 ? rows.length : Math.max(1, end)
}

export const MAX_SEQ = Number.MAX_SAFE_INTEGER

export function cursorOf(after: string): number {
  if (!/^\d{1,15}$/.test(after)) {
    throw new Refusal('invalid_request', 'after: use the "next" of the page before', 'after')
  }
  return Number(after)
}

export type PolicyKey = readonly [principal: string, nodeId: string, capability: string]

/** Reads a cursor of policies: no name, and not `*`, has a slash. */
export function policyKeyOf(cursor: string): PolicyKey {
  const [principal, nodeId, capability, more] = cursor.split('/')
  if (principal === undefined || nodeId === undefined || capability === undefined || more !== undefined) {
    throw new Refusal('invalid_request', 'after: use the "next" of the page before', 'after')
  }
  return [principal, nodeId, capability]
}
