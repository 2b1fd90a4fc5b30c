/** Delays between attempts to connect: doubling, bounded, and never the same for two bridges. */

const FIRST_MS = 1000
const MAX_MS = 60_000

export class Backoff {
  readonly #random: () => number
  #ceilingMs = FIRST_MS

  constructor(random: () => number) {
    this.#random = random
  }

  /** Milliseconds: between half of a ceiling and the whole; the ceiling doubles with each call. */
  next(): number {
    const ceiling = this.#ceilingMs
    this.#ceilingMs = Math.min(MAX_MS, ceiling * 2)
    return (ceiling / 2) * (1 + this.#random())
  }

  reset(): void {
    this.#ceilingMs = FIRST_MS
  }
}
