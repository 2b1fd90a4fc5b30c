import { existsSync, rmSync } from 'node:fs'
import { resolve } from 'node:path'
import type Sqlite from 'better-sqlite3'
import { AUDIT_LOGS } from '../../protocol/audit-kinds.ts'
import {
  COPIED_META,
  type CopiedRow,
  type CopiedTable,
  type CopySource,
  type CopyTarget,
} from '../copying.ts'
import { StoreError } from '../errors.ts'
import { markFileOf } from './acknowledged.ts'
import { type Database, type DatabaseOptions, openDatabase } from './database.ts'
import { MIGRATIONS } from './schema/migrations.ts'
import { repairTriggers } from './schema/triggers.ts'
import { AuditTable, TABLE_OF } from './tables/audit.ts'
import { BORN } from './tables/running.ts'

/** A file of SQLite as the source or the target of a copy. What differs from the tables of the other engine is told here. */

const PAGE = 1000

type Options = Omit<DatabaseOptions, 'file'>

/** Opens a file that is there, with the lock that a bridge would hold. */
export function sqliteSource(path: string, options: Options): CopySource {
  const file = resolve(path)
  if (!existsSync(file)) throw new StoreError(`There is no file ${file}.`)
  const database = openDatabase({ ...options, file })
  const { sql } = database
  return {
    ...counts(database),
    async *pages(table) {
      const columns = table.columns.length
      const rows = sql.prepare(selectOf(table)).raw().iterate() as IterableIterator<CopiedRow>
      let page: CopiedRow[] = []
      for (const row of rows) {
        page.push(row.slice(0, columns))
        if (page.length < PAGE) continue
        yield page
        page = []
      }
      if (page.length > 0) yield page
    },
    async highest({ name }) {
      const found = sql.prepare('SELECT seq FROM sqlite_sequence WHERE name = ?').pluck().get(name)
      return Number(found ?? 0)
    },
    close: () => database.close(),
  }
}

/** Makes a file where there is none; a copy that fails leaves nothing of it. */
export function sqliteTarget(path: string, options: Options): CopyTarget {
  const file = resolve(path)
  if (existsSync(file)) throw new StoreError(`${file} is there already. Nothing was copied; name a new file.`)
  // An earlier database there may have left the note of what it acknowledged.
  const database = openDatabase({ ...options, file, acceptOlder: true })
  let copied = false
  return {
    async write(work) {
      const { sql } = database
      sql.exec('BEGIN IMMEDIATE')
      try {
        // They refuse rows with gaps between their numbers, which pruning leaves.
        for (const name of auditTriggers(sql)) sql.exec(`DROP TRIGGER "${name}"`)
        const result = await work({ ...counts(database), put: putInto(sql), setHighest: setHighest(sql) })
        repairTriggers(sql, MIGRATIONS)
        sql.exec('COMMIT')
        rmSync(markFileOf(file), { force: true })
        copied = true
        return result
      } catch (error) {
        sql.exec('ROLLBACK')
        throw error
      }
    },
    async close() {
      await database.close()
      if (!copied) for (const end of ['', '-wal', '-shm', '.lock']) rmSync(file + end, { force: true })
    },
  }
}

function counts({ sql, running }: Database) {
  const audit = new AuditTable(
    sql,
    () => true,
    () => running.now(),
  )
  return {
    async count(table: CopiedTable) {
      return Number(
        sql
          .prepare(`SELECT count(*) FROM (${selectOf(table)})`)
          .pluck()
          .get(),
      )
    },
    verify: () => audit.verifyInTurns(),
    auditEnds: async () => audit.ends(),
  }
}

/** Rows as the other engine has them: one table of the audit log, sizes beside answers, and no age that is not told. */
function selectOf({ name, columns, key }: CopiedTable): string {
  const order = ` ORDER BY ${key.join(', ')}`
  const list = columns.map((column) => (column === 'running' ? BORN : column)).join(', ')
  switch (name) {
    case 'meta':
      return `SELECT ${list} FROM meta WHERE ${COPIED_META}${order}`
    case 'invocation_answers':
      return `SELECT seq, principal, bytes, answer FROM invocation_answers JOIN answer_sizes USING (seq)${order}`
    case 'audit':
      return `${AUDIT_LOGS.map(
        (log) =>
          `SELECT seq, '${log}' AS log, at, actor, kind, node_id, outcome, detail, hash, coalesce(place, seq), ${BORN} FROM ${TABLE_OF[log]}`,
      ).join(' UNION ALL ')} ORDER BY 1`
    case 'audit_anchor':
      return AUDIT_LOGS.map((log) => `SELECT '${log}' AS log, seq, hash FROM ${TABLE_OF[log]}_anchor`).join(
        ' UNION ALL ',
      )
    default:
      return `SELECT ${list} FROM ${name}${order}`
  }
}

function putInto(sql: Sqlite.Database) {
  const insert = (name: string, columns: readonly string[], how = 'INSERT') =>
    sql.prepare(`${how} INTO ${name} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`)
  return async ({ name, columns }: CopiedTable, rows: readonly CopiedRow[]) => {
    if (name === 'audit_anchor') {
      for (const [log, seq, hash] of rows)
        sql
          .prepare(`UPDATE ${TABLE_OF[log as keyof typeof TABLE_OF]}_anchor SET seq = ?, hash = ?`)
          .run(seq, hash)
    } else if (name === 'audit') {
      const into = new Map(
        AUDIT_LOGS.map((log) => [
          log as string,
          insert(
            TABLE_OF[log],
            columns.filter((each) => each !== 'log'),
          ),
        ]),
      )
      for (const [seq, log, ...values] of rows) into.get(String(log))?.run(seq, ...values)
    } else if (name === 'invocation_answers') {
      const [answers, sizes] = [
        insert(name, ['seq', 'answer']),
        insert('answer_sizes', ['seq', 'principal', 'bytes']),
      ]
      for (const [seq, principal, bytes, answer] of rows) {
        answers.run(seq, answer)
        sizes.run(seq, principal, bytes)
      }
    } else {
      const statement = insert(name, columns, name === 'meta' ? 'INSERT OR REPLACE' : 'INSERT')
      for (const row of rows) statement.run(...row)
    }
  }
}

function setHighest(sql: Sqlite.Database) {
  return async ({ name }: CopiedTable, number: number) => {
    sql.prepare('DELETE FROM sqlite_sequence WHERE name = ?').run(name)
    sql.prepare('INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)').run(name, number)
  }
}

function auditTriggers(sql: Sqlite.Database): string[] {
  return sql
    .prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'audit%'")
    .pluck()
    .all()
}
