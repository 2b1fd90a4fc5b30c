import { type Clock, type MonotonicMs, plusMs } from '../../kernel/clock.ts'

/**
 * The pace at which watchers hear of pending requests. A stranger changes its request as it likes, and each change is
 * some KiB for everybody who watches: the newest of each request is published, once a second, within bytes a second for all.
 */

/** Publishes a request as it is now. Returns its bytes; 0 when there is no such request any more. */
type Publish = (requestId: string, withEvent: boolean) => number

const PER_REQUEST_MS = 1000
const BYTES_PER_SECOND = 262_144
const TICK_MS = 250

export class RequestPace {
  readonly #clock: Clock
  readonly #publish: Publish
  /** Requests that changed, the oldest change first; whether it is an event too. */
  readonly #changed = new Map<string, boolean>()
  /** The time until which a request is not announced again. */
  readonly #quiet = new Map<string, MonotonicMs>()
  #budget = BYTES_PER_SECOND
  #at: MonotonicMs
  #timer: (() => void) | undefined

  constructor(clock: Clock, publish: Publish) {
    this.#clock = clock
    this.#publish = publish
    this.#at = clock.monotonicMs()
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

  #flush(): void {
    const now = this.#refill()
    for (const [requestId, withEvent] of this.#changed) {
      if (this.#budget <= 0) break
      if (now < (this.#quiet.get(requestId) ?? now)) continue
      this.#changed.delete(requestId)
      this.#budget -= this.#publish(requestId, withEvent)
      this.#quiet.set(requestId, plusMs(now, PER_REQUEST_MS))
    }
    if (this.#changed.size > 0) this.#timer ??= this.#clock.after(TICK_MS, () => this.#tick())
  }

  #tick(): void {
    this.#timer = undefined
    const now = this.#clock.monotonicMs()
    for (const [requestId, until] of this.#quiet) if (now >= until) this.#quiet.delete(requestId)
    this.#flush()
  }

  #refill(): MonotonicMs {
    const now = this.#clock.monotonicMs()
    const filled = this.#budget + ((now - this.#at) * BYTES_PER_SECOND) / 1000
    this.#budget = Math.min(BYTES_PER_SECOND, filled)
    this.#at = now
    return now
  }
}
