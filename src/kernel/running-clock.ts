import type { Clock, MonotonicMs, WallMs } from './clock.ts'
import { SteadyClock, type SteadyMark } from './steady-clock.ts'

declare const running: unique symbol

/** Milliseconds that bridges have run on one database, all their starts together. It never goes back. */
export type RunningMs = number & { readonly [running]: true }

/**
 * The clock of every end that is stored: a pending request, a refused key, an old key after a rotation. It stands
 * still while no bridge runs and knows nothing of the wall clock. So an end that lasts a day comes after a day of
 * running, also when the machine boots in 1970 and leaps to this year, or back. For people it is shown as wall time:
 * the time of now, and what is left.
 */
export class RunningClock {
  /** The clock of what lasts by the clock on the wall. */
  readonly steady: SteadyClock
  readonly #clock: Clock
  #before = 0
  #since: MonotonicMs

  constructor(clock: Clock) {
    this.#clock = clock
    this.#since = clock.monotonicMs()
    this.steady = new SteadyClock(clock)
  }

  /** Goes on from what was stored last: at the start, before anything asks for the time. */
  continueFrom(stored: number, mark?: SteadyMark): void {
    if (mark !== undefined) this.steady.continueFrom(mark)
    this.#before = stored
    this.#since = this.#clock.monotonicMs()
  }

  now(): RunningMs {
    return Math.floor(this.#before + this.#clock.monotonicMs() - this.#since) as RunningMs
  }

  in(ms: number): RunningMs {
    return (this.now() + ms) as RunningMs
  }

  /** Returns the time at which `end` comes, if the bridge keeps running. */
  wallMs(end: RunningMs): WallMs {
    return (this.#clock.wallMs() + end - this.now()) as WallMs
  }
}
