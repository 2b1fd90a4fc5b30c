import { type Clock, type MonotonicMs, systemClock } from '../../src/kernel/clock.ts'

/** A clock on which a millisecond passes between two looks, however fast the machine is. Its timers are real. */
export function countedClock(): Clock {
  // A whole number: sums of others are a little more or less than they should be.
  let now = Math.floor(systemClock.monotonicMs()) as MonotonicMs
  return {
    ...systemClock,
    monotonicMs: () => {
      now = (now + 1) as MonotonicMs
      return now
    },
  }
}
