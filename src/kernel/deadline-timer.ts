import type { Clock, MonotonicMs } from './clock.ts'
import { type Deadlined, DeadlineHeap } from './deadlines.ts'
import { TurnTime } from './turn-time.ts'

/** A timer that fires this much late says that the process stood still, not that somebody was slow. */
const STALL_MS = 1000
/** The time after a standstill in which that which waited in the sockets is read. */
const STALL_GRACE_MS = 2000
/** The time of a turn of the event loop in which what is due is handled: all limbs behind an access point are lost at once. */
const DUE_MS = 8

export interface DeadlineTimerOptions {
  readonly clock: Clock
  /**
   * Handles what is due at `now`, and returns when something may be due next; it must not throw. What is due at `now` and was left
   * for want of time is handled in the next turn of the event loop.
   */
  readonly ring: (now: MonotonicMs) => number
  /** Deadlines this close together are handled at once; none when left out. */
  readonly minDelayMs?: number
  /** Is called once for each standstill. */
  readonly stoodStill?: (lateMs: number) => void
}

/**
 * One timer for many deadlines, on the monotonic clock. Timers run before sockets are read: after a standstill
 * (SIGSTOP, a suspended laptop) nobody's time is up before what was sent meanwhile could be heard.
 */
export class DeadlineTimer {
  readonly #options: DeadlineTimerOptions
  #cancel = () => {}
  #at = Number.POSITIVE_INFINITY
  #graceUntil = Number.NEGATIVE_INFINITY
  #stopped = false

  constructor(options: DeadlineTimerOptions) {
    this.#options = options
  }

  /** Rings at `at` (monotonic), or earlier for another deadline; Infinity: there is none. */
  set(at: number): void {
    const now = this.#options.clock.monotonicMs()
    // Within the grace nothing brings the timer forward.
    const wanted = Math.max(at, now + (this.#options.minDelayMs ?? 0), this.#graceUntil)
    if (this.#stopped || at === Number.POSITIVE_INFINITY || wanted >= this.#at) return
    this.#arm(wanted, now)
  }

  /** Returns whether the process has just stood still, so that no time is up yet. */
  inGrace(): boolean {
    const now = this.#options.clock.monotonicMs()
    // A socket may be read before the timer runs.
    if (!this.#stopped && now - this.#at > STALL_MS) this.#beginGrace(now)
    return now < this.#graceUntil
  }

  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  #arm(at: number, now: MonotonicMs): void {
    this.#cancel()
    this.#at = at
    this.#cancel = this.#options.clock.after(at - now, () => this.#ring())
  }

  #beginGrace(now: MonotonicMs): void {
    this.#options.stoodStill?.(now - this.#at)
    this.#graceUntil = now + STALL_GRACE_MS
    this.#arm(this.#graceUntil, now)
  }

  #ring(): void {
    const now = this.#options.clock.monotonicMs()
    if (now - this.#at > STALL_MS) {
      this.#beginGrace(now)
      return
    }
    this.#at = Number.POSITIVE_INFINITY
    const next = this.#options.ring(now)
    // Sockets are read between the two, and what is left has waited already.
    if (next <= now && !this.#stopped) this.#arm(now, now)
    else this.set(next)
  }
}

/** Deadlines of many things with one timer. */
export class Deadlines<T extends Deadlined> {
  readonly #clock: Clock
  readonly #due: (item: T) => void
  readonly #heap = new DeadlineHeap<T>()
  readonly #timer: DeadlineTimer
  readonly #time: TurnTime

  /** `due` is called once for each item whose deadline has come; it must not throw. */
  constructor(
    clock: Clock,
    due: (item: T) => void,
    more: Pick<DeadlineTimerOptions, 'minDelayMs' | 'stoodStill'> = {},
  ) {
    this.#clock = clock
    this.#due = due
    this.#time = new TurnTime(clock, DUE_MS)
    this.#timer = new DeadlineTimer({ clock, ring: (now) => this.#ring(now), ...more })
  }

  /** The item is due `delayMs` from now. */
  set(item: T, delayMs: number): void {
    this.#heap.forget(item)
    item.deadline = this.#clock.monotonicMs() + delayMs
    this.follow(item)
  }

  /** Is to be called when the owner has given an item a deadline, or an earlier one; a later one needs no word. */
  follow(item: T): void {
    this.#heap.schedule(item)
    this.#timer.set(this.#heap.next)
  }

  clear(item: T): void {
    item.deadline = Number.POSITIVE_INFINITY
    this.#heap.forget(item)
  }

  stop(): void {
    this.#timer.stop()
  }

  #ring(now: MonotonicMs): number {
    for (let item = this.#heap.takeDue(now); item; item = this.#heap.takeDue(now)) {
      this.#due(item)
      // The timer rings again at once for those that are left.
      if (!this.#time.isInTime) break
    }
    return this.#heap.next
  }
}
