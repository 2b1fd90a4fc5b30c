import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A memory cgroup of the kernel, version 1 or 2: what is in it is killed at its bound. */
export interface MemoryGroup {
  /** A file of which a process becomes a member by writing its number into it. */
  readonly members: string
  /** The most that its members ever had, in bytes. */
  peakBytes(): number
  /** How often the kernel killed one of them. */
  kills(): number
  remove(): void
}

const V1 = '/sys/fs/cgroup/memory'
const V2 = '/sys/fs/cgroup'

/** Undefined where this user, or this kernel, may make none. */
export function memoryGroup(maxBytes: number): MemoryGroup | undefined {
  const isV2 = existsSync(join(V2, 'cgroup.controllers'))
  const folder = join(isV2 ? V2 : V1, `limb-pressure-${process.pid}-${Date.now()}`)
  const read = (name: string) => readFileSync(join(folder, name), 'utf8')
  const set = (name: string, value: string) => writeFileSync(join(folder, name), value)
  try {
    if (isV2) writeFileSync(join(V2, 'cgroup.subtree_control'), '+memory')
    mkdirSync(folder)
    set(isV2 ? 'memory.max' : 'memory.limit_in_bytes', String(maxBytes))
    if (isV2) set('memory.swap.max', '0')
  } catch {
    return undefined
  }
  return {
    members: join(folder, 'cgroup.procs'),
    peakBytes: () => Number(read(isV2 ? 'memory.peak' : 'memory.max_usage_in_bytes')),
    kills() {
      const text = read(isV2 ? 'memory.events' : 'memory.oom_control')
      return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0)
    },
    remove() {
      try {
        rmdirSync(folder)
      } catch {
        // Somebody is still in it: the machine removes it when it restarts.
      }
    },
  }
}
