/** Delays between attempts to connect: doubling, bounded, and never the same for two clients. */

export interface BackoffRange {
  /** The longest that the first delay may be, in milliseconds; the limit doubles with each further one. */
  readonly firstMs: number
  readonly maxMs: number
}

export class Backoff {
  readonly #random: () => number
  readonly #range: BackoffRange
  #ceilingMs: number

  /** `random` gives numbers from 0 up to 1. */
  constructor(random: () => number, range: BackoffRange) {
    this.#random = random
    this.#range = range
    this.#ceilingMs = range.firstMs
  }

  /** Milliseconds until the next attempt: from half of a limit to the whole, so that no later delay is shorter. */
  next(): number {
    const ceiling = this.#ceilingMs
    this.#ceilingMs = Math.min(this.#range.maxMs, ceiling * 2)
    return this.spread(ceiling)
  }

  /** A time from half of `ms` to the whole: a fleet that lost its bridge together must not come back in one instant. */
  spread(ms: number): number {
    return Math.round((ms / 2) * (1 + this.#random()))
  }

  reset(): void {
    this.#ceilingMs = this.#range.firstMs
  }
}
