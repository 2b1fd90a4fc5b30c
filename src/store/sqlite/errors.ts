import Sqlite from 'better-sqlite3'
import { StoreError } from '../errors.ts'

export { BadRowError, StoreError } from '../errors.ts'

/** Another bridge has the database. */
export class InUseError extends StoreError {
  /** The holder, such as `process 7 on host, since …`. */
  readonly holder: string

  constructor(file: string, holder: string) {
    super(
      `The database ${file} is in use by another bridge (${holder}). ` +
        'Stop that one first, or give this one a database of its own with store.path (LIMB_DB).',
    )
    this.name = 'InUseError'
    this.holder = holder
  }
}

/** SQLite's extended result code, such as `SQLITE_FULL`; undefined for any other error. */
export function sqliteCode(error: unknown): string | undefined {
  return error instanceof Sqlite.SqliteError ? error.code : undefined
}

const STORAGE_FAILURE =
  /^SQLITE_(FULL|IOERR|READONLY|BUSY|LOCKED|CORRUPT|NOTADB|CANTOPEN|NOMEM|PROTOCOL|PERM|AUTH)(_|$)/

/** Returns whether the disk or the file failed, as opposed to a statement that was wrong for its data. */
export function isStorageFailure(error: unknown): boolean {
  const code = sqliteCode(error)
  return code !== undefined && STORAGE_FAILURE.test(code)
}

const DAMAGE = /^SQLITE_(CORRUPT|NOTADB)(_|$)/

export function isDamage(error: unknown): boolean {
  const code = sqliteCode(error)
  return code !== undefined && DAMAGE.test(code)
}
