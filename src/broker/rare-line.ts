import type { Clock, MonotonicMs } from '../kernel/clock.ts'

const QUIET_MS = 10_000

/** What is said at most once in ten seconds, with a count: a client that repeats itself cannot fill the disk. */
export class RareLine {
  readonly #clock: Clock
  #count = 0
  #saidAt: MonotonicMs | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Calls `say` with how often it happened since it was said last, or keeps count. */
  say(say: (count: number) => void): void {
    this.#count++
    const now = this.#clock.monotonicMs()
    if (this.#saidAt !== undefined && now - this.#saidAt < QUIET_MS) return
    this.#saidAt = now
    say(this.#count)
    this.#count = 0
  }
}
