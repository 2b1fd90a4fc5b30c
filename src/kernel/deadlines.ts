/**
 * Deadlines of a hundred thousand things in one structure, for one timer. A binary min-heap of entries that
 * are allowed to be stale: moving a deadline later costs nothing (the entry is looked at when it comes up and
 * put back), moving it earlier adds an entry. So a heartbeat, which only moves a deadline later, never
 * touches the heap.
 */
export interface Deadlined {
  /** The time at which it is due; Infinity: never. The owner may move it later at any time without a word. */
  deadline: number
  /** The earliest time at which the heap has seen it due; Infinity: not in the heap. Owned by the heap. */
  scheduledAt: number
}

interface Entry<T> {
  readonly at: number
  readonly item: T
}

/** Stale entries are swept out when they are more than the live ones and this many. */
const STALE_SLACK = 1024

export class DeadlineHeap<T extends Deadlined> {
  #entries: Entry<T>[] = []
  #live = 0

  /** Entries, stale ones included. */
  get size(): number {
    return this.#entries.length
  }

  /** The earliest time at which something may be due; Infinity when nothing is. */
  get next(): number {
    return this.#entries[0]?.at ?? Number.POSITIVE_INFINITY
  }

  /** Must be called when an item is new or its deadline has moved earlier. */
  schedule(item: T): void {
    if (item.deadline >= item.scheduledAt || item.deadline === Number.POSITIVE_INFINITY) return
    if (item.scheduledAt === Number.POSITIVE_INFINITY) this.#live++
    item.scheduledAt = item.deadline
    this.#push({ at: item.deadline, item })
    if (this.#entries.length > 2 * this.#live + STALE_SLACK) this.#dropStale()
  }

  /** The item is done with. Without this, what ended early would be kept until its time comes. */
  forget(item: T): void {
    if (item.scheduledAt === Number.POSITIVE_INFINITY) return
    item.scheduledAt = Number.POSITIVE_INFINITY
    this.#live--
    if (this.#entries.length > 2 * this.#live + STALE_SLACK) this.#dropStale()
  }

  /** A limb that drops and comes back over and over leaves an entry each time: they must not pile up. */
  #dropStale(): void {
    const live = this.#entries.filter((entry) => entry.at === entry.item.scheduledAt)
    // A sorted array is a heap.
    this.#entries = live.sort((a, b) => a.at - b.at)
  }

  /** Takes out one item whose deadline is at or before `now`, or undefined. Puts back what is not due yet. */
  takeDue(now: number): T | undefined {
    for (;;) {
      const top = this.#entries[0]
      if (!top || top.at > now) return undefined
      this.#pop()
      const { item, at } = top
      // An older entry of an item that was scheduled earlier meanwhile: its newer entry stands for it.
      if (at !== item.scheduledAt) continue
      item.scheduledAt = Number.POSITIVE_INFINITY
      this.#live--
      if (item.deadline <= now) return item
      this.schedule(item)
    }
  }

  #push(entry: Entry<T>): void {
    const heap = this.#entries
    let index = heap.length
    heap.push(entry)
    while (index > 0) {
      const up = (index - 1) >> 1
      const parent = heap[up]
      if (!parent || parent.at <= entry.at) break
      heap[index] = parent
      index = up
    }
    heap[index] = entry
  }

  #pop(): void {
    const heap = this.#entries
    const last = heap.pop()
    if (!last || heap.length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      const right = heap[child + 1]
      let smaller = heap[child]
      if (!smaller) break
      if (right && right.at < smaller.at) {
        smaller = right
        child++
      }
      if (smaller.at >= last.at) break
      heap[index] = smaller
      index = child
    }
    heap[index] = last
  }
}
