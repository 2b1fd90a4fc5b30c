import { type Clock, type MonotonicMs, plusMs } from '../../kernel/clock.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import type { NodeStatus } from '../../protocol/names.ts'
import type { LiveLimb } from '../live/registry.ts'

/**
 * The pace at which a limb's changes are published. A limb that comes and goes a thousand times a second would fill the
 * log, the history and the sockets of everybody who watches: a few changes a second are published, the newest wins.
 */

export interface StatusPaceOptions {
  readonly clock: Clock
  readonly changesPerSecond: () => number
  /** Publishes what the limb is now; `before` is what was published last. */
  publish(limb: LiveLimb, before: NodeStatus): void
  /** A limb has more changes than are published; called once a minute for each, with how many there were. */
  flaps(limb: LiveLimb, heldBack: number): void
}

interface Pace {
  /** The status that was published last. */
  published: NodeStatus
  left: number
  at: MonotonicMs
  /** Changes since then that were not published. */
  heldBack: number
  /** The time until which the limb is known as flapping. */
  namedUntil: MonotonicMs
  waits: boolean
}

/** Seconds of changes that may come at once: a limb that reboots has some. */
const BURST_SECONDS = 2
const TICK_MS = 250
/** The time to the next tick when there was none left for some. */
const PAUSE_MS = 20
const NAMED_MS = 60_000
/** The time of a turn of the event loop in which changes that waited are published. */
const PUBLISHING_MS = 5

export class StatusPace {
  readonly #options: StatusPaceOptions
  /** Limbs that changed within the last minute or so. */
  readonly #paces = new Map<LiveLimb, Pace>()
  readonly #time: TurnTime
  #timer: (() => void) | undefined

  constructor(options: StatusPaceOptions) {
    this.#options = options
    this.#time = new TurnTime(options.clock, PUBLISHING_MS)
  }

  /** Limbs that had more changes than are published within the last minute. */
  get flapping(): number {
    const now = this.#options.clock.monotonicMs()
    let count = 0
    for (const { namedUntil } of this.#paces.values()) if (now < namedUntil) count++
    return count
  }

  /** Its status, or what `state` says of it, has changed: published now, or when there is room. */
  changed(limb: LiveLimb, before: NodeStatus): void {
    const now = this.#options.clock.monotonicMs()
    const pace = this.#paceOf(limb, before, now)
    this.#refill(pace, now)
    if (pace.left >= 1 && !pace.waits) {
      this.#publish(limb, pace)
    } else {
      pace.waits = true
      pace.heldBack++
      this.#name(limb, pace, now)
    }
    this.#timer ??= this.#options.clock.after(TICK_MS, () => this.#tick())
  }

  /** The status that was published last, if it changed lately. */
  publishedOf(limb: LiveLimb): NodeStatus | undefined {
    return this.#paces.get(limb)?.published
  }

  /** Publishes now what of this limb waits for its turn. */
  flush(limb: LiveLimb): void {
    const pace = this.#paces.get(limb)
    if (pace?.waits) this.#publish(limb, pace)
  }

  forget(limb: LiveLimb): void {
    this.#paces.delete(limb)
  }

  stop(): void {
    this.#timer?.()
    this.#timer = undefined
  }

  #paceOf(limb: LiveLimb, before: NodeStatus, now: MonotonicMs): Pace {
    const known = this.#paces.get(limb)
    if (known) return known
    const left = this.#options.changesPerSecond() * BURST_SECONDS
    const pace = { published: before, left, at: now, heldBack: 0, namedUntil: now, waits: false }
    this.#paces.set(limb, pace)
    return pace
  }

  #refill(pace: Pace, now: MonotonicMs): void {
    const rate = this.#options.changesPerSecond()
    pace.left = Math.min(rate * BURST_SECONDS, pace.left + ((now - pace.at) * rate) / 1000)
    pace.at = now
  }

  #publish(limb: LiveLimb, pace: Pace): void {
    pace.left--
    pace.waits = false
    const { published } = pace
    pace.published = limb.status
    this.#options.publish(limb, published)
  }

  #name(limb: LiveLimb, pace: Pace, now: MonotonicMs): void {
    if (now < pace.namedUntil) return
    pace.namedUntil = plusMs(now, NAMED_MS)
    this.#options.flaps(limb, pace.heldBack)
    pace.heldBack = 0
  }

  #tick(): void {
    this.#timer = undefined
    const now = this.#options.clock.monotonicMs()
    const rate = this.#options.changesPerSecond()
    const published: [LiveLimb, Pace][] = []
    let hasTime = true
    for (const [limb, pace] of this.#paces) {
      this.#refill(pace, now)
      if (hasTime && pace.waits && pace.left >= 1) {
        this.#publish(limb, pace)
        published.push([limb, pace])
        hasTime = this.#time.isInTime
      }
      // Nothing waits, and it may have its whole burst again: there is nothing to remember.
      if (!pace.waits && pace.left >= rate * BURST_SECONDS && now >= pace.namedUntil) this.#paces.delete(limb)
    }
    // To the end of the line: who had no time comes first the next time.
    if (!hasTime) {
      for (const [limb, pace] of published) if (this.#paces.delete(limb)) this.#paces.set(limb, pace)
    }
    if (this.#paces.size > 0)
      this.#timer = this.#options.clock.after(hasTime ? TICK_MS : PAUSE_MS, () => this.#tick())
  }
}
