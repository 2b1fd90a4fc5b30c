import { performance } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Clock } from '../../kernel/clock.ts'

const LOOK_MS = 2000
/** The share of its time that the event loop works, below which the bridge rests. */
const REST_SHARE = 0.2
/** The looks at rest of which one may collect: more when it has lasted for a minute, for what is there then is in use. */
const COLLECT_EVERY = 2
const FIRST_LOOKS = 30
/** The bytes of buffers beyond which that is worth a collection: at rest there are some 20 MiB. */
const MANY_BUFFER_BYTES = 48 * 1024 * 1024
/** The bytes of a heap that is collected in some 30 ms; a larger one is left to V8, which takes several turns of the event loop. */
const SMALL_HEAP_BYTES = 64 * 1024 * 1024

/** The parts of Node that tests replace. */
export interface Collector {
  /** Returns the share of the time since the last call in which the event loop worked, 0 to 1. */
  readonly busyShare: () => number
  /** Has V8 collect for a small memory, or for speed as it does by itself. */
  readonly setSmall: (isSmall: boolean) => void
  /** Returns the bytes of the heap and of all buffers, those included that nobody uses any more. */
  readonly memory: () => Pick<NodeJS.MemoryUsage, 'heapUsed' | 'arrayBuffers'>
  /** Collects what nobody uses any more, in one turn of the event loop. */
  readonly collect: () => void
}

/**
 * Has V8 give back at rest what a burst has left. It keeps the pages that a collection has freed, some fifty MiB after a
 * crowd, and gives them back only where it collects for a small memory. While there is much to do it collects as always:
 * it would take longer and more often otherwise. Buffers that nobody uses any more it leaves where they are as long as hardly
 * anything new is made, a hundred MiB after a crowd: they are collected when they may be many.
 */
export function giveBackAtRest(clock: Clock, collector: Collector = nodeCollector()): void {
  let isSmall = false
  let looksAtRest = 0
  const look = () => {
    const rests = collector.busyShare() < REST_SHARE
    if (rests !== isSmall) collector.setSmall(rests)
    isSmall = rests
    looksAtRest = rests ? looksAtRest + 1 : 0
    if (mayCollect(looksAtRest)) collectBuffers(collector)
    clock.after(LOOK_MS, look)
  }
  clock.after(LOOK_MS, look)
}

function mayCollect(looksAtRest: number): boolean {
  const every = looksAtRest <= FIRST_LOOKS ? COLLECT_EVERY : FIRST_LOOKS
  return looksAtRest > 0 && looksAtRest % every === 0
}

function collectBuffers({ memory, collect }: Collector): void {
  const { heapUsed, arrayBuffers } = memory()
  if (arrayBuffers > MANY_BUFFER_BYTES && heapUsed < SMALL_HEAP_BYTES) collect()
}

/** Returns Node's own. */
export function nodeCollector(): Collector {
  let last = performance.eventLoopUtilization()
  let collect: (() => void) | undefined
  return {
    busyShare: () => {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, last)
      last = now
      return utilization
    },
    setSmall: (isSmall) => setFlagsFromString(isSmall ? '--optimize-for-size' : '--no-optimize-for-size'),
    memory: () => process.memoryUsage(),
    collect: () => {
      collect ??= collectorOfV8()
      collect()
    },
  }
}

/** Returns V8's function `gc`, which is there in contexts that are made while the flag is set. */
function collectorOfV8(): () => void {
  setFlagsFromString('--expose-gc')
  try {
    return runInNewContext('gc') as () => void
  } finally {
    setFlagsFromString('--no-expose-gc')
  }
}
