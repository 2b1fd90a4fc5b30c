import { type Clock, type MonotonicMs, plusMs } from '../../kernel/clock.ts'

/**
 * The pace at which one principal opens event streams. Each begins with all that is retained, which is the dearest
 * thing that can be asked: who opens one after the other waits for the next.
 */

/** A dashboard on every wall comes back after a restart. */
const BURST = 32
const EVERY_MS = 250
/** Streams that may wait: a principal may have no more of them, and who comes and goes without end waits no longer. */
const MAX_AHEAD = 16
const MAX_NAMES = 1000

export class OpenPace {
  readonly #clock: Clock
  /** The time at which all of a principal's streams will have had their turn, if none more comes. */
  readonly #until = new Map<string, MonotonicMs>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts one more. Returns the milliseconds that it has to wait. */
  waitMs(principal: string): number {
    const now = this.#clock.monotonicMs()
    const until = this.#until.get(principal)
    const free = until === undefined || until < now ? now : until
    if (this.#until.size >= MAX_NAMES) this.#forgetIdle(now)
    const most = plusMs(now, (BURST + MAX_AHEAD) * EVERY_MS)
    const next = plusMs(free, EVERY_MS)
    this.#until.set(principal, next < most ? next : most)
    return Math.max(0, free - now - (BURST - 1) * EVERY_MS)
  }

  #forgetIdle(now: MonotonicMs): void {
    for (const [name, until] of this.#until) if (until <= now) this.#until.delete(name)
  }
}
