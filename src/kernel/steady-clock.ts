import type { Clock, MonotonicMs, WallMs } from './clock.ts'

declare const steady: unique symbol

/** Milliseconds since 1970 by a wall clock that never leaps. */
export type SteadyMs = number & { readonly [steady]: true }

/** Holds what is stored of the clock, so that the next start goes on from there. */
export interface SteadyMark {
  readonly steadyMs: number
  readonly wallMs: number
  /** The boot of the machine, and how long it lasted then; absent where the machine does not tell. */
  readonly boot?: { readonly id: string; readonly ms: number } | undefined
}

/** Leaps of less than this are none: the wall clock is being set right by its usual small steps. */
const LEAP_MS = 1000
/** A wall clock that shows less was not set when it was read: this program is younger. */
const EARLIEST_WALL_MS = Date.UTC(2025, 0, 1)

/**
 * The clock of all that lasts for a time by the clock on the wall: the expiry of a message, the sleep of a limb, the
 * window of a history. It begins as the wall clock of a first start. From then on it counts what passes, also while no
 * bridge runs: within one boot of the machine exactly, over a boot by what the wall clock says if that was set. A wall
 * clock that leaps, because a board without a battery boots in 1970, moves nothing here.
 */
export class SteadyClock {
  readonly #clock: Clock
  /** Steady time minus monotonic time. */
  #ahead: number
  /** The time since the boot minus monotonic time: what a suspended machine slept through makes it larger. */
  #bootAhead: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
    this.#ahead = clock.wallMs() - clock.monotonicMs()
    this.#bootAhead = this.#bootNow()
  }

  now(): SteadyMs {
    return this.at(this.#clock.monotonicMs())
  }

  /** Returns the time at a moment of this process. */
  at(moment: MonotonicMs): SteadyMs {
    return Math.floor(moment + this.#ahead) as SteadyMs
  }

  /** Shows a time to people: what the wall clock, as it is set now, showed then. */
  wallMs(at: SteadyMs): WallMs {
    return (at + this.#leapMs()) as WallMs
  }

  /** Reads a time that people name by the wall clock as it is set now. */
  ofWall(at: number): SteadyMs {
    return (at - this.#leapMs()) as SteadyMs
  }

  /** Goes on from what was stored last: at the start, before anything asks for the time. */
  continueFrom(mark: SteadyMark): void {
    this.#ahead = mark.steadyMs + this.#passedSince(mark) - this.#clock.monotonicMs()
  }

  /** Returns what is to be stored, now and then. A sleep of the whole machine is counted here. */
  mark(): SteadyMark {
    const bootAhead = this.#bootNow()
    const slept = bootAhead === undefined || this.#bootAhead === undefined ? 0 : bootAhead - this.#bootAhead
    if (slept >= LEAP_MS) {
      this.#ahead += slept
      this.#bootAhead = bootAhead
    }
    const { boot } = this.#clock
    const id = boot?.id
    const ms = boot?.ms()
    return {
      steadyMs: this.now(),
      wallMs: this.#clock.wallMs(),
      ...(id !== undefined && ms !== undefined && { boot: { id, ms } }),
    }
  }

  #bootNow(): number | undefined {
    const ms = this.#clock.boot?.ms()
    return ms === undefined ? undefined : ms - this.#clock.monotonicMs()
  }

  #passedSince({ boot, wallMs }: SteadyMark): number {
    const now = this.#clock.boot
    const ms = now?.ms()
    if (boot !== undefined && ms !== undefined && boot.id === now?.id && ms >= boot.ms) return ms - boot.ms
    return wallMs < EARLIEST_WALL_MS ? 0 : Math.max(0, this.#clock.wallMs() - wallMs)
  }

  #leapMs(): number {
    const leap = this.#clock.wallMs() - this.now()
    return Math.abs(leap) < LEAP_MS ? 0 : Math.round(leap / LEAP_MS) * LEAP_MS
  }
}
