import type Sqlite from 'better-sqlite3'
import { SCHEMA_1 } from './schema-1.ts'
import { SCHEMA_2 } from './schema-2.ts'
import { SCHEMA_HISTORY } from './schema-3.ts'
import { toSchema4 } from './schema-4.ts'
import { SCHEMA_TOKENS } from './schema-5.ts'
import { toSchema6 } from './schema-6.ts'
import { SCHEMA_QUERY_INDEXES } from './schema-7.ts'
import { SCHEMA_DESCRIPTIONS } from './schema-8.ts'
import { SCHEMA_MQTT5 } from './schema-9.ts'
import { SCHEMA_RUNNING } from './schema-10.ts'
import { SCHEMA_SESSION_KEYS } from './schema-11.ts'
import { SCHEMA_AUDIT_CHAINS } from './schema-12.ts'
import { SCHEMA_SUMS } from './schema-13.ts'
import { SCHEMA_OFFLINE_WAITS } from './schema-14.ts'
import { SCHEMA_WEBHOOKS } from './schema-15.ts'
import { SCHEMA_BORN } from './schema-16.ts'
import { SCHEMA_ADAPTERS } from './schema-17.ts'
import { SCHEMA_REGISTERED_FROM } from './schema-18.ts'
import { SCHEMA_WEBHOOK_COUNTS } from './schema-19.ts'

/** "Limb" in ASCII: marks the file as ours for `file(1)` and for a bridge that is pointed at a foreign one. */
export const APPLICATION_ID = 0x4c696d62

export interface Migration {
  /** The schema version it leads to; they rise by one. */
  readonly version: number
  /** Runs inside a transaction. A landed migration is never edited: databases out there have run it. */
  up(sql: Sqlite.Database): void
}

export const MIGRATIONS: readonly Migration[] = [
  { version: 1, up: (sql) => sql.exec(SCHEMA_1) },
  { version: 2, up: (sql) => sql.exec(SCHEMA_2) },
  { version: 3, up: (sql) => sql.exec(SCHEMA_HISTORY) },
  { version: 4, up: toSchema4 },
  { version: 5, up: (sql) => sql.exec(SCHEMA_TOKENS) },
  { version: 6, up: toSchema6 },
  { version: 7, up: (sql) => sql.exec(SCHEMA_QUERY_INDEXES) },
  { version: 8, up: (sql) => sql.exec(SCHEMA_DESCRIPTIONS) },
  { version: 9, up: (sql) => sql.exec(SCHEMA_MQTT5) },
  { version: 10, up: (sql) => sql.exec(SCHEMA_RUNNING) },
  { version: 11, up: (sql) => sql.exec(SCHEMA_SESSION_KEYS) },
  { version: 12, up: (sql) => sql.exec(SCHEMA_AUDIT_CHAINS) },
  { version: 13, up: (sql) => sql.exec(SCHEMA_SUMS) },
  { version: 14, up: (sql) => sql.exec(SCHEMA_OFFLINE_WAITS) },
  { version: 15, up: (sql) => sql.exec(SCHEMA_WEBHOOKS) },
  { version: 16, up: (sql) => sql.exec(SCHEMA_BORN) },
  { version: 17, up: (sql) => sql.exec(SCHEMA_ADAPTERS) },
  { version: 18, up: (sql) => sql.exec(SCHEMA_REGISTERED_FROM) },
  { version: 19, up: (sql) => sql.exec(SCHEMA_WEBHOOK_COUNTS) },
]

export function newestVersion(migrations: readonly Migration[]): number {
  return migrations.at(-1)?.version ?? 0
}

/**
 * Brings the schema from `from` to the newest. All steps are one transaction (user_version included), so that
 * one that fails half-way up leaves the old file as it was.
 */
export function migrate(sql: Sqlite.Database, from: number, migrations: readonly Migration[]): void {
  sql
    .transaction(() => {
      for (const migration of migrations) {
        if (migration.version <= from) continue
        migration.up(sql)
        sql.pragma(`user_version = ${migration.version}`)
      }
      sql.pragma(`application_id = ${APPLICATION_ID}`)
    })
    .exclusive()
}
