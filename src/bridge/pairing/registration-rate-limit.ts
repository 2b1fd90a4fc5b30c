import { type Clock, type MonotonicMs, plusMs } from '../../kernel/clock.ts'
import { Counts } from '../../kernel/counts.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { Reservation } from './window.ts'

const PER_MINUTE = 30
const MINUTE_MS = 60_000

export interface ChangeReservation extends Reservation {
  /** @throws Refusal `too_many_requests` beyond the bound. */
  take(key: string): void
}

/**
 * Limits how often a limb, or a claim, may register something else. Each change is a row on disk and a message to
 * every operator; without a bound one device could fill both. The same registration again is no change. As many
 * entries as there are limbs and claims that changed within the last minutes.
 */
export class RegistrationRateLimit {
  readonly #clock: Clock
  readonly #minutes = new Map<string, { until: MonotonicMs; changes: number }>()
  /** Changes of works whose transaction has not ended. */
  readonly #underWay = new Counts()
  #tidyAt: MonotonicMs

  constructor(clock: Clock) {
    this.#clock = clock
    this.#tidyAt = plusMs(clock.monotonicMs(), MINUTE_MS)
  }

  /** Reserves what a registration may change: the limb, and a request that waits for it. */
  reserve(): ChangeReservation {
    let mine: string[] = []
    const begin = () => {
      for (const key of mine) this.#underWay.remove(key)
      mine = []
    }
    return {
      begin,
      take: (key) => {
        this.#check(key)
        this.#underWay.add(key)
        mine.push(key)
      },
      settle: (stored) => {
        const taken = mine
        begin()
        if (stored) for (const key of taken) this.#count(key)
      },
    }
  }

  #check(key: string): void {
    const minute = this.#minutes.get(key)
    const counted = minute && this.#clock.monotonicMs() < minute.until ? minute.changes : 0
    if (counted + this.#underWay.of(key) < PER_MINUTE) return
    throw new Refusal(
      'too_many_requests',
      `registered something else ${PER_MINUTE} times within a minute; wait a minute`,
    )
  }

  #count(key: string): void {
    const now = this.#clock.monotonicMs()
    if (now >= this.#tidyAt) this.#tidy(now)
    const minute = this.#minutes.get(key)
    if (minute && now < minute.until) minute.changes++
    else this.#minutes.set(key, { until: plusMs(now, MINUTE_MS), changes: 1 })
  }

  #tidy(now: MonotonicMs): void {
    this.#tidyAt = plusMs(now, MINUTE_MS)
    for (const [key, minute] of this.#minutes) if (now >= minute.until) this.#minutes.delete(key)
  }
}
