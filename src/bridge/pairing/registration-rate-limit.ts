import { type Clock, type MonotonicMs, plusMs } from '../../kernel/clock.ts'
import { Counts } from '../../kernel/counts.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { Reservation } from './window.ts'

const PER_MINUTE = 30
const MINUTE_MS = 60_000
/** Changes of all requests together that are rows of the audit log in a minute. */
const ROWS_PER_MINUTE = 60

export interface ChangeReservation extends Reservation {
  /**
   * Takes a change, and returns whether it is to be a row of the audit log: the first of its key in a minute is, within
   * a bound for all. @throws Refusal `too_many_requests` beyond the bound.
   */
  take(key: string): boolean
  /** Returns the same of what is never refused, such as a request that is taken back. */
  mayRecord(key: string): boolean
}

/**
 * Limits how often a limb, or a claim, may register something else. Each change is a row on disk and a message to
 * every operator; without a bound one device could fill both, and many devices that change in turn the log. The same registration again is no change. As many
 * entries as there are limbs and claims that changed within the last minutes.
 */
export class RegistrationRateLimit {
  readonly #clock: Clock
  readonly #minutes = new Map<string, { until: MonotonicMs; changes: number; isOnRecord: boolean }>()
  /** Changes of works whose transaction has not ended. */
  readonly #underWay = new Counts()
  #rowsEnd: MonotonicMs
  #rows = 0
  #rowsUnderWay = 0
  #tidyAt: MonotonicMs

  constructor(clock: Clock) {
    this.#clock = clock
    this.#tidyAt = plusMs(clock.monotonicMs(), MINUTE_MS)
    this.#rowsEnd = this.#tidyAt
  }

  /** Reserves what a registration may change: the limb, and a request that waits for it. */
  reserve(): ChangeReservation {
    let mine: string[] = []
    let rows = 0
    const begin = () => {
      for (const key of mine) this.#underWay.remove(key)
      mine = []
      this.#rowsUnderWay -= rows
      rows = 0
    }
    const take = (key: string) => {
      const isOnRecord = this.#isOnRecord(key)
      this.#underWay.add(key)
      mine.push(key)
      if (isOnRecord || !this.#hasRowLeft()) return false
      rows++
      this.#rowsUnderWay++
      return true
    }
    return {
      begin,
      take: (key) => {
        this.#check(key)
        return take(key)
      },
      mayRecord: take,
      settle: (stored) => {
        const taken = mine
        const written = rows
        begin()
        if (!stored) return
        this.#rows += written
        for (const key of taken) this.#count(key)
      },
    }
  }

  /** Makes the next change of this key a row of its own, whatever came in this minute: somebody has decided about the last one. */
  decided(key: string): void {
    const minute = this.#minutes.get(key)
    if (minute) minute.isOnRecord = false
  }

  #isOnRecord(key: string): boolean {
    const minute = this.#minutes.get(key)
    const isOnRecord = minute?.isOnRecord === true && this.#clock.monotonicMs() < minute.until
    return isOnRecord || this.#underWay.of(key) > 0
  }

  #hasRowLeft(): boolean {
    const now = this.#clock.monotonicMs()
    if (now >= this.#rowsEnd) {
      this.#rowsEnd = plusMs(now, MINUTE_MS)
      this.#rows = 0
    }
    return this.#rows + this.#rowsUnderWay < ROWS_PER_MINUTE
  }

  /** Returns the changes of this minute. */
  #changesOf(key: string): number {
    const minute = this.#minutes.get(key)
    const counted = minute && this.#clock.monotonicMs() < minute.until ? minute.changes : 0
    return counted + this.#underWay.of(key)
  }

  /** @throws Refusal `too_many_requests` when there were as many changes in this minute as there may be. */
  #check(key: string): void {
    if (this.#changesOf(key) < PER_MINUTE) return
    throw new Refusal(
      'too_many_requests',
      `registered something else ${PER_MINUTE} times within a minute; wait a minute`,
    )
  }

  #count(key: string): void {
    const now = this.#clock.monotonicMs()
    if (now >= this.#tidyAt) this.#tidy(now)
    const minute = this.#minutes.get(key)
    if (minute && now < minute.until) {
      minute.changes++
      minute.isOnRecord = true
    } else this.#minutes.set(key, { until: plusMs(now, MINUTE_MS), changes: 1, isOnRecord: true })
  }

  #tidy(now: MonotonicMs): void {
    this.#tidyAt = plusMs(now, MINUTE_MS)
    for (const [key, minute] of this.#minutes) if (now >= minute.until) this.#minutes.delete(key)
  }
}
