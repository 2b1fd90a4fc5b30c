import { hostname } from 'node:os'
import Sqlite from 'better-sqlite3'
import { InUseError, StoreError, sqliteCode } from './errors.ts'
import { createPrivate } from './files.ts'

/** Holds a database for one bridge. */
export interface Lock {
  release(): void
}

/** Keeps the connections from the garbage collector, which would close them and let go of the locks. */
const held = new Set<Sqlite.Database>()

/**
 * Two bridges on one database would each believe in their own presence, leases and sessions. The lock is an
 * open write transaction on a tiny database of its own, so that the kernel releases it at `kill -9` and no stale
 * file ever has to be deleted by hand. The transaction is IMMEDIATE rather than EXCLUSIVE: the loser can still
 * read who holds it. The process id is for that message alone.
 */
export function lockDatabase(file: string, atIso: string): Lock {
  const path = `${file}.lock`
  createPrivate(path)
  const sql = connect(path)
  try {
    sql.pragma('synchronous = OFF')
    begin(sql, file)
    introduce(sql, atIso)
    begin(sql, file)
  } catch (error) {
    sql.close()
    throw error
  }
  held.add(sql)
  return {
    release() {
      held.delete(sql)
      sql.close()
    },
  }
}

function connect(path: string): Sqlite.Database {
  try {
    return new Sqlite(path, { timeout: 0 })
  } catch (error) {
    throw untakable(path, error)
  }
}

function begin(sql: Sqlite.Database, file: string): void {
  try {
    sql.exec('BEGIN IMMEDIATE')
  } catch (error) {
    const code = sqliteCode(error)
    if (code?.startsWith('SQLITE_BUSY')) {
      throw new InUseError(file, holder(sql))
    }
    throw untakable(`${file}.lock`, error)
  }
}

function untakable(path: string, error: unknown): StoreError {
  return new StoreError(
    `The lock ${path} cannot be taken (${sqliteCode(error) ?? String(error)}). It must be a file that the user that ` +
      'runs the bridge can write, in a folder that it can write; when no bridge runs on this database, it may be deleted.',
    { cause: error },
  )
}

/** Ends the transaction that `begin` opened. On a full disk the lock works without the introduction. */
function introduce(sql: Sqlite.Database, atIso: string): void {
  try {
    sql.exec('CREATE TABLE IF NOT EXISTS holder (pid INTEGER, host TEXT, since TEXT); DELETE FROM holder')
    sql.prepare('INSERT INTO holder VALUES (?, ?, ?)').run(process.pid, hostname(), atIso)
    sql.exec('COMMIT')
  } catch {
    if (sql.inTransaction) sql.exec('ROLLBACK')
  }
}

function holder(sql: Sqlite.Database): string {
  try {
    const row = sql.prepare('SELECT pid, host, since FROM holder').get() as
      | { pid: number; host: string; since: string }
      | undefined
    if (row) return `process ${row.pid} on ${row.host}, since ${row.since}`
  } catch {
    // The holder is introducing itself at this very moment.
  }
  return 'process unknown'
}
