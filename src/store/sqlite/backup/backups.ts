import { readdirSync, statSync } from 'node:fs'
import { readdir, rm, stat, statfs } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { BackupFile } from '../../../bridge/ports.ts'
import { invariant } from '../../../kernel/assert.ts'
import { type Clock, iso } from '../../../kernel/clock.ts'
import { messageOf, Refusal } from '../../../kernel/errors.ts'
import { makeFolder } from '../../../kernel/folders.ts'
import { emptyMountPoint } from '../../../kernel/mounts.ts'
import type { KeptBackups } from '../../engine.ts'
import type { Database } from '../database.ts'
import { compactTime, createPrivate } from '../files.ts'
import type { BackupJob, BackupOutcome, CopyRead } from './worker.ts'

export interface BackupsOptions {
  readonly database: Database
  /** The folder of the backups; null: `backups` beside the database. */
  readonly folder: string | null
  readonly clock: Clock
}

/** The Backups port on SQLite files. */
export interface FileBackups extends KeptBackups {
  /** Absolute path. */
  readonly folder: string
}

/** A backup leaves so much of the disk: it must not be what makes the bridge refuse pairings. */
const RESERVE_BYTES = 16 * 1024 * 1024
const NAME = /^limb-(\d{8}T\d{9}Z)\.sqlite$/
/** Halves of a process that was killed. */
const PART = /^limb-\d{8}T\d{9}Z\.sqlite\.part(-journal)?$/

const STOPS = 'the bridge stops'

// Beside this file, `.ts` or built.
const WORKER = new URL(import.meta.url.replace(/backups(\.\w+)(\?.*)?$/, 'worker$1'))

export function createBackups({ database, folder, clock }: BackupsOptions): FileBackups {
  const inMemory = database.file === ':memory:'
  const target = backupFolder(inMemory ? 'data/limb.sqlite' : database.file, folder)
  const foundAtStart = inMemory ? undefined : newestAtStart(target)
  let lastMadeAt: number | undefined
  let bytes = inMemory ? 0 : sizeIn(target)
  let underWay: Worker | 'starting' | undefined
  const stopping = new AbortController()
  let ending: Promise<void> | undefined

  async function make(): Promise<BackupFile> {
    const takenAt = clock.wallMs()
    if (folder === null) makeFolder(target, 0o700)
    else checkChosenFolder(target)
    await removeAll(target, PART)
    await checkRoom(database, target)
    const file = join(target, nameOf(takenAt))
    const lost = database.lost() !== undefined
    if (lost) await copyFromHandle(database, `${file}.part`)
    if (stopping.signal.aborted) throw unavailable(STOPS)
    const worker = begin({ source: lost ? undefined : database.file, part: `${file}.part`, file })
    underWay = worker
    const outcome = await outcomeOf(worker, stopping.signal)
    if (!outcome.ok) throw unavailable(outcome.reason)
    lastMadeAt = takenAt
    return { file, bytes: outcome.bytes, takenAt }
  }

  function begin(job: BackupJob): Worker {
    // Nothing could be moved out of the log meanwhile, and then the next commit would move all of it at once.
    const goOn = job.source === undefined ? () => undefined : database.pauseCheckpoints()
    try {
      const worker = new Worker(WORKER, { workerData: job })
      worker.on('message', (word: CopyRead | BackupOutcome) => {
        if (word === 'read') goOn()
      })
      worker.once('exit', goOn)
      return worker
    } catch (error) {
      // The machine may have no thread left.
      goOn()
      throw error
    }
  }

  async function end(): Promise<void> {
    const worker = underWay
    stopping.abort()
    if (!(worker instanceof Worker)) return
    await worker.terminate()
    await removeAll(target, PART).catch(() => undefined)
  }

  return {
    folder: target,
    get lastKnownAt() {
      return lastMadeAt ?? foundAtStart
    },
    get isUnderWay() {
      return underWay !== undefined
    },
    get isStopping() {
      return stopping.signal.aborted
    },
    async create() {
      if (inMemory)
        throw new Refusal('conflict', 'the database is kept in memory only; set store.path to keep it')
      if (underWay !== undefined)
        throw new Refusal('conflict', 'a backup is under way; wait until it is done')
      underWay = 'starting'
      try {
        return await make()
      } catch (error) {
        throw error instanceof Refusal ? error : unavailable(messageOf(error))
      } finally {
        underWay = undefined
      }
    },
    async prune(keep, maxBytes) {
      // By their names; but a clock that was set since must not make the one just made the oldest.
      const newest = lastMadeAt === undefined ? undefined : nameOf(lastMadeAt)
      const names = (await namesIn(target, NAME)).filter((name) => name !== newest).sort()
      const others = newest === undefined ? keep : keep - 1
      const young = names.slice(Math.max(0, names.length - others))
      if (newest !== undefined) young.push(newest)
      const kept = withinBytes(target, young, maxBytes)
      const failed: unknown[] = []
      for (const name of names) {
        // The oldest first, so that whatever ends the process leaves the newest.
        if (!kept.includes(name))
          await rm(join(target, name), { force: true }).catch((error) => failed.push(error))
      }
      bytes = sizeIn(target)
      if (failed.length > 0) throw failed[0]
      return { kept: kept.length, bytes, beyondBytes: young.length - kept.length }
    },
    get bytes() {
      return bytes
    },
    newestAt: () => newestBackupIn(target),
    async list() {
      if (inMemory) return []
      const names = (await namesIn(target, NAME)).sort().reverse()
      return await Promise.all(names.map(async (name) => await backupFileOf(target, name)))
    },
    stop() {
      ending ??= end()
      return ending
    },
  }
}

