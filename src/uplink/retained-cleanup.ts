import type { Clock } from '../kernel/clock.ts'
import { filterMatches } from '../protocol/topics.ts'

/** The time without another retained message after which the other broker has sent all it has. */
const QUIET_MS = 3000
/** Topics that are looked at one after another; more wait for the next connection. */
const MAX_PENDING = 50_000

export interface RetainedCleanupOptions {
  /** The filters of what may hold leftovers there. */
  readonly filters: readonly string[]
  /** Returns whether this retained message has no reason to be there any more. */
  readonly isLeftover: (topic: string, payload: Uint8Array) => boolean | Promise<boolean>
  readonly clear: (topic: string) => void
  /** Everything was told. */
  readonly done: (seen: number, cleared: number) => void
  readonly failed: (error: unknown) => void
  readonly clock: Clock
}

/**
 * Reads back what is retained there, and clears what no longer exists here: what was revoked while the link or
 * the bridge was down, and what another configuration mirrored. A list of what was published would not outlive
 * a crash.
 */
export class RetainedCleanup {
  readonly #options: RetainedCleanupOptions
  readonly #pending: { topic: string; payload: Uint8Array }[] = []
  #working = false
  #over = false
  #seen = 0
  #cleared = 0
  #seenBefore = -1
  #cancel: () => void = () => undefined

  constructor(options: RetainedCleanupOptions) {
    this.#options = options
  }

  /** SUBACK is here: retained messages follow. */
  start(): void {
    this.#cancel = this.#options.clock.after(QUIET_MS, () => {
      if (this.#over) return
      if (this.#working || this.#seen > this.#seenBefore) {
        this.#seenBefore = this.#seen
        this.start()
        return
      }
      this.#over = true
      this.#options.done(this.#seen, this.#cleared)
    })
  }

  /** A message with the retain flag. */
  found(topic: string, payload: Uint8Array): void {
    if (this.#over || payload.length === 0 || this.#pending.length >= MAX_PENDING) return
    if (!this.#options.filters.some((filter) => filterMatches(filter, topic))) return
    this.#seen++
    this.#pending.push({ topic, payload })
    if (!this.#working) void this.#work()
  }

  stop(): void {
    this.#over = true
    this.#cancel()
  }

  async #work(): Promise<void> {
    this.#working = true
    for (let next = this.#pending.shift(); next !== undefined && !this.#over; next = this.#pending.shift()) {
      try {
        if (!(await this.#options.isLeftover(next.topic, next.payload)) || this.#over) continue
        this.#cleared++
        this.#options.clear(next.topic)
      } catch (error) {
        this.#options.failed(error)
      }
    }
    this.#working = false
  }
}
