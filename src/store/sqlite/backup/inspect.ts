import { existsSync } from 'node:fs'
import Sqlite from 'better-sqlite3'
import { messageOf } from '../../../kernel/errors.ts'
import { missingOf, readMark } from '../acknowledged.ts'
import { sqliteCode } from '../errors.ts'
import { APPLICATION_ID, MIGRATIONS, newestVersion } from '../schema/migrations.ts'

/** Says what a database file is, and whether it can be trusted. */
export interface Inspection {
  /** Schema version; 0 when it could not be read. */
  readonly version: number
  readonly nodes: number
  /** The faults that were found, each a sentence; empty: sound. */
  readonly problems: readonly string[]
  /** It could not even be opened, which says nothing about what is in it. */
  readonly unopened?: boolean
}

/** The codes of SQLite of a file, or a disk, that is out of reach, full or failing: nothing was seen of the pages. */
const UNOPENED = ['SQLITE_CANTOPEN', 'SQLITE_IOERR', 'SQLITE_FULL', 'SQLITE_READONLY']

/** Findings of `integrity_check` that are told; one is reason enough. */
const MAX_FINDINGS = 5

/**
 * Looks at every page. Blocks for some 5 ms a megabyte. `readonly`: a bridge may be running on it; otherwise the
 * file may be a copy with a write-ahead log of its own, which is folded in. `noteOf`: the file that it is a copy of, beside
 * which the note of what was acknowledged lies.
 */
export function inspectDatabase(
  file: string,
  { readonly, noteOf = file }: { readonly readonly: boolean; readonly noteOf?: string },
): Inspection {
  let sql: Sqlite.Database | undefined
  // Before the database, which a bridge that runs writes first.
  const mark = readMark(noteOf)
  try {
    sql = open(file, readonly)
    // A copy that needs no second file beside it can be moved by anybody.
    if (!readonly) sql.pragma('journal_mode = DELETE')
    const found = look(sql)
    const missing = found.problems.length === 0 ? missingOf(sql, noteOf, mark) : undefined
    return missing === undefined ? found : { ...found, problems: [missing] }
  } catch (error) {
    const problems = [`it cannot be read: ${messageOf(error)}`]
    return {
      version: 0,
      nodes: 0,
      problems,
      unopened: UNOPENED.some((code) => sqliteCode(error)?.startsWith(code)),
    }
  } finally {
    sql?.close()
  }
}

/**
 * A reader that may not write leaves an empty log behind, and the next start would take it for that of a killed bridge. A log that
 * is there already stays what it is: who may write would fold it in at the end.
 */
function open(file: string, readonly: boolean): Sqlite.Database {
  const sql = new Sqlite(file, { readonly: readonly && existsSync(`${file}-wal`), fileMustExist: true })
  if (readonly) sql.pragma('query_only = ON')
  sql.pragma('trusted_schema = OFF')
  return sql
}

/** Counts the deliveries that wait, by webhook, beside a running bridge too. Empty when the database cannot be read. */
export function waitingDeliveries(file: string): ReadonlyMap<string, { count: number; attempts: number }> {
  let sql: Sqlite.Database | undefined
  try {
    sql = open(file, true)
    const rows = sql
      .prepare<[], { webhook: string; count: number; attempts: number }>(
        'SELECT webhook, count(*) AS count, max(attempts) AS attempts FROM webhook_deliveries GROUP BY webhook',
      )
      .all()
    return new Map(rows.map(({ webhook, count, attempts }) => [webhook, { count, attempts }]))
  } catch (error) {
    // What keeps the file from being read is told by its own check, and an older schema has no such table.
    if (sqliteCode(error) === undefined) throw error
    return new Map()
  } finally {
    sql?.close()
  }
}

function look(sql: Sqlite.Database): Inspection {
  const number = (pragma: string) => Number(sql.pragma(pragma, { simple: true }))
  const version = number('user_version')
  const newest = newestVersion(MIGRATIONS)
  const problems: string[] = []
  if (number('application_id') !== APPLICATION_ID) {
    return { version, nodes: 0, problems: ['it is not a database of a limb bridge'] }
  }
  if (version > newest) {
    problems.push(
      `it has schema ${version}, written by a newer bridge; this one knows schemas up to ${newest}`,
    )
  }
  const findings = sql.pragma(`integrity_check(${MAX_FINDINGS})`) as { integrity_check: string }[]
  problems.push(...findings.map((row) => row.integrity_check).filter((text) => text !== 'ok'))
  const nodes = problems.length > 0 ? 0 : Number(sql.prepare('SELECT count(*) FROM nodes').pluck().get())
  return { version, nodes, problems }
}