/** Pages that are copied in one turn of the event loop: some milliseconds. */
const PAGES_PER_TURN = 500

/** The files cannot be opened by their names any more, but the connection still holds them. */
async function copyFromHandle({ sql }: Database, part: string): Promise<void> {
  createPrivate(part)
  await sql.backup(part, { progress: () => PAGES_PER_TURN })
}

function nameOf(takenAt: number): string {
  return `limb-${compactTime(iso(takenAt))}.sqlite`
}

/** Absolute; `backups` beside the database unless it is chosen. */
export function backupFolder(file: string, chosen: string | null): string {
  return resolve(chosen ?? join(dirname(file), 'backups'))
}

/**
 * Says what keeps backups from a folder that was chosen; undefined: nothing. The bridge does not make it: below the
 * mount point of a disk that is not there it would lie on the disk of the system, and fill that.
 */
export function whyNoBackupsIn(chosen: string): string | undefined {
  const point = emptyMountPoint(chosen)
  if (point !== undefined) return `nothing is mounted on ${point}; mount the disk of backup.folder, ${chosen}`
  const stat = statSync(chosen, { throwIfNoEntry: false })
  if (stat === undefined) {
    return `there is no folder ${chosen} (backup.folder); mount its disk, or make it, owned by the user that runs the bridge`
  }
  return stat.isDirectory() ? undefined : `${chosen} (backup.folder) is no folder`
}

function checkChosenFolder(chosen: string): void {
  const why = whyNoBackupsIn(chosen)
  if (why !== undefined) throw unavailable(why)
}

function newestAtStart(folder: string): number | undefined {
  try {
    return newestOf(readdirSync(folder))
  } catch {
    return undefined
  }
}

function newestOf(names: readonly string[]): number | undefined {
  const newest = names
    .filter((name) => NAME.test(name))
    .sort()
    .at(-1)
  const time = newest === undefined ? undefined : NAME.exec(newest)?.[1]
  return time === undefined ? undefined : parseCompact(time)
}

/** The newest of some backups, in order of their age, whose sizes are within a bound together; one at least. */
function withinBytes(folder: string, names: readonly string[], maxBytes: number): readonly string[] {
  const kept: string[] = []
  let bytes = 0
  for (const name of names.toReversed()) {
    const size = statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0
    if (kept.length > 0 && bytes + size > maxBytes) break
    kept.push(name)
    bytes += size
  }
  return kept
}

function sizeIn(folder: string): number {
  try {
    const names = readdirSync(folder).filter((name) => NAME.test(name))
    return names.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
  } catch {
    return 0
  }
}

/** Returns when the newest one there was made, wall time; undefined: there is none. */
export async function newestBackupIn(folder: string): Promise<number | undefined> {
  return newestOf(await namesIn(folder, NAME))
}

/**
 * Rejects for nothing: a thread that ends without a word has failed. One that is to end is not waited for: it is in the middle
 * of SQLite, which a thread leaves only when it has copied, or checked, the whole file.
 */
function outcomeOf(worker: Worker, stopping: AbortSignal): Promise<BackupOutcome> {
  return new Promise((done) => {
    worker.on('message', (word: CopyRead | BackupOutcome) => {
      if (word !== 'read') done(word)
    })
    worker.once('error', (error) => done({ ok: false, reason: messageOf(error) }))
    worker.once('exit', () => done({ ok: false, reason: 'it was interrupted' }))
    stopping.addEventListener('abort', () => done({ ok: false, reason: STOPS }), { once: true })
  })
}

async function checkRoom(database: Database, folder: string): Promise<void> {
  const { databaseBytes, walBytes } = database.sizes()
  const { bavail, bsize } = await statfs(folder)
  const needed = databaseBytes + walBytes + RESERVE_BYTES
  if (bavail * bsize >= needed) return
  throw unavailable(
    `there are ${mebibytes(bavail * bsize)} MiB free in ${folder}, and it wants ${mebibytes(needed)}; make room, or set backup.folder`,
  )
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1)
}

async function backupFileOf(folder: string, name: string): Promise<BackupFile> {
  const file = join(folder, name)
  const { size } = await stat(file)
  return { file, bytes: size, takenAt: newestOf([name]) ?? 0 }
}

async function namesIn(folder: string, pattern: RegExp): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => pattern.test(name))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

async function removeAll(folder: string, pattern: RegExp): Promise<void> {
  for (const name of await namesIn(folder, pattern)) await rm(join(folder, name), { force: true })
}

/** `20260101T120000000Z` back to milliseconds. */
function parseCompact(text: string): number {
  const at = Date.parse(
    text.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z$/, '$1-$2-$3T$4:$5:$6.$7Z'),
  )
  invariant(Number.isFinite(at), `${basename(text)} is no time`)
  return at
}

function unavailable(reason: string): Refusal {
  return new Refusal('storage_unavailable', `the backup could not be made: ${reason}`)
}
