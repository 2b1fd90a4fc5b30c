import { type Clock, type MonotonicMs, plusMs } from '../kernel/clock.ts'
import { LIMITS } from '../protocol/limits.ts'
import type { Invocation, InvocationResult } from '../protocol/schemas.ts'

/**
 * Results that no connection has taken yet. The bridge waits for a limb that is away until the invocation's deadline.
 */

export interface Unsent {
  readonly invocationId: string
  readonly command: string
  readonly payload: Uint8Array
  /** The time from which nobody waits for it. */
  readonly until: MonotonicMs
}

/**
 * Says why a result was dropped: more wait, or larger ones, than are kept; or the deadline of its invocation has
 * passed, or the bridge did not take it.
 */
export type WhyDropped = 'too_many' | 'late' | 'refused'

/** A number that is more than the bridge has under way on one limb by default. */
const MAX_RESULTS = 256
const MAX_BYTES = 8 * LIMITS.resultBytes

/**
 * `result` as it will be sent. The deadline is in the bridge's time: measured from when the invocation was received, so
 * that a clock that is set meanwhile does no harm. One that had passed by then tells of a wrong clock: then as long as
 * the longest invocation.
 */
export function unsentOf(
  { deadline, command, invocationId }: Invocation,
  result: InvocationResult,
  received: { readonly wallMs: number; readonly monotonicMs: MonotonicMs },
): Unsent {
  const longest = LIMITS.invokeSecondsMax * 1000
  const left = Date.parse(deadline) - received.wallMs
  const kept = left > 0 ? Math.min(left, longest) : longest
  return {
    invocationId,
    command,
    payload: new TextEncoder().encode(JSON.stringify(result)),
    until: plusMs(received.monotonicMs, kept),
  }
}

export class UnsentResults {
  readonly #clock: Clock
  readonly #dropped: (result: Unsent, why: WhyDropped) => void
  /** Oldest first. */
  readonly #results = new Map<string, Unsent>()
  #bytes = 0

  /** `dropped` is told of each that will never be sent. */
  constructor(clock: Clock, dropped: (result: Unsent, why: WhyDropped) => void) {
    this.#clock = clock
    this.#dropped = dropped
  }

  /** Keeps it, in the place of the same one, for `takeAll`. */
  add(result: Unsent): void {
    this.#remove(result)
    this.#results.set(result.invocationId, result)
    this.#bytes += result.payload.length
    for (const oldest of this.#results.values()) {
      if (this.#results.size <= MAX_RESULTS && this.#bytes <= MAX_BYTES) return
      this.#remove(oldest)
      this.#dropped(oldest, 'too_many')
    }
  }

  /** Hands over those that somebody still waits for, oldest first, and keeps none. */
  takeAll(): Unsent[] {
    const now = this.#clock.monotonicMs()
    const all = [...this.#results.values()]
    this.#results.clear()
    this.#bytes = 0
    for (const result of all) if (result.until <= now) this.#dropped(result, 'late')
    return all.filter((result) => result.until > now)
  }

  #remove({ invocationId }: Unsent): void {
    const kept = this.#results.get(invocationId)
    if (!kept) return
    this.#results.delete(invocationId)
    this.#bytes -= kept.payload.length
  }
}
