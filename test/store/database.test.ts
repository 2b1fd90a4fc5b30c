import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Sqlite from 'better-sqlite3'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  APPLICATION_ID,
  MIGRATIONS,
  type Migration,
  newestVersion,
} from '../../src/store/sqlite/schema/migrations.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { nodeOf } from '../contract/store.contract.ts'
import { open, opened, silent, temporaryFile } from './fixture.ts'

const mode = (path: string) => statSync(path).mode & 0o777

describe('opening', () => {
  test('the file is durable, trusts no schema, and is for its owner alone', async () => {
    const file = join(dirname(temporaryFile()), 'made', 'limb.sqlite')
    const { sql, writer } = opened(file)
    await writer.write(() => sql.prepare("INSERT INTO meta VALUES ('a', 'b')").run())
    const pragma = (name: string) => sql.pragma(name, { simple: true })
    expect(pragma('journal_mode')).toBe('wal')
    // 2 is FULL, also after the first write in WAL.
    expect(pragma('synchronous')).toBe(2)
    expect(pragma('trusted_schema')).toBe(0)
    expect(pragma('foreign_keys')).toBe(1)
    expect(pragma('application_id')).toBe(APPLICATION_ID)
    expect(pragma('journal_size_limit')).toBeGreaterThan(0)
    for (const path of [file, `${file}-wal`, `${file}-shm`, `${file}.lock`]) expect(mode(path)).toBe(0o600)
    expect(mode(dirname(file))).toBe(0o700)
  })

  test('in memory, nothing is kept and no file appears', async () => {
    const folder = dirname(temporaryFile())
    const before = process.cwd()
    process.chdir(folder)
    onTestFinished(() => process.chdir(before))
    const first = createStore(open(':memory:'))
    await first.transact((tx) => tx.putNode(nodeOf('cam-1')))
    const second = createStore(opened(':memory:'))
    expect(await second.read((tx) => tx.node('cam-1'))).toBeNull()
    await first.close()
    expect(readdirSync(folder)).toEqual([])
  })

  test('a folder that cannot be made ends at once with what to do', () => {
    expect(() => open('/proc/limb-bridge/limb.sqlite')).toThrow(
      /folder of the database, \/proc\/limb-bridge, cannot be made.*set another store\.path \(LIMB_DB\)/,
    )
  })

  test('a database of a newer bridge is refused and left alone', () => {
    const file = temporaryFile()
    fabricate(
      file,
      `PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = 99; CREATE TABLE future (a)`,
    )
    const before = readFileSync(file)
    expect(() => open(file)).toThrow(/schema 99.*knows schemas up to \d+: .*newer version/)
    expect(readFileSync(file)).toEqual(before)
  })

  test('the database of another program is refused and left alone', () => {
    const file = temporaryFile()
    fabricate(file, 'CREATE TABLE bookmarks (url)')
    const before = readFileSync(file)
    expect(() => open(file)).toThrow(/another program/)
    expect(readFileSync(file)).toEqual(before)
  })

  test.each([
    [
      'is not a database',
      (file: string) => writeFileSync(file, 'this is not a database, but a text of mine\n'.repeat(50)),
    ],
    ['was cut off', (file: string) => truncateSync(file, 8192)],
  ])('a file that %s stops the start and tells the way to restore', async (_, spoil) => {
    const file = temporaryFile()
    await open(file).close()
    spoil(file)
    writeFileSync(`${file}.v1-20260101T000000000Z.bak`, '')
    expect(() => createStore(open(file))).toThrow(
      /damaged.*limb-bridge restore .*v1-20260101T000000000Z\.bak.*kept aside/s,
    )
    const backupFolder = join(dirname(file), 'elsewhere')
    mkdirSync(backupFolder)
    writeFileSync(join(backupFolder, 'limb-20260301T000000000Z.sqlite'), '')
    expect(() => open(file, { backupFolder })).toThrow(/restore .*elsewhere.limb-20260301T000000000Z\.sqlite/)
  })

  test('damage in the middle of a file is found after an unclean end, before it is used', async () => {
    const file = temporaryFile()
    const store = createStore(open(file))
    await store.transact(async (tx) => {
      for (let i = 0; i < 2000; i++) await tx.putNode(nodeOf(`n-${i}`))
    })
    await store.close()
    const child = await holdElsewhere(file)
    child.kill('SIGKILL')
    await once(child, 'exit')
    const bytes = readFileSync(file)
    bytes.fill(0xa5, bytes.length - 4096 * 20, bytes.length - 4096 * 19)
    writeFileSync(file, bytes)
    writeFileSync(`${file}-wal`, 'the end of a log that was being written')
    expect(() => open(file)).toThrow(/damaged.*To restore/s)
  })

  test('after an unclean end it is told that every page was checked, after a clean one nothing is', async () => {
    const [running, file] = [temporaryFile(), temporaryFile()]
    const lines: { fields: object; message: string }[] = []
    const log = { ...silent, info: (fields: object, message: string) => lines.push({ fields, message }) }
    opened(running, { log })
    expect(lines).toEqual([])
    // What a kill at this moment would leave.
    for (const end of ['', '-wal']) copyFileSync(`${running}${end}`, `${file}${end}`)
    await open(file, { log }).close()
    expect(lines).toMatchObject([
      {
        fields: { file, pages: expect.any(Number), tookMs: expect.any(Number) },
        message: expect.stringMatching(
          /^the database was not closed the last time .* \d+ pages were checked in \d+ ms/,
        ),
      },
    ])
    await open(file, { log }).close()
    expect(lines).toHaveLength(1)
  })

  test('a folder that cannot be made is named', () => {
    const file = temporaryFile()
    writeFileSync(file, '')
    expect(() => open(join(file, 'below', 'limb.sqlite'))).toThrow(/The folder of the database, .*below/)
  })
})

