import type { Clock, MonotonicMs } from '../../kernel/clock.ts'
import { DeadlineTimer } from '../../kernel/deadline-timer.ts'

/** Limbs that go offline, or come back, within this time are reported together: a router takes a hundred along. */
const GATHER_MS = 5000
const NEVER = Number.POSITIVE_INFINITY

export interface OfflineWatchOptions {
  readonly clock: Clock
  readonly offlineMs: number
  /** The limbs that were reported before this start. */
  readonly reported: Iterable<string>
  readonly offline: (nodeIds: readonly string[]) => void
  readonly back: (nodeIds: readonly string[]) => void
}

/** Reports limbs that stay offline for longer than a time, once each, and when they are back. */
export class OfflineWatch {
  readonly #options: OfflineWatchOptions
  readonly #timer: DeadlineTimer
  /** Limbs that are offline and not reported, in the order in which their time is up. */
  readonly #waiting = new Map<string, MonotonicMs>()
  readonly #reported: Set<string>
  readonly #back = new Set<string>()
  #backAt: number = NEVER

  constructor(options: OfflineWatchOptions) {
    this.#options = options
    this.#reported = new Set(options.reported)
    this.#timer = new DeadlineTimer({ clock: options.clock, ring: (now) => this.#ring(now) })
  }

  wentOffline(nodeId: string): void {
    // It was away only while it was to be reported that it is back: as if it had never been there.
    this.#back.delete(nodeId)
    if (this.#reported.has(nodeId) || this.#waiting.has(nodeId)) return
    this.#waiting.set(nodeId, this.#options.clock.monotonicMs())
    this.#timer.set(this.#next())
  }

  cameBack(nodeId: string): void {
    this.#waiting.delete(nodeId)
    if (!this.#reported.has(nodeId)) return
    this.#back.add(nodeId)
    if (this.#backAt === NEVER) this.#backAt = this.#options.clock.monotonicMs() + GATHER_MS
    this.#timer.set(this.#next())
  }

  revoked(nodeId: string): void {
    this.#waiting.delete(nodeId)
    this.#reported.delete(nodeId)
    this.#back.delete(nodeId)
  }

  stop(): void {
    this.#timer.stop()
  }

  /** The first whose time is up waits for those that follow it closely. */
  #next(): number {
    const [first] = this.#waiting.values()
    const offline = first === undefined ? NEVER : first + this.#options.offlineMs + GATHER_MS
    return Math.min(offline, this.#backAt)
  }

  #ring(now: MonotonicMs): number {
    const { offlineMs, offline, back } = this.#options
    if (now >= this.#backAt) {
      this.#backAt = NEVER
      const returned = [...this.#back]
      this.#back.clear()
      for (const nodeId of returned) this.#reported.delete(nodeId)
      if (returned.length > 0) back(returned)
    }
    const [first] = this.#waiting.values()
    if (first !== undefined && now >= first + offlineMs + GATHER_MS) {
      const due = [...this.#waiting].filter(([, since]) => now >= since + offlineMs).map(([nodeId]) => nodeId)
      for (const nodeId of due) {
        this.#waiting.delete(nodeId)
        this.#reported.add(nodeId)
      }
      offline(due)
    }
    return this.#next()
  }
}
