import { readFileSync } from 'node:fs'

/** What a process used, as the kernel counts it (Linux). */

/** The kernel shows CPU time in units of this: USER_HZ is 100 on every Linux. */
export const TICK_MS = 10

/** CPU time, user and system, of all threads of a process and of its children that have ended. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name, in brackets, may hold spaces and brackets; utime is the 12th field after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
  return ticks * TICK_MS
}

/** Resident memory. */
export function rssBytes(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  if (kib === undefined) throw new Error(`no VmRSS of process ${pid}`)
  return Number(kib) * 1024
}
