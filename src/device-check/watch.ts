import type { Clock } from '../kernel/clock.ts'

/** Waits for what is to be seen: each condition is looked at again whenever something happened. */
export class Watch {
  readonly #clock: Clock
  readonly #waiting = new Set<() => void>()
  #ended = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** True once it was ended: nothing is waited for any more. */
  get ended(): boolean {
    return this.#ended
  }

  /** Something happened. */
  poke(): void {
    for (const look of this.#waiting) look()
  }

  /** Ends every wait, now and later. */
  end(): void {
    this.#ended = true
    this.poke()
  }

  /** Resolves with true when the condition holds, with false after `ms` or at the end. */
  until(condition: () => boolean, ms: number): Promise<boolean> {
    if (condition()) return Promise.resolve(true)
    if (this.#ended) return Promise.resolve(false)
    return new Promise((resolve) => {
      const over = (holds: boolean) => {
        this.#waiting.delete(look)
        cancel()
        resolve(holds)
      }
      const look = () => {
        if (condition()) over(true)
        else if (this.#ended) over(false)
      }
      const cancel = this.#clock.after(ms, () => over(condition()))
      this.#waiting.add(look)
    })
  }

  /** Waits so long, or until the end. */
  async pause(ms: number): Promise<void> {
    await this.until(() => false, ms)
  }
}
