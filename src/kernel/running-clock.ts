import type { Clock, MonotonicMs, WallMs } from './clock.ts'

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
  readonly #clock: Clock
  #before = 0
  #since: MonotonicMs

  constructor(clock: Clock) {
    this.#clock = clock
    this.#since = clock.monotonicMs()
  }

  /** Goes on from what was stored last: at the start, before anything asks for the time. */
  continueFrom(stored: number): void {
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
