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

/** The thread has read all that it needs of the database, and cleared its write-ahead log. */
export type CopyRead = 'read'

function makeBackup({ source, part, file }: BackupJob): BackupOutcome {
  try {
    if (source !== undefined) {
      createPrivate(part)
      const before = fileAt(source)
      try {
        copy(source, part)
      } finally {
        // What another file in its place says of that log is not known.
        if (before !== undefined && fileAt(source) === before) clearLog(source)
        parentPort?.postMessage('read' satisfies CopyRead)
      }
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

/** Says which file lies there; undefined: none. */
function fileAt(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false })
  return found && `${found.dev}:${found.ino}`
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

/** Passes over the write-ahead log: each has what was written during the one before. */
const PASSES = 10
/** The pages that are left to the bridge: some milliseconds. */
const FEW_PAGES = 1000

/**
 * Moves into the database what was written while the copy was made. All of that waits in the write-ahead log, which may have
 * hundreds of megabytes by now: the next commit of the bridge would move them, in one turn of its event loop.
 */
function clearLog(source: string): void {
  let sql: Sqlite.Database | undefined
  try {
    sql = new Sqlite(source, { fileMustExist: true, timeout: 0 })
    sql.pragma('trusted_schema = OFF')
    let before = 0
    for (let pass = 0; pass < PASSES; pass++) {
      const [row] = sql.pragma('wal_checkpoint(PASSIVE)') as { log: number }[]
      const pages = row?.log ?? 0
      if (pages - before < FEW_PAGES) return
      before = pages
    }
  } catch {
    // The disk is full, or the file is gone, say: the bridge will meet that itself, and the copy is whole.
  } finally {
    sql?.close()
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
