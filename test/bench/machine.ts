import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { TICK_MS } from '../support/process-usage.ts'

/** What the numbers depend on, in general words. */
export interface Machine {
  readonly node: string
  readonly kernel: string
  readonly cores: number
  readonly processor: string
  readonly memoryGib: number
  /** The unit in which the kernel shows CPU time, milliseconds. */
  readonly tickMs: number
  readonly openFiles: number
}

/** The soft limit; Node raises it to the hard one at its start. */
function openFiles(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8')
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Number.NaN)
}

export function machine(): Machine {
  return {
    node: process.version,
    kernel: release(),
    cores: cpus().length,
    processor: cpus()[0]?.model ?? 'unknown',
    memoryGib: Math.round(totalmem() / 2 ** 30),
    tickMs: TICK_MS,
    openFiles: openFiles(),
  }
}
