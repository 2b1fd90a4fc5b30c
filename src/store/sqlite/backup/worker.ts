import { renameSync, rmSync, statSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import Sqlite from 'better-sqlite3'
import { messageOf } from '../../../kernel/errors.ts'
import { createPrivate, syncFile, syncFolder } from '../files.ts'
import { inspectDatabase } from './inspect.ts'

/**
 * The thread that makes one backup and ends. A thread, because copying and checking a large database would keep
 * the event loop from every heartbeat; one connection of its own reads one state of the database, whatever is
 * written meanwhile.
 */

export interface BackupJob {
  /** The database; undefined: `part` is written already, and only checked here. */
  readonly source: string | undefined
  /** The file to which it is written, to be renamed when it is whole. */
  readonly part: string
  readonly file: string
}

export type BackupOutcome =
  | { readonly ok: true; readonly bytes: number }
  | { readonly ok: false; readonly reason: string }

function makeBackup({ source, part, file }: BackupJob): BackupOutcome {
  try {
    if (source !== undefined) {
      createPrivate(part)
      copy(source, part)
    }
    const { problems } = inspectDatabase(part, { readonly: false })
    if (problems.length > 0) throw new Error(`the copy is not sound: ${problems.join('; ')}`)
    syncFile(part)
    renameSync(part, file)
    syncFolder(file)
    return { ok: true, bytes: statSync(file).size }
  } catch (error) {
    removeHalf(part)
    return { ok: false, reason: messageOf(error) }
  }
}

function copy(source: string, part: string): void {
  const sql = new Sqlite(source, { readonly: true, fileMustExist: true })
  try {
    sql.pragma('trusted_schema = OFF')
    sql.prepare('VACUUM INTO ?').run(part)
  } finally {
    sql.close()
  }
}

/** Removes a file that is not whole: it must not take the last of a full disk. */
function removeHalf(part: string): void {
  try {
    for (const path of [part, `${part}-journal`]) rmSync(path, { force: true })
  } catch {
    // The next backup tries again.
  }
}

parentPort?.postMessage(makeBackup(workerData as BackupJob))
