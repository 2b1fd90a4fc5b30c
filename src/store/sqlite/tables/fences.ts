import { rmSync, statSync } from 'node:fs'
import Sqlite from 'better-sqlite3'
import { CHAIN_TABLES } from './audit-chain.ts'

/**
 * Fences rise for ever, because limbs refuse one that is lower than the highest they have seen. A backup holds the
 * counter as it was; here it is brought beyond what limbs may have been told since.
 */

/** The jump when nobody knows which fences the limbs have seen: it goes beyond every one that they could have. */
const LEAST_JUMP = 1_000_000
/** Each lease is a commit on disk; a fleet that takes as many as this, day and night, is a large one. */
const LEASES_PER_SECOND = 100
/**
 * The greatest jump, whatever the clocks say: a microcontroller that keeps fences in 32 bits outlives twenty of them.
 */
const GREATEST_JUMP = 100_000_000

/**
 * A number that no fence of a database was higher than; no bridge runs on it. Null: it cannot be read. A log that
 * was left behind by an unclean end may end before the last lease.
 */
export function fenceOf(file: string): number | null {
  const unclean = (statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0
  let sql: Sqlite.Database | undefined
  try {
    sql = new Sqlite(file, { readonly: true, fileMustExist: true })
    return readFence(sql) + (unclean ? LEAST_JUMP : 0)
  } catch {
    return null
  } finally {
    sql?.close()
    // Who only reads from a log leaves this behind, as the user that ran it.
    rmSync(`${file}-shm`, { force: true })
  }
}

/**
 * Raises the counter of a restored database above every fence that was given out. `known` is that of the database
 * it replaces, null when there is none to read. Lower than the backup's it is that of another database, or of a
 * new one, and says nothing.
 */
export function raiseFence(file: string, known: number | null, nowMs: number): void {
  const sql = new Sqlite(file, { fileMustExist: true })
  try {
    const own = readFence(sql)
    const next = known !== null && known >= own ? known : own + jump(sql, nowMs)
    if (next > own) writeFence(sql, next)
  } finally {
    sql.close()
  }
}

function readFence(sql: Sqlite.Database): number {
  const fence = Number(sql.prepare("SELECT value FROM meta WHERE key = 'fence'").pluck().get() ?? 0)
  return Number.isSafeInteger(fence) ? fence : 0
}

function writeFence(sql: Sqlite.Database, fence: number): void {
  sql
    .prepare(`INSERT INTO meta (key, value) VALUES ('fence', ?)
      ON CONFLICT (key) DO UPDATE SET value = excluded.value`)
    .run(String(fence))
}

/** Returns how far to jump, by the age of the last thing that the backup knows of. */
function jump(sql: Sqlite.Database, nowMs: number): number {
  const tables = sql.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all()
  const times = CHAIN_TABLES.filter((table) => tables.includes(table)).flatMap(
    (table) => sql.prepare(`SELECT at FROM ${table} ORDER BY seq DESC LIMIT 1`).pluck().get() ?? [],
  )
  const seconds = times.length === 0 ? 0 : Math.ceil((nowMs - Math.max(...times.map(Number))) / 1000)
  return Math.min(GREATEST_JUMP, Math.max(LEAST_JUMP, LEASES_PER_SECOND * seconds))
}
