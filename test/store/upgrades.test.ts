import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Sqlite from 'better-sqlite3'
import { describe, expect, onTestFinished, test } from 'vitest'
import { keyMatches, passwordMatches } from '../../src/kernel/secrets.ts'
import { createMqttStore } from '../../src/store/sqlite/mqtt/store.ts'
import { MIGRATIONS, type Migration, newestVersion } from '../../src/store/sqlite/schema/migrations.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { startApp } from '../support/app.ts'
import { open, opened, temporaryFile } from './fixture.ts'
import { ADA, AUDIT_ROWS, LIMB, REVOKED, ROTATED } from './fixture-data.ts'
import { FIXTURES, fixtureOf, tablesOf } from './make-fixture.ts'

/** Every file of test/store/fixtures is a database of a schema that landed: a new one needs no line here. */

const NEWEST = newestVersion(MIGRATIONS)
const versions = readdirSync(FIXTURES)
  .flatMap((name) => /^schema-(\d+)\.sqlite$/.exec(name)?.slice(1).map(Number) ?? [])
  .sort((a, b) => a - b)

/** Tables that may gain rows in an upgrade, or when the bridge merely opens the file. All others stay the same. */
const MAY_GAIN = new Set(['meta', 'audit'])

/** Times that were wall times and are on the running clock now: `schema-10.ts`, `schema-16.ts`. */
const CONVERTED: Readonly<Record<string, readonly string[]>> = {
  requests: ['expires_at'],
  tokens: ['expires_at'],
  node_keys: ['current_until'],
  refused_keys: ['until'],
  refused_widenings: ['until'],
  mqtt_sessions: ['used_at', 'left_at'],
  mqtt_wills: ['due_at'],
}

/** From this version on sessions have the running time at which they were used. */
const RUNNING_SESSIONS = 16
const DAY_MS = 86_400_000

type Row = Readonly<Record<string, unknown>>
type Contents = ReadonlyMap<string, readonly Row[]>

function contentsOf(file: string): Contents {
  const sql = new Sqlite(file, { readonly: true })
  try {
    return new Map(
      tablesOf(sql).map((table) => [table, sql.prepare(`SELECT * FROM "${table}"`).all() as Row[]]),
    )
  } finally {
    sql.close()
  }
}

/** The rows as texts, of the columns that both have, in order. */
function comparable(rows: readonly Row[], columns: readonly string[]): string[] {
  return rows.map((row) => JSON.stringify(columns.map((column) => [column, row[column]]))).sort()
}

/** From this version on the audit log has two further chains, and the fixture a row in each. */
const AUDIT_CHAINS = 12

/** From this version on a session is named by its owner and its client id together. */
const SESSION_KEYS = 11

function withSessionKeys(contents: Contents): Contents {
  const owners = new Map(
    (contents.get('mqtt_sessions') ?? []).map(({ client_id, owner }) => [client_id, owner]),
  )
  const keyed = (rows: readonly Row[]) =>
    rows
      .filter(({ client_id }) => owners.has(client_id))
      .map((row) => ({ ...row, client_id: `${owners.get(row.client_id)} ${row.client_id}` }))
  const tables = [...contents].map(
    ([table, rows]) =>
      [table, table.startsWith('mqtt_') && table !== 'mqtt_retained' ? keyed(rows) : rows] as const,
  )
  return new Map(tables)
}

function expectSurvival(before: Contents, after: Contents): void {
  for (const [table, rows] of before) {
    const now = after.get(table)
    expect(now, `table ${table} is gone`).toBeDefined()
    const kept = Object.keys(rows[0] ?? {}).filter((column) => !CONVERTED[table]?.includes(column))
    expect(Object.keys(now?.[0] ?? {}), `columns of ${table}`).toEqual(expect.arrayContaining(kept))
    const expected = comparable(rows, kept)
    const found = comparable(now ?? [], kept)
    if (MAY_GAIN.has(table)) expect(found, table).toEqual(expect.arrayContaining(expected))
    else expect(found, table).toEqual(expected)
  }
}

/** A fixture itself is never opened: SQLite would leave a log beside it. */
function copyOf(version: number): string {
  const file = temporaryFile()
  copyFileSync(fixtureOf(version), file)
  return file
}

