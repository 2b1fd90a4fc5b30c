import { rmSync } from 'node:fs'
import type Sqlite from 'better-sqlite3'
import { messageOf } from '../../kernel/errors.ts'
import { StoreError } from './errors.ts'
import { compactTime, createPrivate, syncFile } from './files.ts'

/**
 * A consistent copy of the whole database before a schema upgrade, `<file>.v<version>-<time>.bak`, readable by
 * its owner alone and flushed to disk. VACUUM INTO writes into the empty file that exists already, which is
 * how it gets its mode before it gets its content.
 */
export function backupBeforeUpgrade(
  sql: Sqlite.Database,
  file: string,
  version: number,
  atIso: string,
): string {
  const path = `${file}.v${version}-${compactTime(atIso)}.bak`
  try {
    createPrivate(path)
    sql.prepare('VACUUM INTO ?').run(path)
    syncFile(path)
  } catch (error) {
    removeHalf(path)
    throw new StoreError(
      `The backup ${path} before the upgrade of the database could not be written: ${messageOf(error)}. ` +
        'Nothing was changed. Make room (the backup needs as much as the database) and start again.',
      { cause: error },
    )
  }
  return path
}

/** A copy that is not whole must not look like one. */
function removeHalf(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // What is in the way is not ours.
  }
}
