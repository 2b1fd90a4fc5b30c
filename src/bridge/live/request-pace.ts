import { type Clock, type MonotonicMs, plusMs } from '../../kernel/clock.ts'
import { TurnTime } from '../../kernel/turn-time.ts'

/**
 * The pace at which watchers hear of pending requests. A stranger changes its request as it likes, and each change is
 * some KiB for everybody who watches: the newest of each request is published, once a second, within bytes a second for all. What
 * a second has may be hundreds of requests for hundreds who watch: they are published in turns, and wait while what was
 * published before is on its way.
 */

/** Publishes a request as it is now. Returns its bytes; 0 when there is no such request any more. */
type Publish = (requestId: string, withEvent: boolean) => number

const PER_REQUEST_MS = 1000
const BYTES_PER_SECOND = 262_144
const TICK_MS = 250
/** The time for it of one turn of the event loop; the others follow after a pause. */
const PUBLISHING_MS = 5
const PAUSE_MS = 20

export class RequestPace {
  readonly #clock: Clock
  readonly #publish: Publish
  readonly #isBehind: () => boolean
  readonly #time: TurnTime
  /** Requests that changed, the oldest change first; whether it is an event too. */
  readonly #changed = new Map<string, boolean>()
  /** The time until which a request is not announced again. */
  readonly #quiet = new Map<string, MonotonicMs>()
  #budget = BYTES_PER_SECOND
  #at: MonotonicMs
  #timer: (() => void) | undefined
  /** The time at which it comes up. */
  #due: MonotonicMs

  /** `isBehind`: what was published before is not with those who watch. */
  constructor(clock: Clock, publish: Publish, isBehind: () => boolean = () => false) {
    this.#clock = clock
    this.#publish = publish
    this.#isBehind = isBehind
    this.#time = new TurnTime(clock, PUBLISHING_MS)
    this.#at = clock.monotonicMs()
    this.#due = this.#at
  }

  changed(requestId: string, withEvent: boolean): void {
    this.#changed.set(requestId, withEvent || this.#changed.get(requestId) === true)
    this.#flush()
  }

  gone(requestId: string): void {
    this.#changed.delete(requestId)
    this.#quiet.delete(requestId)
  }

  stop(): void {
    this.#timer?.()
    this.#timer = undefined
  }

  /** `least`: the requests that are published whether there is time in this turn or not. */
  #flush(least = 0): void {
    const now = this.#refill()
    let pauseMs = TICK_MS
    let published = 0
    for (const [requestId, withEvent] of this.#changed) {
      if (this.#budget <= 0) break
      if (now < (this.#quiet.get(requestId) ?? now)) continue
      const hasTime = this.#time.isInTime || published < least
      if (this.#isBehind() || !hasTime) {
        pauseMs = PAUSE_MS
        break
      }
      this.#changed.delete(requestId)
      this.#budget -= this.#publish(requestId, withEvent)
      published++
      this.#quiet.set(requestId, plusMs(now, PER_REQUEST_MS))
    }
    if (this.#changed.size > 0) this.#arm(plusMs(now, pauseMs))
  }

  #arm(at: MonotonicMs): void {
    if (this.#timer !== undefined && this.#due <= at) return
    this.#timer?.()
    this.#due = at
    this.#timer = this.#clock.after(at - this.#clock.monotonicMs(), () => this.#tick())
  }

  #tick(): void {
    this.#timer = undefined
    const now = this.#clock.monotonicMs()
    for (const [requestId, until] of this.#quiet) if (now >= until) this.#quiet.delete(requestId)
    this.#flush(1)
  }

  #refill(): MonotonicMs {
    const now = this.#clock.monotonicMs()
    const filled = this.#budget + ((now - this.#at) * BYTES_PER_SECOND) / 1000
    this.#budget = Math.min(BYTES_PER_SECOND, filled)
    this.#at = now
    return now
  }
}