describe('the lock', () => {
  test('refuses a second bridge in the same process, by another path too, until the first has closed', async () => {
    const file = temporaryFile()
    const link = join(dirname(file), 'link.sqlite')
    const first = open(file)
    symlinkSync(file, link)
    expect(() => open(file)).toThrow(new RegExp(`in use by another bridge \\(process ${process.pid} `))
    expect(() => open(link)).toThrow(/in use/)
    // A refused attempt must not have let go of what the first one holds.
    expect(() => open(file)).toThrow(/in use/)
    await first.close()
    await open(file).close()
  })

  test('refuses a bridge in another process, and is free at once when that one is killed', async () => {
    const file = temporaryFile()
    const child = await holdElsewhere(file)
    expect(() => open(file)).toThrow(new RegExp(`process ${child.pid} `))
    child.kill('SIGKILL')
    await once(child, 'exit')
    await open(file).close()
  })
})

describe('a lock that cannot be opened', () => {
  test('is named, with what to do about it', () => {
    const file = temporaryFile()
    mkdirSync(`${file}.lock`)
    expect(() => open(file)).toThrow(
      `The lock ${file}.lock cannot be taken (SQLITE_CANTOPEN). It must be a file that the user that runs the bridge can write`,
    )
  })
})

describe('upgrading', () => {
  const now = newestVersion(MIGRATIONS)
  const next: Migration = {
    version: now + 1,
    up: (sql) => sql.exec('ALTER TABLE nodes ADD COLUMN colour TEXT'),
  }
  const backups = (file: string) => readdirSync(dirname(file)).filter((name) => name.endsWith('.bak'))

  test('a fresh database needs no backup', async () => {
    const file = temporaryFile()
    await open(file).close()
    expect(backups(file)).toEqual([])
  })

  test('an older schema is copied first, whole and private, and then brought to the newest with its data', async () => {
    const file = temporaryFile()
    const old = createStore(open(file))
    await old.transact((tx) => tx.putNode(nodeOf('cam-1')))
    await old.close()

    const { sql } = opened(file, { migrations: [...MIGRATIONS, next] })
    expect(sql.pragma('user_version', { simple: true })).toBe(now + 1)
    expect(sql.prepare('SELECT node_id, colour FROM nodes').all()).toEqual([
      { node_id: 'cam-1', colour: null },
    ])

    const [backup = ''] = backups(file)
    expect(backup).toMatch(new RegExp(`^limb\\.sqlite\\.v${now}-\\d{8}T\\d{9}Z\\.bak$`))
    expect(mode(join(dirname(file), backup))).toBe(0o600)
    const restored = createStore(opened(join(dirname(file), backup)))
    expect(await restored.read((tx) => tx.node('cam-1'))).toEqual(nodeOf('cam-1'))
  })

  test('one that fails half-way leaves the schema and the data as they were', async () => {
    const file = temporaryFile()
    await open(file).close()
    const broken: Migration = {
      version: now + 2,
      up(sql) {
        sql.exec('DROP TABLE nodes')
        sql.exec('this is not SQL')
      },
    }
    const upgrade = () => open(file, { migrations: [...MIGRATIONS, next, broken] })
    expect(upgrade).toThrow(
      new RegExp(`upgrade of the database .* from schema ${now} to ${now + 2} failed.*as it was`),
    )
    const { sql } = opened(file)
    expect(sql.pragma('user_version', { simple: true })).toBe(now)
    expect(
      sql
        .prepare('SELECT * FROM nodes')
        .columns()
        .map((column) => column.name),
    ).not.toContain('colour')
  })

  test('without room for the backup nothing is changed', async () => {
    const file = temporaryFile()
    await open(file).close()
    const clock = { wallMs: () => 0, monotonicMs: () => 0, after: () => () => {} } as never
    mkdirSync(`${file}.v${now}-19700101T000000000Z.bak`)
    expect(() => open(file, { migrations: [...MIGRATIONS, next], clock })).toThrow(
      /backup .* could not be written/,
    )
    expect(opened(file).sql.pragma('user_version', { simple: true })).toBe(now)
  })
})

function fabricate(file: string, script: string): void {
  const sql = new Sqlite(file)
  sql.exec(script)
  sql.close()
}

async function holdElsewhere(file: string): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('hold-database.ts', import.meta.url))
  const child = spawn(process.execPath, ['--expose-gc', script, file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}

test('the write-ahead log is cut to nothing when nothing was written between two looks of the upkeep', async () => {
  const database = opened(temporaryFile())
  const store = createStore(database)
  await store.saveRunningMs(1)
  await store.maintain()
  await store.saveRunningMs(2)
  await store.maintain()
  expect(database.sizes().walBytes).toBeGreaterThan(0)
  await store.maintain()
  expect(database.sizes().walBytes).toBe(0)
})
