import { LIMITS } from '../../protocol/limits.ts'
import { asRow, type DisplayRow, itemsOf } from '../terminal/presentation.ts'
import type { Bridge } from './session.ts'

/** Rows that are collected before a listing is cut off: what a terminal or a pipe's reader can still use. */
const MAX_ITEMS = 1_000_000
/** Empty pages in a row: a filter that finds little makes the bridge answer with what a window held, of 500 rows or more. */
const MAX_EMPTY_PAGES = 10_000

export interface List {
  readonly items: readonly DisplayRow[]
  /** The cursor from which to go on, when the listing is not whole. */
  readonly next?: string
  /** Holds what the answer says beside its items, such as the uptime beside the history. */
  readonly [about: string]: unknown
}

/** One page after the other, until there are no more. An empty page is no end: the next one may have something. */
export async function* pagesOf(bridge: Bridge, verb: string, args: DisplayRow): AsyncGenerator<List> {
  let after = args.after
  let empty = 0
  for (;;) {
    const data = await bridge.request(verb, { ...args, ...(after === undefined ? {} : { after }) })
    const items = itemsOf(data)
    const { next, ...about } = asRow(data)
    yield typeof next === 'string' ? { ...about, items, next } : { ...about, items }
    empty = items.length === 0 ? empty + 1 : 0
    // A bridge that says "more" and goes nowhere would keep us here for ever.
    if (typeof next !== 'string' || next === after || empty >= MAX_EMPTY_PAGES) return
    after = next
  }
}

/** Every page of a list verb. */
export async function allPages(bridge: Bridge, verb: string, args: DisplayRow = {}): Promise<List> {
  const items: DisplayRow[] = []
  let next: string | undefined
  let about: DisplayRow = {}
  for await (const page of pagesOf(bridge, verb, { ...args, limit: LIMITS.listMax })) {
    items.push(...page.items)
    const { items: _, next: following, ...rest } = page
    next = following
    about = rest
    if (items.length >= MAX_ITEMS) break
  }
  return { ...about, items, ...(next === undefined ? {} : { next }) }
}