const backupsOf = (file: string) => readdirSync(dirname(file)).filter((name) => name.endsWith('.bak'))

function versionOf(file: string): unknown {
  const sql = new Sqlite(file, { readonly: true })
  try {
    return sql.pragma('user_version', { simple: true })
  } finally {
    sql.close()
  }
}

test('every schema that ever landed has a fixture database', () => {
  const missing = MIGRATIONS.map(({ version }) => version).filter(
    (version) => !existsSync(fixtureOf(version)),
  )
  expect(
    missing,
    `no fixture for schema ${missing.join(', ')}. Run \`node test/store/make-fixture.ts\`: it upgrades the newest ` +
      'fixture and fills the new tables (its ROWS tell with what; add rows for yours). Commit the file it writes, and ' +
      'never make one anew that has landed: it stands for the databases out there.',
  ).toEqual([])
})

describe.each(versions)('a database of schema %i', (version) => {
  test('has rows in every table, or it would prove nothing', () => {
    const file = copyOf(version)
    const contents = contentsOf(file)
    expect(versionOf(file)).toBe(version)
    expect([...contents].filter(([, rows]) => rows.length === 0).map(([table]) => table)).toEqual([])
    expect(contents.size).toBeGreaterThan(15)
  })

  test('is upgraded to the newest with all its data, after a private copy of the old one was made', async () => {
    const file = copyOf(version)
    const before = contentsOf(file)
    await open(file).close()
    expect(versionOf(file)).toBe(NEWEST)
    expectSurvival(version < SESSION_KEYS ? withSessionKeys(before) : before, contentsOf(file))

    const backups = backupsOf(file)
    expect(backups).toHaveLength(version < NEWEST ? 1 : 0)
    for (const name of backups) {
      const backup = join(dirname(file), name)
      expect(name.startsWith(`${basename(file)}.v${version}-`)).toBe(true)
      expect(statSync(backup).mode & 0o777).toBe(0o600)
      expect(versionOf(backup)).toBe(version)
      expect(contentsOf(backup)).toEqual(before)
    }
    // Once: the next start has nothing to upgrade.
    await open(file).close()
    expect(backupsOf(file)).toEqual(backups)
  })

  test('has sessions that are as old as they were, up to a day', async () => {
    const file = copyOf(version)
    await open(file).close()
    const after = contentsOf(file)
    const since = Number(after.get('meta')?.find(({ key }) => key === 'running_since')?.value)
    // Those of the fixtures were used at a time that is long ago.
    const used = (after.get('mqtt_sessions') ?? []).map((row) => since - Number(row.used_at))
    expect(used.length).toBeGreaterThan(0)
    if (version < RUNNING_SESSIONS) expect(new Set(used)).toEqual(new Set([DAY_MS]))
  })

  test('means the same to the code of today', async () => {
    const database = opened(copyOf(version))
    const store = createStore(database)
    const mqttStore = createMqttStore(database)
    await store.read(async (tx) => {
      expect(await tx.node(LIMB.nodeId)).toMatchObject({
        operatorName: 'Front door',
        firmware: '1.2.0',
        heartbeatSeconds: 20,
        lastHeartbeatAt: Date.UTC(2026, 0, 15, 12, 0, 5),
      })
      const keys = await tx.nodeKeys(ROTATED.nodeId)
      expect(keys && keyMatches(keys.current, ROTATED.key)).toBe(true)
      expect(keys?.next && keyMatches(keys.next, ROTATED.next)).toBe(true)
      const [refused] = await tx.refusedKeys(REVOKED.nodeId, 0)
      expect(refused && keyMatches(refused.key, REVOKED.key)).toBe(true)
      expect(await tx.refusedWidening(LIMB.nodeId, 0)).toMatchObject({ fingerprint: 'f'.repeat(64) })
      const ada = await tx.principal(ADA.name)
      expect(ada?.role).toBe('operator')
      expect(await passwordMatches(ada?.passwordHash ?? '', ADA.password)).toBe(true)
      expect(await tx.policiesAt('claude', LIMB.nodeId, 'camera')).toHaveLength(1)
    })
    expect(
      (await store.loadRequests({ now: 0, maxRequests: 100, maxBytes: 1_000_000 })).requests
        .map((each) => each.kind)
        .sort(),
    ).toEqual(['new', 'replace', 'widen'])
    // Two were pruned, and a row says so.
    const more = version < AUDIT_CHAINS ? 0 : 2
    expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: AUDIT_ROWS - 1 + more })
    const owners = new Map((await mqttStore.loadSessions()).map(({ clientId, owner }) => [clientId, owner]))
    const keyOf = (clientId: string) =>
      [...owners.keys()].find((key) => key === `${owners.get(key)} ${clientId}`) ?? ''
    expect(await mqttStore.queued(keyOf('wall-display'), 0, 10)).toMatchObject([
      { messageId: 11, stage: 'publish' },
      { messageId: 12, stage: 'pubrel' },
      { messageId: null, stage: 'publish' },
    ])
    expect(await mqttStore.retainedTopics('', '', 9)).toHaveLength(3)
    expect(await mqttStore.incoming(keyOf('cam-1'), 7)).toMatchObject({ qos: 2 })
    // The number of a deleted message is never used again.
    const message = { topic: 't', payload: Buffer.from(''), extra: null, brokerId: '', brokerCounter: 9 }
    expect(await mqttStore.enqueue([{ clientId: 'new', qos: 1, retain: false }], message)).toEqual([5])
  })

  test('goes on as a bridge: its limb signs in with its key, and its operator with the password', async () => {
    await using app = await startApp({ store: { path: copyOf(version) } })
    const limb = await app.device(LIMB.nodeId, LIMB.key)
    await limb.subscribe(`limb/node/${LIMB.nodeId}/pairing`)
    await limb.publish(`limb/node/${LIMB.nodeId}/heartbeat`)
    const ada = await app.principal(ADA.name, ADA.password)
    const { items } = await ada.do(ADA.name, 'node/list')
    expect(items).toMatchObject([
      { nodeId: LIMB.nodeId, displayName: 'Front door', status: 'online' },
      { nodeId: ROTATED.nodeId, status: 'offline' },
    ])
    await expect(app.device(REVOKED.nodeId, REVOKED.key)).rejects.toThrow()
  })

  const next: Migration = {
    version: NEWEST + 1,
    up: (sql) => sql.exec('ALTER TABLE nodes ADD COLUMN colour TEXT; CREATE TABLE later (a)'),
  }
  const failing: Migration = {
    version: NEWEST + 2,
    up(sql) {
      sql.exec('DROP TABLE node_keys; DELETE FROM principals')
      throw new Error('this step fails')
    },
  }

  test('is untouched, byte by byte, by an upgrade that fails half-way', () => {
    const file = copyOf(version)
    const bytes = readFileSync(file)
    expect(() => open(file, { migrations: [...MIGRATIONS, next, failing] })).toThrow(
      new RegExp(
        `from schema ${version} to ${NEWEST + 2} failed: this step fails. The database is as it was`,
      ),
    )
    expect(readFileSync(file).equals(bytes)).toBe(true)
    expect(backupsOf(file)).toHaveLength(1)
  })

  test('is whole after the process was killed in the middle of an upgrade', async () => {
    const file = copyOf(version)
    const before = contentsOf(file)
    const script = fileURLToPath(new URL('upgrade-slowly.ts', import.meta.url))
    const child = spawn(process.execPath, [script, file], { stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await once(child, 'exit')
    await open(file).close()
    expect(versionOf(file)).toBe(NEWEST)
    expectSurvival(version < SESSION_KEYS ? withSessionKeys(before) : before, contentsOf(file))
  })

  test('is refused unchanged, with the way out, once a newer bridge has upgraded it', async () => {
    const file = copyOf(version)
    await open(file, { migrations: [...MIGRATIONS, next] }).close()
    const bytes = readFileSync(file)
    expect(() => open(file)).toThrow(
      new RegExp(
        `has schema ${NEWEST + 1}, and this bridge knows schemas up to ${NEWEST}: it was written by a newer version. ` +
          'Nothing was changed. Install that version again, or restore a backup from before the upgrade',
      ),
    )
    expect(readFileSync(file).equals(bytes)).toBe(true)
  })
})
