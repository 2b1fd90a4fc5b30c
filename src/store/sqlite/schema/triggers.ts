import Sqlite from 'better-sqlite3'
import { type Migration, migrate } from './migrations.ts'

/**
 * Triggers keep every program that writes to the file, this one too, from changing the audit log by mistake. They
 * are part of the schema; that they are there is looked at when the bridge starts.
 */

type Triggers = ReadonlyMap<string, string>

/** The triggers that were put right, by name. */
export interface TriggersFound {
  readonly missing: readonly string[]
  readonly changed: readonly string[]
  /** Triggers that are not the bridge's own: one such can make the audit log lose rows. */
  readonly foreign: readonly string[]
}

/** Makes the triggers those of the schema again. Null: they were. To be called within a transaction. */
export function repairTriggers(sql: Sqlite.Database, migrations: readonly Migration[]): TriggersFound | null {
  const wanted = wantedTriggers(migrations)
  const found = triggersOf(sql)
  const names = [...new Set([...wanted.keys(), ...found.keys()])]
  const wrong = names.filter((name) => wanted.get(name) !== found.get(name))
  if (wrong.length === 0) return null
  for (const name of wrong.filter((each) => found.has(each))) {
    sql.exec(`DROP TRIGGER "${name.replaceAll('"', '""')}"`)
  }
  for (const name of wrong) sql.exec(wanted.get(name) ?? '')
  return {
    missing: wrong.filter((name) => !found.has(name)),
    changed: wrong.filter((name) => found.has(name) && wanted.has(name)),
    foreign: wrong.filter((name) => !wanted.has(name)),
  }
}

/** Returns the triggers of an empty database that was just made. */
function wantedTriggers(migrations: readonly Migration[]): Triggers {
  const sql = new Sqlite(':memory:')
  try {
    migrate(sql, 0, migrations)
    return triggersOf(sql)
  } finally {
    sql.close()
  }
}

function triggersOf(sql: Sqlite.Database): Triggers {
  const rows = sql.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid").all()
  return new Map((rows as { name: string; sql: string }[]).map((row) => [row.name, row.sql]))
}
