/** A change of what is retained on one topic. */
export interface RetainedChange {
  readonly topic: string
  readonly rows: number
  readonly bytes: number
}

/** Prefixes that are remembered; one that is not is summed again when it is asked for. */
const MAX_PREFIXES = 10_000

/**
 * Counts retained messages and their bytes, in all and below the prefixes that were asked about. Kept in memory beside
 * the table: a change is made when its statement has run, and taken back when its commit fails.
 */
export class RetainedSums {
  readonly #below = new Map<string, number>()
  rows: number
  bytes: number

  constructor(rows: number, bytes: number) {
    this.rows = rows
    this.bytes = bytes
  }

  add({ topic, rows, bytes }: RetainedChange, sign: 1 | -1 = 1): void {
    this.rows += sign * rows
    this.bytes += sign * bytes
    for (let at = topic.indexOf('/'); at >= 0; at = topic.indexOf('/', at + 1)) {
      const prefix = topic.slice(0, at + 1)
      const sum = this.#below.get(prefix)
      if (sum !== undefined) this.#below.set(prefix, sum + sign * bytes)
    }
  }

  /** Returns the bytes below a prefix; `sum` counts them once. */
  below(prefix: string, sum: () => number): number {
    let bytes = this.#below.get(prefix)
    if (bytes === undefined) {
      if (this.#below.size >= MAX_PREFIXES) this.#below.clear()
      bytes = sum()
      this.#below.set(prefix, bytes)
    }
    return bytes
  }
}
