/**
 * Sets and maps of which most objects never use their own: an empty one takes a word, where an empty Set or Map takes some
 * 180 bytes. A session has fifteen of them, and there are as many sessions as limbs.
 */

const NO_ITEMS: ReadonlySet<never> = new Set<never>()
const NO_ENTRIES: ReadonlyMap<never, never> = new Map<never, never>()

/** Works like a Set that is made when something is added, and given up by `clear`. */
export class LazySet<T> {
  #items: Set<T> | undefined

  get size(): number {
    return this.#items === undefined ? 0 : this.#items.size
  }

  has(item: T): boolean {
    return this.#items?.has(item) === true
  }

  add(item: T): this {
    this.#items ??= new Set()
    this.#items.add(item)
    return this
  }

  delete(item: T): boolean {
    return this.#items?.delete(item) === true
  }

  clear(): void {
    this.#items = undefined
  }

  [Symbol.iterator](): IterableIterator<T> {
    return (this.#items ?? NO_ITEMS).values()
  }
}

/** Works like a Map that is made when something is set, and given up by `clear`. */
export class LazyMap<K, V> {
  #entries: Map<K, V> | undefined

  get size(): number {
    return this.#entries === undefined ? 0 : this.#entries.size
  }

  has(key: K): boolean {
    return this.#entries?.has(key) === true
  }

  get(key: K): V | undefined {
    return this.#entries?.get(key)
  }

  set(key: K, value: V): this {
    this.#entries ??= new Map()
    this.#entries.set(key, value)
    return this
  }

  delete(key: K): boolean {
    return this.#entries?.delete(key) === true
  }

  clear(): void {
    this.#entries = undefined
  }

  keys(): IterableIterator<K> {
    return (this.#entries ?? NO_ENTRIES).keys()
  }

  [Symbol.iterator](): IterableIterator<[K, V]> {
    return (this.#entries ?? NO_ENTRIES).entries()
  }
}
