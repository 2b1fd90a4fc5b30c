import { LIMITS } from '../protocol/limits.ts'
import type { Bridge } from './connection.ts'
import { asRow, itemsOf, type Row } from './presentation.ts'

/** Rows that are collected before a listing is cut off: what a terminal or a pipe's reader can still use. */
const MAX_ITEMS = 1_000_000

export interface List {
  readonly items: readonly Row[]
  /** Where to go on, when the listing is not whole. */
  readonly next?: string
}

/** Every page of a list verb. */
export async function allPages(bridge: Bridge, verb: string, args: Row = {}): Promise<List> {
  const items: Row[] = []
  let after: unknown
  do {
    const data = await bridge.request(verb, {
      ...args,
      limit: LIMITS.listMax,
      ...(after === undefined ? {} : { after }),
    })
    const page = itemsOf(data)
    items.push(...page)
    after = asRow(data).next
    // A bridge that says "more" with nothing to show would keep us here for ever.
    if (page.length === 0) break
  } while (typeof after === 'string' && items.length < MAX_ITEMS)
  return typeof after === 'string' ? { items, next: after } : { items }
}
