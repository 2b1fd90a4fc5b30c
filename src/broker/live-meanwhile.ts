/** Topics that are remembered for one session. Of more, a message may come twice, live and as retained. */
const MAX_TOPICS = 1000

/**
 * Remembers the topics of which a session was sent a live message with RETAIN between a SUBSCRIBE and the last retained
 * message that it brings. The live one is the newest of its topic, so what is retained there is left out: it would be
 * the same one again, or an older one behind it.
 */
export class LiveMeanwhile {
  /** Filters whose retained messages are not all sent. */
  #filters = 0
  readonly #topics = new Set<string>()

  /** A filter was granted. */
  asked(): void {
    this.#filters++
  }

  /** Ends this for filters whose retained messages were all sent. */
  sent(filters: number): void {
    this.#filters -= filters
    if (this.#filters === 0) this.#topics.clear()
  }

  /** A live message with RETAIN. */
  came(topic: string): void {
    if (this.#filters > 0 && this.#topics.size < MAX_TOPICS) this.#topics.add(topic)
  }

  has(topic: string): boolean {
    return this.#topics.has(topic)
  }
}
