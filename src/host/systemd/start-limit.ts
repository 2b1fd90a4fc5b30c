import { statSync } from 'node:fs'

/**
 * The least time that the service manager should wait for the start: SQLite checks and upgrades a database at some 20
 * MB/s on a slow card, in one call that blocks the event loop, so the time is asked for before. Never less than the
 * unit's own 90 s.
 */
const LEAST_SECONDS = 90
const BYTES_PER_SECOND = 20 * 1024 * 1024
/** A copy is kept before an upgrade, all rows are checked, and the new schema may write each of them. */
const PASSES = 4

export function startLimitSeconds(databaseFile: string): number {
  return LEAST_SECONDS + Math.ceil((PASSES * sizeOf(databaseFile)) / BYTES_PER_SECOND)
}

/** The start that follows says what stands in the way, and what to do. */
function sizeOf(file: string): number {
  try {
    return statSync(file, { throwIfNoEntry: false })?.size ?? 0
  } catch {
    return 0
  }
}
