import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type Sqlite from 'better-sqlite3'
import { systemClock } from '../../src/kernel/clock.ts'
import { type DatabaseOptions, openDatabase } from '../../src/store/sqlite/database.ts'
import { createMqttStore } from '../../src/store/sqlite/mqtt/store.ts'
import { MIGRATIONS, newestVersion } from '../../src/store/sqlite/schema/migrations.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { AuditTable } from '../../src/store/sqlite/tables/audit.ts'
import { fillMqttStore, fillStore } from './fixture-data.ts'

/**
 * `node test/store/make-fixture.ts` writes fixtures/schema-N.sqlite for every schema up to the newest that has
 * none yet. The first was filled by the code of its day; each later one is the one before it, upgraded, with rows
 * in the tables that are new. A fixture that is there is never made again: it stands for the databases out there.
 */

export const FIXTURES = join(import.meta.dirname, 'fixtures')
export const fixtureOf = (version: number): string => join(FIXTURES, `schema-${version}.sqlite`)

/** Rows for tables that came later, by table. A new table needs a line here, and the order is theirs. */
const ROWS: Readonly<Record<string, string | ((sql: Sqlite.Database) => void)>> = {
  invocations: `INSERT INTO invocations VALUES
    (1, 'in_1', 'claude', 'cam-1', 'camera', 'camera.snap', 'a1', 'leased', 'done', 1000, 2000, 7, 'key-1', 'f1', NULL, NULL, NULL),
    (2, 'in_2', 'claude', 'plug-1', 'power', 'power.on', 'a2', 'gated', 'waiting', 3000, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, 'in_3', 'claude', 'plug-1', 'power', 'power.on', 'a3', 'gated', 'denied', 3000, 3500, NULL, NULL, NULL, 'ada', 'not now', '{"code":"denied","message":"no"}')`,
  invocation_answers: `INSERT INTO invocation_answers VALUES (1, '{"ok":true,"data":{"n":1}}')`,
  audit_activity: appended('lease.granted'),
  audit_attempts: appended('lease.refused'),
  offline_waits: `INSERT INTO offline_waits VALUES ('in_2', '{"params":{},"unchecked":false,"waitMs":0,"offlineWaitMs":60000}', 9000)`,
  answer_sizes: "INSERT INTO answer_sizes VALUES (1, 'claude', 27)",
  principal_addresses: "INSERT INTO principal_addresses VALUES ('ada', '10.0.0.9', 1000)",
  tokens: `INSERT INTO tokens VALUES ('tk_1', zeroblob(32), 'phone', 'ada', 'viewer', 1000, 'ada', NULL, 2000, '10.0.0.9')`,
  mqtt_wills: `INSERT INTO mqtt_wills VALUES ('wall', 'home/wall', x'676f6e65', 1, 0, NULL, 30, 5000)`,
  webhook_deliveries: `INSERT INTO webhook_deliveries VALUES
    (1, 'phone', 'msg_1', 'limb_offline', 0, '{"type":"limb_offline"}', 5000, 2)`,
  webhook_counts: "INSERT INTO webhook_counts VALUES ('phone', 'limb_offline', 1)",
  webhook_offline: "INSERT INTO webhook_offline VALUES ('phone', 'cam-1')",
  presence_history: `INSERT INTO presence_history VALUES
    (1, 'cam-1', 1000, 'online', 'heartbeat'), (2, 'cam-1', 2000, 'offline', 'timeout')`,
}

/** A row of the audit log needs its number and its hash. */
function appended(kind: string): (sql: Sqlite.Database) => void {
  return (sql) =>
    new AuditTable(sql).append({
      at: 1000,
      actor: 'ada',
      kind,
      nodeId: 'cam-1',
      outcome: 'stored',
      detail: { n: 1 },
    })
}

const log = { debug() {}, info() {}, warn() {}, error: console.error }
const open = (file: string, more: Partial<DatabaseOptions> = {}) =>
  openDatabase({ file, clock: systemClock, log, ...more })

export function tablesOf(sql: Sqlite.Database): string[] {
  return sql
    .prepare<[], string>(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'sqlite_stat1' ORDER BY rowid",
    )
    .pluck()
    .all()
}

function isEmpty(sql: Sqlite.Database, table: string): boolean {
  return sql.prepare(`SELECT 1 FROM "${table}" LIMIT 1`).get() === undefined
}

function fillNewTables(sql: Sqlite.Database): void {
  for (const table of tablesOf(sql).filter((name) => isEmpty(sql, name))) {
    const statement = ROWS[table]
    if (typeof statement === 'string') sql.exec(statement)
    else statement?.(sql)
    if (isEmpty(sql, table))
      throw new Error(`no rows for the table ${table}: add some to ROWS in make-fixture.ts`)
  }
}

/** By the store as it is: only for the schema that it knows as the newest. */
async function fillFirst(file: string): Promise<void> {
  const database = open(file)
  const store = createStore(database)
  await fillStore(store)
  await fillMqttStore(createMqttStore(database))
  await database.writer.write(() => {
    database.sql.exec("INSERT OR IGNORE INTO meta VALUES ('made', 'by make-fixture.ts')")
    // Retention has been there: the chain begins behind its anchor.
    database.sql.exec('UPDATE audit_anchor SET (seq, hash) = (SELECT seq, hash FROM audit WHERE seq = 2)')
    database.sql.exec('DELETE FROM audit WHERE seq <= 2')
  })
  fillNewTables(database.sql)
  await database.close()
}

async function make(version: number, folder: string): Promise<void> {
  const file = join(folder, `schema-${version}.sqlite`)
  if (version > 1) {
    copyFileSync(fixtureOf(version - 1), file)
    const database = open(file, { migrations: MIGRATIONS.filter((each) => each.version <= version) })
    fillNewTables(database.sql)
    await database.close()
  } else if (newestVersion(MIGRATIONS) === 1) {
    await fillFirst(file)
  } else {
    throw new Error(
      'the first fixture can only be made by the code that had no second schema; take it from git',
    )
  }
  mkdirSync(FIXTURES, { recursive: true })
  copyFileSync(file, fixtureOf(version))
  console.log(`wrote ${fixtureOf(version)}`)
}

if (import.meta.main) {
  const folder = mkdtempSync(join(tmpdir(), 'limb-fixture-'))
  for (const { version } of MIGRATIONS) if (!existsSync(fixtureOf(version))) await make(version, folder)
  rmSync(folder, { recursive: true, force: true })
}
