import type { Clock, MonotonicMs } from './clock.ts'

/**
 * A clock that notices, whoever asks it first, that the process stood still (SIGSTOP, a frozen machine): what waits in
 * the sockets is read before any timer fires, so that a timer alone would come too late.
 */
export interface StandstillClock {
  readonly clock: Clock
  /** Lets `stood` be called, instead of telling the time, when nobody could ask for `limitMs`; it must not return. */
  arm(limitMs: number, stood: (stoodMs: number) => void): void
}

const TICK_MS = 500

export function standstillClock(inner: Clock): StandstillClock {
  let last = inner.monotonicMs()
  let limit = Number.POSITIVE_INFINITY
  let onStood = (_stoodMs: number) => {}
  const monotonicMs = (): MonotonicMs => {
    const now = inner.monotonicMs()
    if (now - last > limit) onStood(now - last)
    last = now
    return now
  }
  const tick = () => {
    monotonicMs()
    inner.after(TICK_MS, tick)
  }
  return {
    clock: {
      ...inner,
      monotonicMs,
      after: (delayMs, task) =>
        inner.after(delayMs, () => {
          monotonicMs()
          task()
        }),
    },
    arm(limitMs, stood) {
      last = inner.monotonicMs()
      limit = limitMs
      onStood = stood
      tick()
    },
  }
}
