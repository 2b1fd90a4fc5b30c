/** Topics that are remembered; beyond, all count as touched and the comparison is made once more. */
const MAX_TOPICS = 100_000

/**
 * Topics of which something was said while the store is read, which takes its time: what was read of them may be
 * older, or wrongly missing.
 */
export class DirtyTopics {
  readonly #topics = new Set<string>()
  #watching = false
  #overflowed = false

  /** There were too many to remember. */
  get overflowed(): boolean {
    return this.#overflowed
  }

  /** A reading begins; what was said before is in the store. */
  start(): void {
    this.#topics.clear()
    this.#overflowed = false
    this.#watching = true
  }

  stop(): void {
    this.start()
    this.#watching = false
  }

  add(topic: string): void {
    if (!this.#watching || this.#overflowed) return
    if (this.#topics.size >= MAX_TOPICS) this.#overflowed = true
    else this.#topics.add(topic)
  }

  has(topic: string): boolean {
    return this.#topics.has(topic)
  }
}
