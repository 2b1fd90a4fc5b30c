import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { messageOf } from '../kernel/errors.ts'
import { StoreError } from './errors.ts'

/** The database holds hashes of keys and passwords: nobody else on the machine reads it. */
const FILE_MODE = 0o600
const FOLDER_MODE = 0o700

/** Absolute, with links resolved, so that two spellings of one file meet in one lock. Makes the folder. */
export function prepareFolder(file: string): string {
  const path = resolve(file)
  const folder = dirname(path)
  try {
    mkdirSync(folder, { recursive: true, mode: FOLDER_MODE })
    return existsSync(path) ? realpathSync(path) : join(realpathSync(folder), basename(path))
  } catch (error) {
    throw new StoreError(
      `The folder of the database, ${folder}, cannot be made or entered: ${messageOf(error)}. ` +
        'Make it, owned by the user that runs the bridge, or set another LIMB_DB.',
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
        'The folder must be writable for the user that runs the bridge.',
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
  for (const each of [path, dirname(path)]) {
    const handle = openSync(each, 'r')
    try {
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
  }
}

/** Backups beside a database file, the newest last. */
export function backupsOf(path: string): string[] {
  try {
    const prefix = `${basename(path)}.`
    return readdirSync(dirname(path))
      .filter((name) => name.startsWith(prefix) && name.endsWith('.bak'))
      .map((name) => ({ name, time: name.slice(-'20000101T000000000Z.bak'.length) }))
      .sort((a, b) => (a.time < b.time ? -1 : 1))
      .map(({ name }) => join(dirname(path), name))
  } catch {
    return []
  }
}
