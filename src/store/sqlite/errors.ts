import Sqlite from 'better-sqlite3'
import { StartError } from '../../kernel/errors.ts'

/** The database cannot be opened or trusted. Stops the start; the message says what to do. */
export class StoreError extends StartError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StoreError'
  }
}

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

/** A row that does not parse: damage, or an edit by hand. Never skipped: a missing node or policy is a wrong decision. */
export class BadRowError extends StoreError {
  constructor(table: string, key: string, why: string) {
    super(
      `The database has a row that cannot be understood: table "${table}", key ${JSON.stringify(key)}: ${why}. ` +
        'Stop the bridge, then restore a backup, or correct or delete that row with sqlite3.',
    )
    this.name = 'BadRowError'
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
