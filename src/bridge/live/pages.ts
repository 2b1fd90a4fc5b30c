/** Pages of what is in memory: bounded in number, in bytes and in what is looked at. */

/** Bytes of JSON of one page; the item that reaches it is the last. */
const PAGE_BYTES = 524_288
/** Items that one page looks at, however rare what is looked for is. */
const MAX_LOOKED_AT = 5000

export interface MemoryPage<T> {
  readonly items: readonly T[]
  /** The key of the last item that was looked at; absent: there are no more. */
  readonly next?: string
}

export interface MemoryQuery<S, T> {
  /** The items in the order of their keys, those after the page before. */
  readonly source: Iterable<S>
  readonly limit: number
  keyOf(each: S): string
  /** Makes what is shown of it; undefined: it is not asked for. */
  show(each: S): T | undefined
}

/** A page may hold fewer items than asked for, none even, and still name the next one. */
export function pageInMemory<S, T>({ source, limit, keyOf, show }: MemoryQuery<S, T>): MemoryPage<T> {
  const items: T[] = []
  let bytes = 0
  let looked = 0
  let last = ''
  for (const each of source) {
    if (items.length >= limit || bytes >= PAGE_BYTES || looked >= MAX_LOOKED_AT) return { items, next: last }
    looked++
    last = keyOf(each)
    const shown = show(each)
    if (shown === undefined) continue
    bytes += JSON.stringify(shown).length
    items.push(shown)
  }
  return { items }
}
