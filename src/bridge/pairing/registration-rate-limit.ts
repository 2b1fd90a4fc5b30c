import { type Clock, type MonotonicMs, plusMs } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'

const PER_MINUTE = 30
const MINUTE_MS = 60_000

/**
 * Limits how often a limb, or a claim, may register something else. Each change is a row on disk and a message to
 * every operator; without a bound one device could fill both. The same registration again is no change. As many
 * entries as there are limbs and claims that changed within the last minutes.
 */
export class RegistrationRateLimit {
  readonly #clock: Clock
  readonly #minutes = new Map<string, { until: MonotonicMs; changes: number }>()
  #tidyAt: MonotonicMs

  constructor(clock: Clock) {
    this.#clock = clock
    this.#tidyAt = plusMs(clock.monotonicMs(), MINUTE_MS)
  }

  /** Throws `too_many_requests` beyond the bound. */
  change(key: string): void {
    const now = this.#clock.monotonicMs()
    if (now >= this.#tidyAt) this.#tidy(now)
    const minute = this.#minutes.get(key)
    if (!minute || now >= minute.until) {
      this.#minutes.set(key, { until: plusMs(now, MINUTE_MS), changes: 1 })
      return
    }
    if (minute.changes >= PER_MINUTE) {
      throw new Refusal(
        'too_many_requests',
        `registered something else ${PER_MINUTE} times within a minute; wait a minute`,
      )
    }
    minute.changes++
  }

  #tidy(now: MonotonicMs): void {
    this.#tidyAt = plusMs(now, MINUTE_MS)
    for (const [key, minute] of this.#minutes) if (now >= minute.until) this.#minutes.delete(key)
  }
}
