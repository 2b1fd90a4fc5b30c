import type { Page } from '../bridge/ports.ts'

/** A page from up to `limit + 1` rows: the one too many only says that there is more. */
export function pageOf<T>(rows: readonly T[], limit: number, key: (item: T) => string): Page<T> {
  if (rows.length <= limit) return { items: rows, next: null }
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return { items, next: last === undefined ? null : key(last) }
}
