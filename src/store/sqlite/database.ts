import { existsSync, statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import Sqlite from 'better-sqlite3'
import type { Log } from '../../bridge/ports.ts'
import { type Clock, iso } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import { RunningClock } from '../../kernel/running-clock.ts'
import {
  forgetMark,
  hasDecided,
  type MarkWriter,
  markFileOf,
  markWriter,
  missingOf,
  type ReadMark,
  readMark,
} from './acknowledged.ts'
import { backupBeforeUpgrade } from './copy.ts'
import { InUseError, isDamage, StoreError, sqliteCode } from './errors.ts'
import { backupsOf, createPrivate, makePrivate, prepareFolder } from './files.ts'
import { GroupCommit } from './group-commit.ts'
import { type InodeLock, lockInode } from './inode-lock.ts'
import { type Lock, lockDatabase } from './lock.ts'
import { leftoversOf, OpenFiles } from './open-files.ts'
import { Room } from './room.ts'
import { APPLICATION_ID, MIGRATIONS, type Migration, migrate, newestVersion } from './schema/migrations.ts'
import { repairTriggers } from './schema/triggers.ts'
import { AuditTable } from './tables/audit.ts'
import { RunningTime } from './tables/running.ts'

export interface DatabaseOptions {
  /** A path, or `:memory:`, which keeps nothing and needs no lock, no WAL and no backup. */
  readonly file: string
  readonly clock: Clock
  readonly log: Log
  /** The folder of the backups, if not beside it: the error for a damaged database names the newest. */
  readonly backupFolder?: string | null
  /** Called once each time the names of the files do not lead to what is open any more. */
  readonly onLost?: () => void
  /** Told of each commit: milliseconds that COMMIT took, and how many works shared it. */
  readonly onCommit?: (durationMs: number, works: number) => void
  /** A database that lacks what was acknowledged is opened all the same: an operator said so. */
  readonly acceptOlder?: boolean
  /** The bytes up to which everything is stored (`store.maxBytes`); absent: no bound. */
  readonly maxBytes?: number
  /** The migrations, for tests of upgrades. */
  readonly migrations?: readonly Migration[]
}

/** One SQLite file, opened for this bridge alone. */
export interface Database {
  /** Absolute path, or `:memory:`. */
  readonly file: string
  readonly backupFolder: string | null
  readonly sql: Sqlite.Database
  /** The only way to write. */
  readonly writer: GroupCommit
  /** The room that is left up to `store.maxBytes`. */
  readonly room: Room
  /** The clock by which rows get old. */
  readonly running: RunningClock
  /**
   * Says why its files cannot be found by their names any more; undefined: they can. They are looked at every few
   * seconds.
   */
  lost(): string | undefined
  /** It was made just now, beside what an earlier one left. */
  readonly replacesLost: boolean
  /** The sizes on disk; 0 in memory. */
  sizes(): { readonly databaseBytes: number; readonly walBytes: number }
  /** The free bytes of the file system, for a user who is not root; null in memory. */
  freeBytes(): number | undefined
  /**
   * Moves the write-ahead log into the database and cuts it to nothing. False when somebody still reads from it (a
   * backup, or another program), for whom nobody waits.
   */
  checkpoint(): boolean
  /**
   * Commits leave what they write in the write-ahead log until the returned function is called: somebody reads for long, and moves
   * it himself when he has done.
   */
  pauseCheckpoints(): () => void
  /** Ends the pending writes, checkpoints and closes. Further calls wait for the same end. */
  close(): Promise<void>
}

/** Another program that holds the write lock blocks our event loop for as long as this, at most. */
const BUSY_TIMEOUT_MS = 100
/** The time between two comparisons of the files' names with what is open. */
const NAMES_MS = 2000
/** The WAL is cut back to this after a burst. */
const WAL_LIMIT_BYTES = 64 * 1024 * 1024
/** SQLite's own default, some 4 MiB: a checkpoint of that takes milliseconds. */
const CHECKPOINT_PAGES = 1000

/** @throws StoreError whose message says what to do. */
export function openDatabase(options: DatabaseOptions): Database {
  if (options.file === ':memory:') return connect(options, ':memory:', null, false)
  const file = prepareFolder(options.file)
  const replacesLost = checkLeftovers(file, options)
  const lock = lockDatabase(file, iso(options.clock.wallMs()))
  let inode: InodeLock | null = null
  try {
    createPrivate(file)
    makePrivate(file)
    inode = lockInode(file)
    if (inode === null)
      throw new InUseError(file, 'another process of this machine, under this or another path')
    return connect(options, file, bothOf(lock, inode), replacesLost)
  } catch (error) {
    inode?.release()
    lock.release()
    throw error
  }
}

function bothOf(lock: Lock, inode: InodeLock): Lock {
  return {
    release() {
      inode.release()
      lock.release()
    },
  }
}

function connect(options: DatabaseOptions, file: string, lock: Lock | null, replacesLost: boolean): Database {
  const { clock, log } = options
  let sql: Sqlite.Database | undefined
  let running: RunningClock
  try {
    const unclean = hasLog(file)
    sql = new Sqlite(file, { timeout: BUSY_TIMEOUT_MS })
    running = prepare(sql, file, unclean, replacesLost ? { ...options, acceptOlder: true } : options)
  } catch (error) {
    sql?.close()
    throw explained(error, file, options.backupFolder ?? null)
  }
  const mark = file === ':memory:' ? null : markWriter(sql, file)
  mark?.committed()
  return opened(
    { file, backupFolder: options.backupFolder ?? null, replacesLost, running },
    sql,
    new GroupCommit(sql, {
      clock,
      log,
      ...(options.onCommit && { onCommit: options.onCommit }),
      ...(mark && { onDurable: () => mark.committed() }),
    }),
    lock,
    mark,
    options,
  )
}

function prepare(
  sql: Sqlite.Database,
  file: string,
  unclean: boolean,
  options: DatabaseOptions,
): RunningClock {
  const migrations = options.migrations ?? MIGRATIONS
  const version = versionOf(sql, file, newestVersion(migrations))
  if (unclean) checkPages(sql, options)
  setPragmas(sql, file)
  if (file !== ':memory:') checkMark(sql, file, unclean, options)
  if (version !== newestVersion(migrations)) upgrade(sql, file, version, migrations, options)
  const running = new RunningClock(options.clock)
  const stored = new RunningTime(sql)
  running.continueFrom(stored.get(), stored.mark())
  guardAudit(sql, migrations, options)
  return running
}

/** @throws StoreError when the database is, or may be, older than what was acknowledged, unless an operator accepts that. */
function checkMark(
  sql: Sqlite.Database,
  file: string,
  unclean: boolean,
  { acceptOlder, log, backupFolder }: DatabaseOptions,
): void {
  const mark = readMark(file)
  if (mark === 'none' && unclean && hasDecided(sql)) {
    log.warn(
      { file },
      `the database was not closed the last time, and beside it there is no ${markFileOf(file)} that says what the bridge ` +
        'acknowledged last: whether policies and revocations are missing cannot be known. Move the files of a database together',
    )
  }
  const missing = missingOf(sql, file, mark)
  if (missing === undefined) return
  const found = `The database ${file} cannot be trusted to be complete: ${missing}`
  if (acceptOlder) {
    log.error(
      { file, ...(typeof mark === 'object' && mark) },
      `${found}; it is used all the same (--accept-older)`,
    )
    // What was decided last is noted in a moment; of what was never decided there is nothing to note. What cannot be read
    // could not be written either.
    if (!hasDecided(sql) || isUnreadable(mark)) forgetMark(file)
    return
  }
  if (isUnreadable(mark))
    throw new StoreError(
      `${found}. Nothing was changed and no listener is open. To go on without it, start once with ` +
        '`limb-bridge serve --accept-older`, and look at policies and limbs.',
    )
  throw new StoreError(
    `${found}, and pairings, policies and revocations may be missing. Its log was damaged, or somebody put another file ` +
      `in its place. Nothing was changed and no listener is open. To restore: ${restoreOf(file, backupFolder)}. To go on ` +
      'with what is there, start once with `limb-bridge serve --accept-older`, and look at policies and limbs.',
  )
}

function isUnreadable(mark: ReadMark): boolean {
  return typeof mark === 'object' && 'unreadable' in mark
}

function restoreOf(file: string, backupFolder: string | null | undefined): string {
  const newest = backupsOf(file, backupFolder ?? null).at(-1)
  return newest === undefined
    ? 'there is no backup beside it'
    : `\`limb-bridge restore ${newest}\` (the newest backup there is)`
}

/** A bridge that does not start helps nobody, and one without these triggers would not notice its own mistakes. */
function guardAudit(
  sql: Sqlite.Database,
  migrations: readonly Migration[],
  { clock, log }: DatabaseOptions,
): void {
  const repair = sql.transaction(() => {
    const found = repairTriggers(sql, migrations)
    const detail = { ...found }
    if (found) {
      new AuditTable(sql).append({
        at: clock.wallMs(),
        actor: 'bridge',
        kind: 'audit.triggers_restored',
        nodeId: null,
        outcome: 'restored',
        detail,
      })
    }
    return found
  })
  const found = repair()
  if (!found) return
  log.error(
    found,
    'triggers that guard the audit log were not those of the schema and are made again: somebody changed the database ' +
      'by hand. Run `limb-bridge audit verify`, with a seq and hash that you kept if you have one',
  )
}

/** A write-ahead log is left behind, if only an empty one, by who did not close: a killed bridge, a machine without power. */
function hasLog(file: string): boolean {
  return file !== ':memory:' && existsSync(`${file}-wal`)
}

function sizeOf(path: string): number {
  return path.startsWith(':memory:') ? 0 : (statSync(path, { throwIfNoEntry: false })?.size ?? 0)
}

/** Looks at every page once after an unclean end: some 3 ms a megabyte, and damage shows before it is used. */
function checkPages(sql: Sqlite.Database, { clock, log, file }: DatabaseOptions): void {
  const startedAt = clock.monotonicMs()
  const verdict = sql.pragma('quick_check(1)', { simple: true })
  if (verdict !== 'ok') throw new Sqlite.SqliteError(String(verdict), 'SQLITE_CORRUPT')
  const tookMs = Math.round(clock.monotonicMs() - startedAt)
  const pages = number(sql, 'page_count')
  log.info(
    { file, pages, tookMs },
    `the database was not closed the last time (a kill, or a loss of power): its ${pages} pages were checked in ${tookMs} ms and are sound`,
  )
}

/** Nothing is written before this says that the file is ours and not from the future. */
function versionOf(sql: Sqlite.Database, file: string, newest: number): number {
  const application = number(sql, 'application_id')
  const version = number(sql, 'user_version')
  const tables = sql.prepare('SELECT count(*) FROM sqlite_schema').pluck().get()
  if (application !== APPLICATION_ID && (application !== 0 || version !== 0 || tables !== 0)) {
    throw new StoreError(
      `${file} is an SQLite database of another program. Nothing was changed. Set store.path (LIMB_DB) to a path of the bridge's own.`,
    )
  }
  if (version > newest) {
    throw new StoreError(
      `The database ${file} has schema ${version}, and this bridge knows schemas up to ${newest}: it was written by a ` +
        'newer version. Nothing was changed. Install that version again, or restore a backup from before the upgrade ' +
        '(the .bak files beside it).',
    )
  }
  return version
}

function setPragmas(sql: Sqlite.Database, file: string): void {
  if (file !== ':memory:') {
    expect(sql, 'journal_mode', 'WAL', 'wal')
    sql.pragma(`journal_size_limit = ${WAL_LIMIT_BYTES}`)
    sql.pragma(`wal_autocheckpoint = ${CHECKPOINT_PAGES}`)
  }
  // After journal_mode: switching to WAL lowers it to NORMAL, and then a power cut loses acknowledged commits.
  expect(sql, 'synchronous', 'FULL', 2)
  expect(sql, 'trusted_schema', 'OFF', 0)
  expect(sql, 'foreign_keys', 'ON', 1)
}

function expect(sql: Sqlite.Database, name: string, value: string, readBack: string | number): void {
  sql.pragma(`${name} = ${value}`)
  const actual = sql.pragma(name, { simple: true })
  if (actual === readBack) return
  throw new StoreError(
    `SQLite did not accept ${name} = ${value} (it says ${String(actual)}). ` +
      'The database must lie on a local file system with locks and shared memory, not on a network share.',
  )
}

function number(sql: Sqlite.Database, pragma: string): number {
  return Number(sql.pragma(pragma, { simple: true }))
}

function upgrade(
  sql: Sqlite.Database,
  file: string,
  version: number,
  migrations: readonly Migration[],
  { clock, log }: DatabaseOptions,
): void {
  const target = newestVersion(migrations)
  const backup =
    version > 0 && file !== ':memory:'
      ? backupBeforeUpgrade(sql, file, version, iso(clock.wallMs()))
      : undefined
  try {
    migrate(sql, version, migrations)
  } catch (error) {
    if (isDamage(error)) throw error
    throw new StoreError(
      `The upgrade of the database ${file} from schema ${version} to ${target} failed: ${messageOf(error)}. ` +
        'The database is as it was; the version of the bridge that wrote it still opens it.',
      { cause: error },
    )
  }
  if (version > 0) log.info({ file, from: version, to: target, backup }, 'upgraded the database')
}

function explained(error: unknown, file: string, backupFolder: string | null): unknown {
  if (error instanceof StoreError) return error
  const code = sqliteCode(error)
  if (code === undefined) return error
  if (isDamage(error)) return damaged(error, { file, backupFolder })
  const hint = code.startsWith('SQLITE_FULL')
    ? 'The disk is full: make room and start again.'
    : 'The file and its folder must be writable for the user that runs the bridge, on a local disk; or set another store.path (LIMB_DB).'
  return new StoreError(`The database ${file} cannot be opened: ${messageOf(error)} (${code}). ${hint}`, {
    cause: error,
  })
}

/** Says what to do with a truncated or overwritten file. */
export function damaged(
  error: unknown,
  { file, backupFolder }: Pick<Database, 'file' | 'backupFolder'>,
): StoreError {
  const newest = backupsOf(file, backupFolder).at(-1)
  const restore =
    newest === undefined
      ? '`limb-bridge restore FILE`, FILE being a backup'
      : `\`limb-bridge restore ${newest}\` (the newest backup there is)`
  return new StoreError(
    `The database ${file} is damaged: ${messageOf(error)}. Nothing was changed. To restore: keep the bridge stopped, ` +
      `run ${restore}, and start again. The damaged database is kept aside.`,
    { cause: error },
  )
}

function opened(
  place: Pick<Database, 'file' | 'backupFolder' | 'replacesLost' | 'running'>,
  sql: Sqlite.Database,
  writer: GroupCommit,
  lock: Lock | null,
  mark: MarkWriter | null,
  options: DatabaseOptions,
): Database {
  const { file } = place
  const names = lock ? watchNames(file, writer, options) : NO_NAMES
  const pauses = new Set<object>()
  let closing: Promise<void> | undefined
  const close = async () => {
    names.stop()
    await writer.close()
    mark?.close()
    sql.close()
    lock?.release()
  }
  return {
    ...place,
    sql,
    writer,
    room: new Room(sql, options.clock, options.maxBytes ?? Number.POSITIVE_INFINITY),
    lost: () => names.lost(),
    sizes: () => ({ databaseBytes: sizeOf(file), walBytes: sizeOf(`${file}-wal`) }),
    freeBytes() {
      if (file === ':memory:') return undefined
      const { bavail, bsize } = statfsSync(dirname(file))
      return bavail * bsize
    },
    checkpoint() {
      if (pauses.size > 0) return false
      sql.pragma('busy_timeout = 0')
      try {
        const [row] = sql.pragma('wal_checkpoint(TRUNCATE)') as { busy: number }[]
        return row?.busy === 0
      } finally {
        sql.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`)
      }
    },
    pauseCheckpoints() {
      const pause = {}
      pauses.add(pause)
      sql.pragma('wal_autocheckpoint = 0')
      return () => {
        if (pauses.delete(pause) && pauses.size === 0 && sql.open)
          sql.pragma(`wal_autocheckpoint = ${CHECKPOINT_PAGES}`)
      }
    },
    close() {
      closing ??= close()
      return closing
    },
  }
}

interface NamesWatch {
  lost(): string | undefined
  stop(): void
}

/** The watch of a database in memory. */
const NO_NAMES: NamesWatch = { lost: () => undefined, stop: () => {} }

/** Compares the names of the files with what is open, again and again, and refuses changes while they differ. */
function watchNames(file: string, writer: GroupCommit, options: DatabaseOptions): NamesWatch {
  const { clock, log, onLost } = options
  const files = new OpenFiles(file)
  let trouble: string | undefined
  const look = () => {
    const before = trouble
    trouble = files.trouble()
    writer.refuseWrites(trouble)
    if (before === undefined && trouble !== undefined) {
      log.error(
        { file },
        `${trouble}. All changes are refused, because they would be lost with this process. Do not restart the bridge ` +
          'before you have a backup of what it still holds (`limb-bridge backup create`); then stop it, `limb-bridge restore` ' +
          'that backup, and start it. If the file was only moved, move it back',
      )
      onLost?.()
    } else if (before !== undefined && trouble === undefined) {
      log.info({ file }, 'the files of the database are in their places again; changes are taken')
    }
    return trouble
  }
  let cancel = () => {}
  const again = () => {
    cancel = clock.after(NAMES_MS, () => {
      again()
      look()
    })
  }
  again()
  return {
    // As it is now: who asks must not wait for the next look.
    lost: look,
    stop: () => cancel(),
  }
}

/**
 * Tells of a new database beside what an earlier one has left; whether it is so. A write-ahead log without its database would be deleted by
 * SQLite, with all that stands in nothing but the log.
 */
function checkLeftovers(file: string, { log, backupFolder, acceptOlder }: DatabaseOptions): boolean {
  const found = leftoversAt(file, backupFolder ?? null, acceptOlder)
  if (found === undefined) return false
  if (found.refused) throw new StoreError(found.text)
  log.warn({ file, leftovers: found.leftovers.slice(0, 20) }, found.text)
  return true
}

export interface Leftovers {
  readonly leftovers: readonly string[]
  /** Is true when no start makes an empty database there. */
  readonly refused: boolean
  /** Says what is there and what to do, as a start does. */
  readonly text: string
}

/** Looks at what an earlier database has left in a place where none is; undefined: nothing, or there is one. */
export function leftoversAt(
  file: string,
  backupFolder: string | null,
  acceptOlder = false,
): Leftovers | undefined {
  const leftovers = leftoversOf(file)
  if (leftovers.length === 0) return undefined
  const refused = (text: string) => ({ leftovers, refused: true, text })
  const newest = backupsOf(file, backupFolder).at(-1)
  const restore = `\`limb-bridge restore ${newest ?? 'FILE'}\`${newest === undefined ? ', FILE being a backup' : ' (the newest backup there is)'}`
  if (sizeOf(`${file}-wal`) > 0) {
    return refused(
      `There is no database ${file}, but its write-ahead log ${file}-wal, which may hold what is nowhere else. Nothing was ` +
        `changed. Put the database back beside it; or move the log away and run ${restore}.`,
    )
  }
  if (!acceptOlder && readMark(file) !== 'none') {
    return refused(
      `There is no database ${file}, but the note ${markFileOf(file)} of what it acknowledged. Nothing was changed and no ` +
        `listener is open. Put the database back beside it, mount its disk, or run ${restore}. To begin with an empty one, ` +
        'start once with `limb-bridge serve --accept-older`: every limb is a stranger to it.',
    )
  }
  const named = `${leftovers.slice(0, 5).join(', ')}${leftovers.length > 5 ? ', …' : ''}`
  const text =
    `there is no database ${file}, but what an earlier one left beside it (${named}): ` +
    'an empty one is made, and every limb is a stranger to it. If the old one was lost, stop the bridge and run ' +
    `${restore}; if its disk is not mounted, stop the bridge and mount it`
  return { leftovers, refused: false, text }
}
