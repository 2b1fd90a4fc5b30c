import type { Clock, MonotonicMs, WallMs } from '../../src/kernel/clock.ts'

interface Timer {
  at: number
  order: number
  task: () => void
}

/** A clock that moves when it is told. Wall time can jump by itself, as on a board without an RTC. */
export class FakeClock implements Clock {
  #now = 1_000_000
  #wallOffset = Date.UTC(2026, 0, 1) - 1_000_000
  #order = 0
  #boots = 0
  readonly #timers = new Set<Timer>()

  wallMs(): WallMs {
    return (this.#now + this.#wallOffset) as WallMs
  }

  monotonicMs(): MonotonicMs {
    return this.#now as MonotonicMs
  }

  after(delayMs: number, task: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, delayMs), order: this.#order++, task }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  get boot(): { id: string; ms: () => number } {
    return { id: `boot ${this.#boots}`, ms: () => this.#now }
  }

  /** The machine starts anew: nothing but its wall clock knows how long that took. */
  reboot(): void {
    this.#boots++
  }

  get timers(): number {
    return this.#timers.size
  }

  jumpWall(ms: number): void {
    this.#wallOffset += ms
  }

  /** Lets time pass in which the process does not run: timers that came due run late, at the next `advance`. */
  standStill(ms: number): void {
    this.#now += ms
  }

  /** Runs every timer that comes due on the way, in order, each at its time. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      let first: Timer | undefined
      for (const timer of this.#timers) {
        if (timer.at > end) continue
        if (!first || timer.at < first.at || (timer.at === first.at && timer.order < first.order))
          first = timer
      }
      if (!first) break
      this.#timers.delete(first)
      this.#now = Math.max(this.#now, first.at)
      first.task()
    }
    this.#now = end
  }
}
