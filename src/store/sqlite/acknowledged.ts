import {
  closeSync,
  constants,
  fchownSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import type Sqlite from 'better-sqlite3'
import { syncFolder } from './files.ts'
import { CHAIN_TABLES, type ChainTable } from './tables/audit-chain.ts'

/**
 * Notes what was acknowledged last, kept beside the database: number and hash of the newest row of the audit log. A
 * write-ahead log that is damaged after a kill ends at the damage, without a word: the database comes up sound, and
 * older. The file is written after each commit that is on the disk, and flushed once, when it is made: it survives a
 * kill, and after a loss of power it may be behind the database, never ahead.
 */

export interface AuditMark {
  readonly seq: number
  /** Hexadecimal. */
  readonly hash: string
}

/**
 * The length of the file, more than a mark has; the rest is spaces, so that a shorter one leaves nothing of a longer.
 */
const LENGTH = 128

export function markFileOf(file: string): string {
  return `${file}.acknowledged`
}

/** A note that is there and that this user may not read, or that its disk does not give. */
export interface UnreadableMark {
  /** The code of the system, such as `EACCES`. */
  readonly unreadable: string
}

export type ReadMark = AuditMark | UnreadableMark | 'none' | 'damaged'

/**
 * Reads the mark. `none`: there is no note, or an empty one, as a full disk leaves it. `damaged`: there is one, and it
 * says nothing, so that nobody can tell whether the database is as new as what was acknowledged.
 */
export function readMark(file: string): ReadMark {
  try {
    const text = readFileSync(markFileOf(file), 'utf8')
    if (text === '') return 'none'
    const { seq, hash } = JSON.parse(text) as Partial<AuditMark>
    const isMark = Number.isSafeInteger(seq) && Number(seq) > 0 && /^[0-9a-f]{64}$/.test(String(hash))
    return isMark ? { seq: Number(seq), hash: String(hash) } : 'damaged'
  } catch (error) {
    return ofFailure(error)
  }
}

function ofFailure(error: unknown): ReadMark {
  const { code, syscall } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return 'none'
  // What was read is no JSON, or it is a folder.
  return code === undefined || syscall === undefined || code === 'EISDIR' ? 'damaged' : { unreadable: code }
}

/** Removes the mark: what it knew of is given up. */
export function forgetMark(file: string): void {
  try {
    rmSync(markFileOf(file), { force: true })
  } catch {
    // A folder of that name is nobody's note; the next start tells of it again.
  }
}

/** The tables of the audit log that a database has; one of an older schema has one, or none yet. */
function logsOf(sql: Sqlite.Database): ChainTable[] {
  const tables = sql.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all()
  return CHAIN_TABLES.filter((table) => tables.includes(table))
}

function newestStatement(sql: Sqlite.Database, tables: readonly ChainTable[]): Sqlite.Statement<[]> {
  const each = tables.map(
    (table) => `SELECT * FROM (SELECT seq, hash FROM ${table} ORDER BY seq DESC LIMIT 1)`,
  )
  return sql.prepare(`${each.join(' UNION ALL ')} ORDER BY seq DESC LIMIT 1`)
}

/** Returns whether the database has the row of the mark, or has pruned it. */
function holdsMark(sql: Sqlite.Database, mark: AuditMark): boolean {
  for (const table of logsOf(sql)) {
    const hash = sql.prepare(`SELECT hash FROM ${table} WHERE seq = ?`).pluck().get(mark.seq)
    if (hash) return Buffer.from(hash as Uint8Array).toString('hex') === mark.hash
    const anchor = sql.prepare(`SELECT seq FROM ${table}_anchor`).pluck().get()
    // What retention took was there, and so was everything before it.
    if (Number(anchor ?? 0) >= mark.seq) return true
  }
  return false
}

/** Returns whether anything was ever decided in a database. */
export function hasDecided(sql: Sqlite.Database): boolean {
  const tables = logsOf(sql)
  return tables.length > 0 && newestStatement(sql, tables).get() !== undefined
}

/** Says what a database lacks of what was acknowledged; undefined: nothing that the note beside it knows of. */
export function missingOf(sql: Sqlite.Database, file: string, mark: ReadMark): string | undefined {
  if (mark === 'none') return undefined
  if (typeof mark === 'object' && 'unreadable' in mark)
    return `the note ${markFileOf(file)} of what the bridge acknowledged last cannot be read by ${whoReads()} (${mark.unreadable}), so that nobody can tell whether the database is as new; give it to the user that runs the bridge`
  if (mark === 'damaged')
    return `the note ${markFileOf(file)} of what the bridge acknowledged last is damaged, so that nobody can tell whether the database is as new`
  return holdsMark(sql, mark)
    ? undefined
    : `it is older than what the bridge acknowledged: row ${mark.seq} of its audit log is missing`
}

function whoReads(): string {
  return `the user with the id ${process.geteuid?.() ?? 'unknown'}`
}

/** Gives the note to who owns the database: one that root made could not be read by the user that runs the bridge. */
function giveToOwner(opened: number, file: string): void {
  if (process.geteuid?.() !== 0) return
  const { uid, gid } = statSync(file)
  fchownSync(opened, uid, gid)
}

export interface MarkWriter {
  /** Is called after a commit that is on the disk. It never throws: a mark that is behind is no harm. */
  committed(): void
  close(): void
}

export function markWriter(sql: Sqlite.Database, file: string): MarkWriter {
  const newest = newestStatement(sql, logsOf(sql))
  let handle: number | undefined
  let written = -1
  const open = () => {
    const opened = openSync(markFileOf(file), constants.O_WRONLY | constants.O_CREAT, 0o600)
    giveToOwner(opened, file)
    return opened
  }
  /** The first mark of a process also takes what was longer away, and makes a new file outlive a loss of power. */
  const settle = (opened: number) => {
    ftruncateSync(opened, LENGTH)
    fsyncSync(opened)
    syncFolder(markFileOf(file))
  }
  return {
    committed() {
      try {
        const row = newest.get() as { seq: number; hash: Uint8Array } | undefined
        if (!row || row.seq === written) return
        handle ??= open()
        const mark = { seq: row.seq, hash: Buffer.from(row.hash).toString('hex') }
        writeSync(handle, JSON.stringify(mark).padEnd(LENGTH), 0)
        if (written < 0) settle(handle)
        written = row.seq
      } catch {
        // A full disk: the next commit tries again.
      }
    },
    close() {
      if (handle !== undefined) closeSync(handle)
      handle = undefined
    },
  }
}
