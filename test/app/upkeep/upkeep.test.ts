import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import { keyOf, startApp, type TestApp } from '../../support/app.ts'
import { patience } from '../../support/patience.ts'
import { skipOnPostgres } from '../../support/store.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

const settled = () => new Promise((resolve) => setImmediate(resolve))

/** In steps, so that what a timer started can go on between two of them. */
async function pass({ clock }: TestApp, ms: number, stepMs: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    clock.advance(stepMs)
    for (let i = 0; i < 3; i++) await settled()
  }
}

async function backupsIn({ folder, clock }: TestApp, wanted: number): Promise<string[]> {
  const list = () => {
    try {
      return readdirSync(join(folder, 'backups')).filter((name) => name.endsWith('.sqlite'))
    } catch {
      return []
    }
  }
  const end = performance.now() + patience(10_000)
  while (list().length !== wanted && performance.now() < end) {
    // Chores take turns, and each turn waits for a file system that no fake clock moves.
    clock.advance(200)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return list()
}

/** A server is backed up by its operator: these are of SQLite alone. */
test('a backup is made soon after the first start and then on schedule, not at every restart', async (context) => {
  skipOnPostgres(context)
  await using app = await startApp({ backup: { everyHours: 24, keep: 2 } }, { fakeClock: true })
  await pass(app, 70_000, 10_000)
  expect(await backupsIn(app, 1)).toHaveLength(1)
  await app.restart()
  await pass(app, 2 * HOUR_MS, 600_000)
  expect(await backupsIn(app, 1)).toHaveLength(1)
  await pass(app, DAY_MS, HOUR_MS)
  expect(await backupsIn(app, 2)).toHaveLength(2)
  const admin = await app.admin()
  const { file } = await admin.do('admin', 'backup/create')
  // The oldest one had to go.
  const kept = await backupsIn(app, 2)
  expect(kept).toHaveLength(2)
  expect(file).toContain(kept.toSorted().at(-1))
})

test('a wall clock that jumps fires no deadline, ends no session and deletes nothing', async () => {
  await using app = await startApp(
    { mqtt: { sessionExpirySeconds: 3600, maxKeepaliveSeconds: 65_535 }, backup: { everyHours: 0 } },
    { fakeClock: true },
  )
  const admin = await app.admin()
  await admin.do('admin', 'node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  await admin.do('admin', 'principal/add', { name: 'ada', role: 'viewer', password: 'long enough' })
  const stored = { clientId: 'ada-1', clean: false }
  const watcher = await app.principal('ada', 'long enough', stored)
  await watcher.subscribe('limb/node/+/status')
  await watcher.end()
  const limb = await app.device('cam', keyOf('cam'))
  await limb.publish('limb/node/cam/heartbeat')

  // A board without a battery for its clock is told the time, and then a wrong one.
  for (const jump of [30 * 365 * DAY_MS, -60 * 365 * DAY_MS]) {
    app.clock.jumpWall(jump)
    await pass(app, 30_000, 5000)
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam' })).toMatchObject({ status: 'online' })
    await limb.publish('limb/node/cam/heartbeat')
    const { uptimePercent = 0 } = await admin.do('admin', 'node/history', { nodeId: 'cam' })
    expect(uptimePercent).toBeGreaterThanOrEqual(0)
    expect(uptimePercent).toBeLessThanOrEqual(100)
  }
  await pass(app, 20 * 60_000, 10_000)
  const back = await app.principal('ada', 'long enough', { ...stored, clean: false })
  const present = await new Promise((resolve) => {
    back.mqtt.once('close', () => resolve(false))
    void back.subscribe('limb/node/cam/status').then(() => resolve(true))
  })
  expect(present).toBe(true)
})

/** A database that SQLite finds nothing wrong with. */
function isWhole(file: string): boolean {
  const sql = new Sqlite(file, { readonly: true })
  try {
    return sql.pragma('integrity_check', { simple: true }) === 'ok'
  } catch {
    return false
  } finally {
    sql.close()
  }
}

test('a backup that finds no room in backup.maxBytes beside those of backup.keep is made, and the log says what is left', async (context) => {
  skipOnPostgres(context)
  const maxBytes = 1_048_576
  await using app = await startApp({ backup: { everyHours: 0, keep: 7, maxBytes } })
  const admin = await app.admin()
  for (let i = 0; i < 7; i++) await admin.do('admin', 'backup/create')
  const { items } = await admin.do('admin', 'backup/list')
  const bytes = items.reduce((sum: number, item: { bytes: number }) => sum + item.bytes, 0)
  expect(bytes).toBeLessThanOrEqual(maxBytes)
  const lines = app.logLines.filter(({ msg }) => /backup.maxBytes/.test(String(msg)))
  expect(lines.at(-1)).toMatchObject({ level: 'warn', kept: items.length, bytes, removed: 1 })
  expect(lines).toHaveLength(7 - items.length)
})

test('a backup that is under way keeps no bridge from stopping, and leaves nothing behind', async (context) => {
  skipOnPostgres(context)
  const app = await startApp({ backup: { everyHours: 24 } }, { fakeClock: true })
  const folder = join(app.folder, 'backups')
  await pass(app, 60_000, 10_000)
  // The file is made by the thread before it is filled.
  while (!existsSync(folder)) {
    app.clock.advance(200)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await app.bridge.stop()
  const warnings = app.logLines.filter(({ level }) => level === 'warn')
  expect(warnings.filter(({ msg }) => /backup/.test(String(msg)))).toEqual([])
  // On a busy machine the thread may have come to its end before this one saw the folder: then a whole backup is there.
  expect(readdirSync(folder).filter((name) => !isWhole(join(folder, name)))).toEqual([])
  await app[Symbol.asyncDispose]()
})

test('who asks for a backup is answered when the bridge stops, which waits for none', async (context) => {
  skipOnPostgres(context)
  const app = await startApp({ backup: { everyHours: 0 } })
  const folder = join(app.folder, 'backups')
  // So much that it takes a while.
  const sql = new Sqlite(join(app.folder, 'limb.sqlite'))
  sql.exec('CREATE TABLE filler (bytes); INSERT INTO filler VALUES (zeroblob(200000000))')
  sql.close()
  const admin = await app.admin()
  const answered = admin.ask('admin', 'backup/create')
  while (!existsSync(folder)) await new Promise((resolve) => setTimeout(resolve, 1))
  await app.bridge.stop()
  expect(await answered).toMatchObject({ ok: false, error: { code: 'storage_unavailable' } })
  const lines = app.logLines.filter(({ msg }) => /^no backup/.test(String(msg)))
  expect(lines).toMatchObject([
    { level: 'info', msg: 'no backup: the backup could not be made: the bridge stops' },
  ])
  await app[Symbol.asyncDispose]()
})

test('limbs and the bridge go offline before the thread of a backup has ended, which a stop cannot hurry', async (context) => {
  skipOnPostgres(context)
  const app = await startApp({ backup: { everyHours: 0 } })
  const folder = join(app.folder, 'backups')
  // The look at all rows computes each again, as slowly as it would read gigabytes.
  const sql = new Sqlite(join(app.folder, 'limb.sqlite'))
  sql.exec(`CREATE TABLE filler (n); CREATE INDEX slow ON filler (length(hex(zeroblob(n))));
    WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 20) INSERT INTO filler SELECT 60000000 + x FROM i`)
  sql.close()
  const halves = () => (existsSync(folder) ? readdirSync(folder).filter((name) => /part$/.test(name)) : [])
  const admin = await app.admin()
  await admin.subscribe('limb/bridge/status')
  const heard = (async () => {
    while ((await admin.next('limb/bridge/status')).text !== 'offline');
    return halves()
  })()
  const answered = admin.ask('admin', 'backup/create').then((answer) => ({ answer, halves: halves() }))
  while (halves().length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  await app.bridge.stop()
  expect(await heard).toHaveLength(1)
  const { answer, halves: left } = await answered
  expect(answer.error.message).toContain('the bridge stops')
  expect(left).toHaveLength(1)
  expect(halves()).toEqual([])
  await app[Symbol.asyncDispose]()
})
