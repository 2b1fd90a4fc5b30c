/** Keeps what waits in turns: one group after the other, and within a group the oldest first. */
export class FairQueue<T> {
  readonly #max: number
  readonly #isOver: (item: T) => boolean
  readonly #dropped: (item: T, why: 'full' | 'over') => void
  /** The group whose turn it is comes first; none is empty. */
  readonly #groups = new Map<string, T[]>()
  #size = 0

  /** Items that are over leave no later than at their turn, and before anybody else is dropped because it is full. */
  constructor(max: number, isOver: (item: T) => boolean, dropped: (item: T, why: 'full' | 'over') => void) {
    this.#max = max
    this.#isOver = isOver
    this.#dropped = dropped
  }

  get size(): number {
    return this.#size
  }

  /**
   * Adds an item. Without room the newest of the group with the most goes: this one, when no group has more than its
   * own.
   */
  push(group: string, item: T): void {
    if (this.#size >= this.#max) this.#dropOver()
    if (this.#size >= this.#max && !this.#makeRoom(group)) {
      this.#dropped(item, 'full')
      return
    }
    const own = this.#groups.get(group)
    if (own === undefined) this.#groups.set(group, [item])
    else own.push(item)
    this.#size++
  }

  /** Takes the next one out. */
  next(): T | undefined {
    for (const [group, items] of this.#groups) {
      const item = items.shift() as T
      this.#size--
      this.#groups.delete(group)
      if (items.length > 0) this.#groups.set(group, items)
      if (!this.#isOver(item)) return item
      this.#dropped(item, 'over')
    }
    return undefined
  }

  #dropOver(): void {
    for (const [group, items] of this.#groups) {
      const over = items.filter((item) => this.#isOver(item))
      if (over.length === 0) continue
      this.#keep(
        group,
        items.filter((item) => !over.includes(item)),
      )
      this.#size -= over.length
      for (const item of over) this.#dropped(item, 'over')
    }
  }

  #makeRoom(group: string): boolean {
    const mine = this.#groups.get(group)?.length ?? 0
    const [most, items] = [...this.#groups].reduce((one, other) =>
      other[1].length > one[1].length ? other : one,
    )
    if (items.length <= mine + 1) return false
    const newest = items.at(-1) as T
    this.#keep(most, items.slice(0, -1))
    this.#size--
    this.#dropped(newest, 'full')
    return true
  }

  #keep(group: string, items: T[]): void {
    if (items.length === 0) this.#groups.delete(group)
    else this.#groups.set(group, items)
  }
}
