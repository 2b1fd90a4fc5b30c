import type { AuditVerdict } from '../../bridge/ports.ts'
import { addressGroup } from '../../kernel/address.ts'
import {
  COPIED_META,
  type CopiedRow,
  type CopiedTable,
  type CopySource,
  type CopyTarget,
  type CopyWriter,
} from '../copying.ts'
import type { Sql, Value } from './connection.ts'
import { openPostgres, type PostgresDatabase } from './database.ts'
import type { PostgresPartsOptions } from './parts.ts'
import { sealedSecrets } from './secrets.ts'
import { PostgresAudit } from './tables/audit.ts'
import type { WorkSql } from './writer.ts'

/** A schema of PostgreSQL as the source or the target of a copy. */

const PAGE = 1000
/** Values of one statement; the protocol counts them in 16 bits. */
const MAX_VALUES = 20_000

/** Takes the database as a bridge does, and sees one moment of it. */
export async function postgresSource(options: PostgresPartsOptions): Promise<CopySource> {
  const database = await taken(options)
  const read = <T>(work: (sql: Sql) => Promise<T>) => database.read(work)
  return {
    ...counts(read, () => database.readMoment((sql) => auditOf(database).verify(sql))),
    async *pages(table) {
      let after: readonly unknown[] = []
      for (;;) {
        const from = after as readonly Value[]
        const rows = await read((sql) => sql.all(pageOf(table, from.length > 0), ...from))
        if (rows.length > 0) yield rows.map((row) => table.columns.map((column) => row[column] as never))
        const last = rows.at(-1)
        if (last === undefined || rows.length < PAGE) return
        after = table.key.map((column) => last[column])
      }
    },
    async highest({ name, numbered = '' }) {
      const text = `SELECT last_value AS n FROM pg_sequences
        WHERE schemaname = current_schema() AND sequencename = $1`
      const [row] = await read((sql) => sql.all(text, `${name}_${numbered}_seq`))
      return Number(row?.n ?? 0)
    },
    ...(options.secret !== undefined && { secrets: sealedSecrets(database, options.secret) }),
    close: () => database.close(),
  }
}

export async function postgresTarget(options: PostgresPartsOptions): Promise<CopyTarget> {
  const database = await taken(options)
  return {
    write: (work) =>
      database.writer.transact(async (sql) => {
        await sql.run('ALTER TABLE audit_anchor DISABLE TRIGGER USER')
        const result = await work(writerOf(sql, database))
        await sql.run('ALTER TABLE audit_anchor ENABLE TRIGGER USER')
        return result
      }),
    ...(options.secret !== undefined && { secrets: sealedSecrets(database, options.secret) }),
    close: () => database.close(),
  }
}

async function taken(options: PostgresPartsOptions): Promise<PostgresDatabase> {
  const database = openPostgres(options)
  try {
    await database.lead()
    return database
  } catch (error) {
    await database.close()
    throw error
  }
}

function auditOf({ running }: PostgresDatabase): PostgresAudit {
  return new PostgresAudit(() => running.now())
}

function writerOf(sql: WorkSql, database: PostgresDatabase): CopyWriter {
  return {
    ...counts(
      (work) => work(sql),
      () => auditOf(database).verify(sql),
    ),
    async put(table, rows) {
      if (table.name === 'audit_anchor') {
        for (const [log, seq, hash] of rows)
          await sql.run(
            'UPDATE audit_anchor SET seq = $2, hash = $3 WHERE log = $1',
            log as Value,
            seq as Value,
            hash as Value,
          )
        return
      }
      const limit = Math.floor(MAX_VALUES / (table.columns.length + 1))
      for (let i = 0; i < rows.length; i += limit) await insert(sql, table, rows.slice(i, i + limit))
    },
    async setHighest({ name, numbered = '' }, number) {
      if (number > 0)
        await sql.all(`SELECT setval(pg_get_serial_sequence('${name}', '${numbered}'), $1)`, number)
    },
  }
}

async function insert(sql: WorkSql, table: CopiedTable, rows: readonly CopiedRow[]): Promise<void> {
  const { name, columns, numbered } = table
  // Requests are counted by the network of their address.
  const more = name === 'requests' ? ['network'] : []
  const address = columns.indexOf('address')
  const values = rows.flatMap((row) => [
    ...row,
    ...more.map(() => addressGroup(String(row[address]))),
  ]) as Value[]
  const names = [...columns, ...more]
  const places = rows.map((_, i) => `(${names.map((_, j) => `$${i * names.length + j + 1}`).join(', ')})`)
  const own = numbered === undefined ? '' : ' OVERRIDING SYSTEM VALUE'
  const replaced = name === 'meta' ? ' ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value' : ''
  await sql.run(
    `INSERT INTO ${name} (${names.join(', ')})${own} VALUES ${places.join(', ')}${replaced}`,
    ...values,
  )
}

function counts(
  read: <T>(work: (sql: Sql) => Promise<T>) => Promise<T>,
  verify: () => Promise<AuditVerdict>,
) {
  return {
    async count({ name }: CopiedTable) {
      const [row] = await read((sql) => sql.all(`SELECT count(*) AS n FROM ${name}`))
      return Number(row?.n)
    },
    verify,
    auditEnds: () => read((sql) => new PostgresAudit(() => 0).ends(sql)),
  }
}

/** The next rows behind a key. `meta` is small, and some of it is of this engine alone. */
function pageOf({ name, columns, key }: CopiedTable, isNext: boolean): string {
  const own = name === 'meta' ? COPIED_META : 'true'
  const behind = isNext ? ` AND (${key.join(', ')}) > (${key.map((_, i) => `$${i + 1}`).join(', ')})` : ''
  return `SELECT ${columns.join(', ')} FROM ${name} WHERE ${own}${behind} ORDER BY ${key.join(', ')} LIMIT ${PAGE}`
}
