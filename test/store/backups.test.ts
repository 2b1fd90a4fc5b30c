import {
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import threads from 'node:worker_threads'
import { expect, onTestFinished, test, vi } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { createBackups } from '../../src/store/sqlite/backup/backups.ts'
import { inspectDatabase } from '../../src/store/sqlite/backup/inspect.ts'
import { restoreDatabase } from '../../src/store/sqlite/backup/restore.ts'
import { createMqttStore } from '../../src/store/sqlite/mqtt/store.ts'
import { createStore, type SqliteStore } from '../../src/store/sqlite/store.ts'
import { nodeOf } from '../contract/store.contract.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { open, opened, temporaryFile } from './fixture.ts'

const now = () => systemClock.wallMs()

async function withNodes(file: string, ...nodeIds: string[]): Promise<void> {
  const store = createStore(open(file))
  await store.transact(async (tx) => {
    for (const nodeId of nodeIds) await tx.putNode(nodeOf(nodeId))
  })
  await store.close()
}

test('a backup is one state of the database, checked, private, and made while others write', async () => {
  const file = temporaryFile()
  const database = opened(file)
  const store = createStore(database)
  await store.transact((tx) => tx.putNode(nodeOf('before')))
  const backups = createBackups({ database, folder: null, clock: systemClock })
  let writing = true
  // Both rows of a pair, or none.
  const writer = (async () => {
    for (let i = 0; writing; i++) {
      await store.transact(async (tx) => {
        await tx.putNode(nodeOf(`left-${i}`))
        await tx.putNode(nodeOf(`right-${i}`))
      })
    }
  })()
  const made = await backups.create()
  writing = false
  await writer
  expect(statSync(made.file).mode & 0o777).toBe(0o600)
  expect(statSync(dirname(made.file)).mode & 0o777).toBe(0o700)
  expect(dirname(made.file)).toBe(join(dirname(file), 'backups'))
  expect(await backups.newestAt()).toBe(made.takenAt)
  const { problems, nodes } = inspectDatabase(made.file, { readonly: true })
  expect(problems).toEqual([])
  expect(nodes % 2).toBe(1)
  expect(readdirSync(backups.folder)).toEqual([made.file.slice(backups.folder.length + 1)])
})

test('two at once, one in memory and one that cannot be written are refused, and nothing is left of them', async () => {
  const database = opened(temporaryFile())
  const backups = createBackups({ database, folder: null, clock: systemClock })
  const both = await Promise.allSettled([backups.create(), backups.create()])
  expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  expect(both[1]).toMatchObject({ reason: { code: 'conflict' } })

  const inMemory = createBackups({ database: opened(':memory:'), folder: null, clock: systemClock })
  await expect(inMemory.create()).rejects.toMatchObject({ code: 'conflict' })

  const taken = join(dirname(database.file), 'taken')
  writeFileSync(taken, '')
  const nowhere = createBackups({ database, folder: join(taken, 'below'), clock: systemClock })
  await expect(nowhere.create()).rejects.toMatchObject({ code: 'storage_unavailable' })
})

test('one that is interrupted leaves no half, and the next one removes the half of a process that was killed', async () => {
  const database = opened(temporaryFile())
  const backups = createBackups({ database, folder: null, clock: systemClock })
  const half = join(backups.folder, 'limb-20250101T000000000Z.sqlite.part')
  mkdirSync(backups.folder)
  writeFileSync(half, 'half')
  const interrupted = backups.create()
  const refused = expect(interrupted).rejects.toMatchObject({ code: 'storage_unavailable' })
  await new Promise((resolve) => setTimeout(resolve, 20))
  await backups.stop()
  await refused.catch(() => undefined)
  const rest = readdirSync(backups.folder).filter((name) => name.includes('part'))
  expect(rest).toEqual([])
})

test('only the newest are kept, and no file of anybody else is touched', async () => {
  const clock = new FakeClock()
  const backups = createBackups({ database: opened(temporaryFile()), folder: null, clock })
  for (let i = 0; i < 4; i++) {
    clock.advance(86_400_000)
    await backups.create()
  }
  writeFileSync(join(backups.folder, 'notes.txt'), '')
  const newest = await backups.newestAt()
  expect(await backups.prune(2, 1e12)).toMatchObject({ kept: 2, beyondBytes: 0 })
  expect(readdirSync(backups.folder)).toHaveLength(3)
  expect(await backups.newestAt()).toBe(newest)
})

test('the oldest go beyond a bound in bytes too, and the newest stays whatever its size', async () => {
  const clock = new FakeClock()
  const backups = createBackups({ database: opened(temporaryFile()), folder: null, clock })
  let bytes = 0
  for (let i = 0; i < 4; i++) {
    clock.advance(86_400_000)
    bytes = (await backups.create()).bytes
  }
  expect(await backups.prune(10, 3 * bytes)).toEqual({ kept: 3, bytes: 3 * bytes, beyondBytes: 1 })
  expect(backups.bytes).toBe(3 * bytes)
  expect(await backups.prune(10, 2 * bytes - 1)).toEqual({ kept: 1, bytes, beyondBytes: 2 })
  const newest = await backups.newestAt()
  expect(await backups.prune(10, 1)).toEqual({ kept: 1, bytes, beyondBytes: 0 })
  expect(await backups.newestAt()).toBe(newest)
  expect(backups.bytes).toBe(bytes)
})

test('one that cannot be removed keeps no other, and its bytes count', async () => {
  const clock = new FakeClock()
  const backups = createBackups({ database: opened(temporaryFile()), folder: null, clock })
  for (let year = 2010; year < 2014; year++) {
    mkdirSync(backups.folder, { recursive: true })
    writeFileSync(join(backups.folder, `limb-${year}0101T000000000Z.sqlite`), 'x')
  }
  // A folder of that name is none of the bridge's.
  const inTheWay = join(backups.folder, 'limb-20000101T000000000Z.sqlite')
  mkdirSync(inTheWay)
  const { file, bytes } = await backups.create()
  await expect(backups.prune(1, 1e12)).rejects.toThrow('limb-20000101T000000000Z.sqlite')
  expect(readdirSync(backups.folder).sort()).toEqual([inTheWay, file].map((path) => basename(path)))
  expect(backups.bytes).toBe(bytes + statSync(inTheWay).size)
})

test('the one just made stays, also beside those that a clock ahead of the time has made', async () => {
  const clock = new FakeClock()
  const backups = createBackups({ database: opened(temporaryFile()), folder: null, clock })
  const { file: first } = await backups.create()
  for (let year = 2090; year < 2092; year++) {
    writeFileSync(join(backups.folder, `limb-${year}0101T000000000Z.sqlite`), '')
  }
  clock.advance(86_400_000)
  const { file } = await backups.create()
  await backups.prune(2, 1e12)
  expect(existsSync(file)).toBe(true)
  expect(existsSync(first)).toBe(false)
  expect(readdirSync(backups.folder)).toHaveLength(2)
})

test('looking at a database that was closed leaves nothing beside it, and takes no log from one that was not', async () => {
  const file = temporaryFile()
  await withNodes(file, 'a')
  const beside = () => readdirSync(dirname(file)).sort()
  const before = beside()
  expect(inspectDatabase(file, { readonly: true })).toMatchObject({ nodes: 1, problems: [] })
  expect(beside()).toEqual(before)

  const store = createStore(opened(file))
  await store.transact((tx) => tx.putNode(nodeOf('b')))
  expect(inspectDatabase(file, { readonly: true })).toMatchObject({ nodes: 2, problems: [] })
  expect(statSync(`${file}-wal`).size).toBeGreaterThan(0)
  const copy = join(dirname(temporaryFile()), 'copy.sqlite')
  for (const end of ['', '-wal']) copyFileSync(`${file}${end}`, `${copy}${end}`)
  expect(inspectDatabase(copy, { readonly: true })).toMatchObject({ nodes: 2, problems: [] })
  expect(statSync(`${copy}-wal`).size).toBeGreaterThan(0)
})

test('a restore brings the backup back, keeps what was there with its log, and takes no lock with it', async () => {
  const file = temporaryFile()
  await withNodes(file, 'old')
  const database = open(file)
  const { file: backup } = await createBackups({ database, folder: null, clock: systemClock }).create()
  const store = createStore(database)
  await store.transact((tx) => tx.putNode(nodeOf('new')))
  expect(() => restoreDatabase({ from: backup, to: file, now: now() })).toThrow(/in use by another bridge/)
  await store.close()
  // A log that the old database left behind must not be written into the restored one.
  writeFileSync(`${file}-wal`, 'the log of another database')

  const restored = restoreDatabase({ from: backup, to: file, now: now() })
  expect(restored.nodes).toBe(1)
  expect(existsSync(`${file}-wal`)).toBe(false)
  expect(readFileSync(`${restored.replaced}-wal`, 'utf8')).toBe('the log of another database')
  expect(statSync(file).mode & 0o777).toBe(0o600)
  const again = createStore(opened(file))
  expect(await again.read((tx) => tx.node('old'))).not.toBeNull()
  expect(await again.read((tx) => tx.node('new'))).toBeNull()
})

test('a copy with a log of its own is restored with what its log holds', async () => {
  const file = temporaryFile()
  const running = open(file)
  const store = createStore(running)
  await store.transact((tx) => tx.putNode(nodeOf('in-the-log')))
  const copy = join(dirname(file), 'copy.sqlite')
  for (const end of ['', '-wal']) writeFileSync(`${copy}${end}`, readFileSync(`${file}${end}`))
  await store.close()
  const target = join(dirname(file), 'target.sqlite')
  expect(restoreDatabase({ from: copy, to: target, now: now() })).toMatchObject({
    replaced: undefined,
    nodes: 1,
  })
})

test('a log whose database is gone is kept aside, and not read into what is restored', async () => {
  const file = temporaryFile()
  const store = createStore(open(file))
  await store.transact((tx) => tx.putNode(nodeOf('a')))
  const backup = join(dirname(file), 'backup.sqlite')
  await withNodes(backup, 'b')
  const killed = join(dirname(file), 'killed.sqlite')
  writeFileSync(`${killed}-wal`, readFileSync(`${file}-wal`))
  await store.close()
  expect(restoreDatabase({ from: backup, to: killed, now: now() })).toMatchObject({ nodes: 1 })
  expect(existsSync(`${killed}-wal`)).toBe(false)
  const again = createStore(opened(killed))
  expect(await again.read((tx) => tx.node('b'))).not.toBeNull()
  expect(await again.read((tx) => tx.node('a'))).toBeNull()
})

test('a copy that is older than the note beside it is not restored', async () => {
  const file = temporaryFile()
  const store = createStore(open(file))
  await takeFences(store, 1)
  const copy = join(dirname(file), 'copy.sqlite')
  for (const end of ['', '-wal']) writeFileSync(`${copy}${end}`, readFileSync(`${file}${end}`))
  await takeFences(store, 1)
  writeFileSync(`${copy}.acknowledged`, readFileSync(`${file}.acknowledged`))
  await store.close()
  const target = join(dirname(file), 'target.sqlite')
  const restore = () => restoreDatabase({ from: copy, to: target, now: now() })
  expect(restore).toThrow(
    /row 2 .* is missing\. Nothing was changed\. .* move .*copy\.sqlite\.acknowledged away/,
  )
  expect(existsSync(target)).toBe(false)
  rmSync(`${copy}.acknowledged`)
  expect(restore()).toMatchObject({ nodes: 0 })
})

test('a database that a bridge has open by another path is not replaced', async () => {
  const file = temporaryFile()
  await withNodes(file, 'a')
  const backup = join(dirname(file), 'backup.sqlite')
  copyFileSync(file, backup)
  const other = join(dirname(file), 'other.sqlite')
  linkSync(file, other)
  const database = open(other)
  expect(() => restoreDatabase({ from: backup, to: file, now: now() })).toThrow(/under this or another path/)
  await database.close()
  expect(restoreDatabase({ from: backup, to: file, now: now() })).toMatchObject({ nodes: 1 })
})

const DAY_MS = 86_400_000

/** Takes so many fences, the last thing that happens at `at`; resolves with the last one. */
async function takeFences(store: SqliteStore, count: number, at = Date.now()): Promise<number> {
  return await store.transact(async (tx) => {
    await tx.audit({ at, actor: 'ann', kind: 'lease.granted', nodeId: null, outcome: 'x', detail: {} })
    let fence = 0
    for (let i = 0; i < count; i++) fence = await tx.nextFence()
    return fence
  })
}

/** A database that took five fences, a backup of it, and then five more. */
async function fencedBackup(file: string, at?: number) {
  const database = open(file)
  const store = createStore(database)
  await takeFences(store, 5, at)
  const { file: backup } = await createBackups({ database, folder: null, clock: systemClock }).create()
  return { store, backup, last: await takeFences(store, 5) }
}

async function nextFence(file: string): Promise<number> {
  const store = createStore(open(file))
  const fence = await store.transact((tx) => tx.nextFence())
  await store.close()
  return fence
}

test('fences go on where the replaced database was, for limbs refuse lower ones', async () => {
  const file = temporaryFile()
  const { store, backup, last } = await fencedBackup(file)
  await store.close()
  const { replaced } = restoreDatabase({ from: backup, to: file, now: now() })
  expect(readdirSync(dirname(file)).filter((name) => name.endsWith('-shm'))).toEqual([])
  expect(await nextFence(file)).toBe(last + 1)
  // Back to what was there: the restored one has gone further meanwhile.
  restoreDatabase({ from: String(replaced), to: file, now: now() })
  expect(await nextFence(file)).toBe(last + 2)
})

test('fences of a log that a killed bridge left behind count, and what the log may have lost is leapt over', async () => {
  const file = temporaryFile()
  const { store, backup, last } = await fencedBackup(file)
  const killed = join(dirname(file), 'killed.sqlite')
  for (const end of ['', '-wal']) writeFileSync(`${killed}${end}`, readFileSync(`${file}${end}`))
  await store.close()
  restoreDatabase({ from: backup, to: killed, now: now() })
  expect(await nextFence(killed)).toBe(last + 1_000_001)
})

test('fences leap ahead when what was replaced cannot tell: damaged, gone, or another one', async () => {
  const file = temporaryFile()
  const { store, backup } = await fencedBackup(file, Date.now() - DAY_MS)
  await store.close()
  const fresh = join(dirname(file), 'fresh.sqlite')
  await withNodes(fresh, 'a')
  const damaged = join(dirname(file), 'damaged.sqlite')
  writeFileSync(damaged, 'not a database')
  for (const target of [fresh, damaged, join(dirname(file), 'none.sqlite')]) {
    restoreDatabase({ from: backup, to: target, now: now() })
    const fence = await nextFence(target)
    expect(fence, target).toBeGreaterThan(100 * 86_400)
    expect(fence, target).toBeLessThan(101 * 86_400)
  }
})

test.runIf(process.geteuid?.() === 0)(
  'what root restores belongs to the user whose folder it is',
  async () => {
    const file = temporaryFile()
    const backup = join(dirname(file), 'backup.sqlite')
    await withNodes(backup, 'a')
    const folder = join(dirname(file), 'state')
    mkdirSync(folder)
    chownSync(folder, 12_345, 12_346)
    restoreDatabase({ from: backup, to: join(folder, 'limb.sqlite'), now: now() })
    for (const name of readdirSync(folder)) {
      expect(statSync(join(folder, name)), name).toMatchObject({ uid: 12_345, gid: 12_346 })
    }
  },
)

test('a foreign database and one of a newer bridge are not restored', async () => {
  const file = temporaryFile()
  await withNodes(file, 'a')
  const { default: Sqlite } = await import('better-sqlite3')
  const foreign = join(dirname(file), 'foreign.sqlite')
  const other = new Sqlite(foreign)
  other.exec('CREATE TABLE theirs (a)')
  other.close()
  expect(() => restoreDatabase({ from: foreign, to: file, now: now() })).toThrow(
    /not a database of a limb bridge/,
  )
  const newer = join(dirname(file), 'newer.sqlite')
  writeFileSync(newer, readFileSync(file))
  const sql = new Sqlite(newer)
  sql.pragma('user_version = 99')
  sql.close()
  expect(() => restoreDatabase({ from: newer, to: file, now: now() })).toThrow(/schema 99.*newer bridge/)
  expect(readdirSync(dirname(file)).filter((name) => /restoring|replaced/.test(name))).toEqual([])
})

test('the log is cut to nothing when it is asked for, and not while somebody reads', async () => {
  const file = temporaryFile()
  const database = opened(file)
  await createStore(database).transact((tx) => tx.putNode(nodeOf('a')))
  expect(database.sizes().walBytes).toBeGreaterThan(0)
  const { default: Sqlite } = await import('better-sqlite3')
  const reader = new Sqlite(file, { readonly: true })
  onTestFinished(() => void reader.close())
  const rows = reader.prepare('SELECT * FROM meta UNION ALL SELECT node_id, platform FROM nodes').iterate()
  rows.next()
  const pragma = vi.spyOn(database.sql, 'pragma')
  expect(database.checkpoint()).toBe(false)
  // Nobody waits for the reader.
  const words = ['busy_timeout = 0', 'wal_checkpoint(TRUNCATE)', 'busy_timeout = 100']
  expect(pragma.mock.calls.map(([text]) => text)).toEqual(words)
  rows.return?.()
  expect(database.checkpoint()).toBe(true)
  expect(database.sizes().walBytes).toBe(0)
})

test('what is written while a backup is made is moved out of the log by its thread, not by the next commit', async () => {
  const database = opened(temporaryFile())
  const mqtt = createMqttStore(database)
  const backups = createBackups({ database, folder: null, clock: systemClock })
  const pagesOfCommits = () => database.sql.pragma('wal_autocheckpoint', { simple: true })
  const message = {
    topic: 't',
    payload: Buffer.alloc(1024 * 1024),
    extra: null,
    brokerId: 'b',
    brokerCounter: 1,
  }
  // As if it had been written while the copy was made.
  const goOn = database.pauseCheckpoints()
  const { databaseBytes } = database.sizes()
  for (let i = 0; i < 8; i++) await mqtt.enqueue([{ clientId: 'c', qos: 1, retain: false }], message)
  expect(database.sizes()).toMatchObject({ databaseBytes })
  expect(database.sizes().walBytes).toBeGreaterThan(1000 * 4096)
  expect(database.checkpoint()).toBe(false)
  const made = backups.create()
  while (backups.isUnderWay) {
    expect(pagesOfCommits()).toBe(0)
    await turn()
  }
  await made
  expect(database.sizes().databaseBytes).toBeGreaterThan(databaseBytes + 1000 * 4096)
  expect(pagesOfCommits()).toBe(0)
  goOn()
  expect(pagesOfCommits()).toBe(1000)
  await backups.create()
  expect(pagesOfCommits()).toBe(1000)
})

test('a folder that was chosen is not made: its disk may not be mounted', async () => {
  const database = opened(temporaryFile())
  const chosen = join(dirname(database.file), 'usb/backups')
  const backups = createBackups({ database, folder: chosen, clock: systemClock })
  await expect(backups.create()).rejects.toMatchObject({
    code: 'storage_unavailable',
    message: expect.stringContaining(`there is no folder ${chosen} (backup.folder); mount its disk`),
  })
  expect(existsSync(dirname(chosen))).toBe(false)
  mkdirSync(chosen, { recursive: true })
  const { takenAt } = await backups.create()
  expect(backups.lastKnownAt).toBe(takenAt)
  const afterRestart = createBackups({ database, folder: chosen, clock: systemClock })
  expect(afterRestart.lastKnownAt).toBe(takenAt)
})

test('a backup is whole also when the file of its database is removed while it is made', async () => {
  const database = opened(temporaryFile())
  await createStore(database).transact((tx) => tx.putNode(nodeOf('a')))
  database.sql.exec('CREATE TABLE filler (bytes); INSERT INTO filler VALUES (zeroblob(50000000))')
  const backups = createBackups({ database, folder: null, clock: systemClock })
  const half = () => readdirSync(backups.folder).find((name) => name.endsWith('.part'))
  const made = backups.create()
  while (!existsSync(backups.folder) || half() === undefined) await turn()
  // Of all that is copied, there is something: the thread has the file open.
  while (statSync(join(backups.folder, half() ?? '')).size === 0);
  rmSync(database.file)
  const { file } = await made
  expect(inspectDatabase(file, { readonly: true })).toMatchObject({ nodes: 1, problems: [] })
})

test('a machine that has no thread left for a backup leaves the log to the commits', async () => {
  const database = opened(temporaryFile())
  const backups = createBackups({ database, folder: null, clock: systemClock })
  const { Worker } = threads
  const give = (worker: typeof Worker) => {
    threads.Worker = worker
    syncBuiltinESMExports()
  }
  onTestFinished(() => give(Worker))
  const refused = () => {
    throw new Error('EAGAIN')
  }
  give(new Proxy(Worker, { construct: refused }))
  await expect(backups.create()).rejects.toThrow('the backup could not be made: EAGAIN')
  expect(database.sql.pragma('wal_autocheckpoint', { simple: true })).toBe(1000)
})
