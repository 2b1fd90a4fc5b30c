import { LazyMap } from '../kernel/lazy-collections.ts'

/** Topics that are remembered for one session. Of more, a message may come twice, live and as retained. */
const MAX_TOPICS = 1000

/**
 * Remembers the topics of which a session was sent a live message with RETAIN between a SUBSCRIBE and the last retained
 * message that it brings. The live one is the newest of its topic, so what is retained there is left out: it would be
 * the same one again, or an older one behind it.
 */
export class LiveMeanwhile {
  /** Filters whose retained messages are not all sent, each with the number of the live message before its SUBSCRIBE. */
  readonly #asked = new LazyMap<string, number>()
  #sending = 0
  /** The number of the last live message of each topic. */
  readonly #topics = new LazyMap<string, number>()
  #last = 0

  /** A filter was granted. */
  asked(filter: string): void {
    this.#asked.set(filter, this.#last)
  }

  /** Begins to send what is retained for these filters: the number from which on a live message stands for it. */
  begin(filters: readonly string[]): number {
    this.#sending++
    const since = filters.map((filter) => this.#asked.get(filter) ?? this.#last)
    for (const filter of filters) this.#asked.delete(filter)
    return Math.min(...since)
  }

  /** Ends what `begin` has begun. */
  end(): void {
    this.#sending--
    if (this.#sending > 0 || this.#asked.size > 0) return
    this.#topics.clear()
    this.#asked.clear()
  }

  /** A live message with RETAIN. */
  came(topic: string): void {
    if (this.#sending === 0 && this.#asked.size === 0) return
    if (this.#topics.size < MAX_TOPICS || this.#topics.has(topic)) this.#topics.set(topic, ++this.#last)
  }

  /** Returns whether a live message of this topic has come, `since` the SUBSCRIBE for which `begin` was called. */
  has(topic: string, since: number): boolean {
    return (this.#topics.get(topic) ?? 0) > since
  }
}
