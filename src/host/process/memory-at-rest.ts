import { performance } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import type { Clock } from '../../kernel/clock.ts'

const LOOK_MS = 2000
/** The share of its time that the event loop works, below which the bridge rests. */
const REST_SHARE = 0.2

/** The parts of Node that tests replace. */
export interface Collector {
  /** Returns the share of the time since the last call in which the event loop worked, 0 to 1. */
  readonly busyShare: () => number
  /** Has V8 collect for a small memory, or for speed as it does by itself. */
  readonly setSmall: (isSmall: boolean) => void
}

/**
 * Has V8 give back at rest what a burst has left. It keeps the pages that a collection has freed, some fifty MiB after a
 * crowd, and gives them back only where it collects for a small memory. While there is much to do it collects as always:
 * it would take longer and more often otherwise.
 */
export function giveBackAtRest(clock: Clock, { busyShare, setSmall }: Collector = nodeCollector()): void {
  let isSmall = false
  const look = () => {
    const rests = busyShare() < REST_SHARE
    if (rests !== isSmall) setSmall(rests)
    isSmall = rests
    clock.after(LOOK_MS, look)
  }
  clock.after(LOOK_MS, look)
}

function nodeCollector(): Collector {
  let last = performance.eventLoopUtilization()
  return {
    busyShare: () => {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, last)
      last = now
      return utilization
    },
    setSmall: (isSmall) => setFlagsFromString(isSmall ? '--optimize-for-size' : '--no-optimize-for-size'),
  }
}
