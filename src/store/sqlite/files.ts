import { chmodSync, closeSync, existsSync, fsyncSync, openSync, readdirSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { messageOf } from '../../kernel/errors.ts'
import { makeFolder } from '../../kernel/folders.ts'
import { StoreError } from './errors.ts'

/** The database holds hashes of keys and passwords: nobody else on the machine reads it. */
const FILE_MODE = 0o600
const FOLDER_MODE = 0o700

/** Absolute, with links resolved, so that two spellings of one file meet in one lock. Makes the folder. */
export function prepareFolder(file: string): string {
  const path = resolve(file)
  const folder = dirname(path)
  try {
    makeFolder(folder, FOLDER_MODE)
    return existsSync(path) ? realpathSync(path) : join(realpathSync(folder), basename(path))
  } catch (error) {
    throw new StoreError(
      `The folder of the database, ${folder}, cannot be made or entered: ${messageOf(error)}. ` +
        'Make it, owned by the user that runs the bridge, or set another store.path (LIMB_DB).',
      { cause: error },
    )
  }
}

/**
 * Creates an empty file that only its owner reads. An existing one is left alone: opening and closing it here
 * would drop the POSIX locks that this process may hold on it through SQLite.
 */
export function createPrivate(path: string): void {
  if (existsSync(path)) return
  try {
    closeSync(openSync(path, 'wx', FILE_MODE))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return
    throw new StoreError(
      `${path} cannot be created: ${messageOf(error)}. ` +
        'The folder must be writable for the user that runs the bridge; or set another store.path (LIMB_DB).',
      { cause: error },
    )
  }
}

/** Takes the rights of others away from a file that came with them, for instance by a copy. */
export function makePrivate(path: string): void {
  try {
    chmodSync(path, FILE_MODE)
  } catch {
    // Owned by someone else: whether it can be written is found out by writing.
  }
}

/** Flushes a file that no SQLite connection of this process has open, and the folder's entry of it. */
export function syncFile(path: string): void {
  for (const each of [path, dirname(path)]) sync(each)
}

/** Flushes the folder's entry of a file. */
export function syncFolder(path: string): void {
  sync(dirname(path))
}

function sync(path: string): void {
  const handle = openSync(path, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

/** An ISO time as a part of a file's name. */
export function compactTime(isoTime: string): string {
  return isoTime.replaceAll(/[-:.]/g, '')
}

/** Backups of a database file, beside it, in the folder `backups` and in the chosen one, the newest last. */
export function backupsOf(path: string, chosen: string | null): string[] {
  const beside = backupsIn(
    dirname(path),
    (name) => name.startsWith(`${basename(path)}.`) && name.endsWith('.bak'),
  )
  const folders = [join(dirname(path), 'backups'), ...(chosen === null ? [] : [resolve(chosen)])]
  const made = folders.flatMap((folder) => backupsIn(folder, (name) => /^limb-.*\.sqlite$/.test(name)))
  return [...beside, ...made].sort((a, b) => (timeIn(a) < timeIn(b) ? -1 : 1))
}

function backupsIn(folder: string, accepts: (name: string) => boolean): string[] {
  try {
    return readdirSync(folder)
      .filter(accepts)
      .map((name) => join(folder, name))
  } catch {
    return []
  }
}

function timeIn(path: string): string {
  return /(\d{8}T\d{9}Z)\.\w+$/.exec(path)?.[1] ?? ''
}
