import { hostname } from 'node:os'
import Sqlite from 'better-sqlite3'
import { StoreError, sqliteCode } from './errors.ts'
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
  const sql = new Sqlite(path, { timeout: 0 })
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

function begin(sql: Sqlite.Database, file: string): void {
  try {
    sql.exec('BEGIN IMMEDIATE')
  } catch (error) {
    const code = sqliteCode(error)
    if (code?.startsWith('SQLITE_BUSY')) {
      throw new StoreError(
        `The database ${file} is in use by another bridge (${holder(sql)}). ` +
          'Stop that one first, or give this one a database of its own with LIMB_DB.',
      )
    }
    throw new StoreError(
      `The lock ${file}.lock cannot be taken (${code ?? String(error)}). It must be a file that the user that ` +
        'runs the bridge can write; when no bridge runs on this database, it may be deleted.',
      { cause: error },
    )
  }
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
