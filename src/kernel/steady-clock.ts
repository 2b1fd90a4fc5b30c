import type { Clock, MonotonicMs } from './clock.ts'

/** A wall clock that moved by more than this against the monotonic one was set. */
const JUMP_MS = 60_000
/** Deletion by age waits until the wall clock has run this long without being set. */
const STEADY_MS = 3_600_000

/**
 * Decides whether the wall clock can be trusted with deleting what is old. A machine without a battery for its clock
 * boots in 1970 or, with a bad time server, in 2090, and is put right minutes later: nothing may be taken for old in
 * between.
 */
export class SteadyClock {
  readonly #clock: Clock
  #offset: number
  #since: MonotonicMs

  constructor(clock: Clock) {
    this.#clock = clock
    this.#offset = clock.wallMs() - clock.monotonicMs()
    this.#since = clock.monotonicMs()
  }

  /** Must be asked often: a jump is seen when this is called. */
  isSteady(): boolean {
    const now = this.#clock.monotonicMs()
    const offset = this.#clock.wallMs() - now
    if (Math.abs(offset - this.#offset) > JUMP_MS) {
      this.#offset = offset
      this.#since = now
    }
    return now - this.#since >= STEADY_MS
  }
}
