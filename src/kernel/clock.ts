/**
 * The only place that reads a clock or starts a timer whose delay matters to a decision.
 *
 * Wall time is for people and for what is stored; monotonic time is for deadlines, because a wall clock
 * jumps (a Raspberry Pi without an RTC boots in 1970). The two are different types so that they cannot be
 * mixed by accident.
 */

declare const wall: unique symbol
declare const monotonic: unique symbol

/** Milliseconds since 1970-01-01T00:00:00Z. */
export type WallMs = number & { readonly [wall]: true }
/** Milliseconds on a clock that never goes back; its zero means nothing. */
export type MonotonicMs = number & { readonly [monotonic]: true }

export interface Clock {
  wallMs(): WallMs
  monotonicMs(): MonotonicMs
  /** Calls `task` once after `delayMs`; the returned function takes it back. Keeps no process alive. */
  after(delayMs: number, task: () => void): () => void
  /** The boot of the machine: its name, and how long it lasts, the time in which the machine slept included. */
  readonly boot?: { readonly id: string; ms(): number } | undefined
}

/** The longest delay of a timer: `setTimeout` fires at once for a longer one (2^31 - 1 ms, some 24.8 days). */
const MAX_TIMER_MS = 2_147_483_647

export const systemClock: Clock = {
  wallMs: () => Date.now() as WallMs,
  monotonicMs: () => performance.now() as MonotonicMs,
  after(delayMs, task) {
    const timer = setTimeout(task, Math.min(Math.max(0, delayMs), MAX_TIMER_MS))
    // A browser's timer is a number.
    ;(timer as { unref?(): void }).unref?.()
    return () => clearTimeout(timer)
  },
}

/** ISO 8601 in UTC with milliseconds, the protocol's form of a time. */
export function iso(at: number): string {
  return new Date(at).toISOString()
}

export function plusMs<T extends WallMs | MonotonicMs>(at: T, ms: number): T {
  return (at + ms) as T
}

/**
 * CLOCK_MONOTONIC in microseconds, as a service manager on the same machine reads it. Not for deadlines of the
 * bridge's own: `monotonicMs` has another zero.
 */
export function bootMicroseconds(): bigint {
  return process.hrtime.bigint() / 1000n
}
