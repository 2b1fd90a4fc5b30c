import {
  chownSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import { iso, type WallMs } from '../../../kernel/clock.ts'
import { messageOf } from '../../../kernel/errors.ts'
import { markFileOf, readMark } from '../acknowledged.ts'
import { InUseError, StoreError } from '../errors.ts'
import { compactTime, createPrivate, makePrivate, prepareFolder, syncFile, syncFolder } from '../files.ts'
import { type InodeLock, lockInode } from '../inode-lock.ts'
import { lockDatabase } from '../lock.ts'
import { fenceOf, raiseFence } from '../tables/fences.ts'
import { inspectDatabase } from './inspect.ts'

export interface Restored {
  readonly file: string
  /** The place of the database that was there before, with its log if it had one; undefined: there was none. */
  readonly replaced: string | undefined
  readonly version: number
  readonly nodes: number
}

/**
 * Puts a backup in the place of the database, and keeps what was there. Only the counter of fences is not the
 * backup's: it never goes back. Whatever ends the process meanwhile, the file is the old database or the restored
 * one, whole: never neither, and never one with the other's log, which SQLite would write into it.
 * @throws StoreError when a bridge runs on the database, or the backup cannot be trusted; then nothing was changed.
 */
export function restoreDatabase(options: {
  readonly from: string
  readonly to: string
  readonly now: WallMs
}): Restored {
  const from = resolve(options.from)
  if (!existsSync(from)) throw new StoreError(`There is no file ${from}.`)
  const file = prepareFolder(options.to)
  if (existsSync(file) && sameFile(from, file)) {
    throw new StoreError(`${from} is the database itself. Name a backup of it.`)
  }
  const lock = lockDatabase(file, iso(options.now))
  let inode: InodeLock | undefined
  try {
    inode = lockReplaced(file)
    return exchange(from, file, options.now)
  } finally {
    inode?.release()
    lock.release()
  }
}

/** A bridge may run on the database that is to be replaced by another path, or beside a lock file that was removed. */
function lockReplaced(file: string): InodeLock | undefined {
  if (!existsSync(file)) return undefined
  const inode = lockInode(file)
  if (inode === null)
    throw new InUseError(file, 'another process of this machine, under this or another path')
  return inode
}

function exchange(from: string, file: string, now: WallMs): Restored {
  const part = `${file}.restoring`
  try {
    giveToOwner(`${file}.lock`, file)
    removeWithLog(part)
    copyPrivate(from, part)
    // A copy that somebody made of a database with its log.
    if (existsSync(`${from}-wal`)) copyPrivate(`${from}-wal`, `${part}-wal`)
    const { version, nodes, problems } = inspectDatabase(part, { readonly: false, noteOf: from })
    if (problems.length > 0) {
      const note =
        readMark(from) === 'none' ? '' : ` To restore it without its note, move ${markFileOf(from)} away.`
      throw new StoreError(`${from} cannot be restored: ${problems.join('; ')}. Nothing was changed.${note}`)
    }
    raiseFence(part, existsSync(file) ? fenceOf(file) : null, now)
    syncFile(part)
    giveToOwner(part, file)
    const aside = `${file}.replaced-${compactTime(iso(now))}`
    const replaced = setAside(file, aside)
    renameSync(part, file)
    syncFolder(file)
    // What the old database acknowledged is not what is restored. Last: while its log is away and it is still here itself,
    // the note is what keeps a start from taking it for whole.
    rmSync(markFileOf(file), { force: true })
    return { file, replaced, version, nodes }
  } catch (error) {
    removeHalf(part)
    if (error instanceof StoreError) throw error
    throw new StoreError(
      `${from} could not be restored: ${messageOf(error)}. The database ${file} is as it was.`,
      {
        cause: error,
      },
    )
  }
}

/**
 * Gives the old database a second name; undefined: there was none. Its log goes before the new file comes, also when it
 * is all that was left.
 */
function setAside(file: string, aside: string): string | undefined {
  const isThere = existsSync(file)
  if (isThere) linkOrCopy(file, aside)
  if (existsSync(`${file}-wal`)) renameSync(`${file}-wal`, `${aside}-wal`)
  rmSync(`${file}-shm`, { force: true })
  syncFolder(file)
  return isThere ? aside : undefined
}

function linkOrCopy(file: string, aside: string): void {
  try {
    linkSync(file, aside)
  } catch {
    // A file system without hard links.
    copyPrivate(file, aside)
    syncFile(aside)
  }
}

/**
 * Gives a file to the owner of the folder: root restores for the user that runs the bridge, who could not even open
 * root's files.
 */
function giveToOwner(path: string, file: string): void {
  if (process.geteuid?.() !== 0) return
  const { uid, gid } = statSync(dirname(file))
  chownSync(path, uid, gid)
}

function copyPrivate(from: string, to: string): void {
  createPrivate(to)
  copyFileSync(from, to, constants.COPYFILE_FICLONE)
  makePrivate(to)
}

function removeWithLog(path: string): void {
  for (const each of [path, `${path}-wal`, `${path}-shm`, `${path}-journal`]) rmSync(each, { force: true })
}

/** Removes a copy that is not whole, where the disk lets it; the next restore tries again. */
function removeHalf(part: string): void {
  try {
    removeWithLog(part)
  } catch {}
}

function sameFile(one: string, other: string): boolean {
  const [a, b] = [statSync(one), statSync(other)]
  return a.dev === b.dev && a.ino === b.ino
}

/**
 * Names who runs a bridge on the database; undefined: nobody. It does not disturb it, and throws when that cannot be found
 * out.
 */
export function holderOf(file: string, now: WallMs): string | undefined {
  if (!statSync(`${file}.lock`, { throwIfNoEntry: false })) return undefined
  try {
    lockDatabase(file, iso(now)).release()
    return undefined
  } catch (error) {
    if (error instanceof InUseError) return error.holder
    throw error
  }
}
