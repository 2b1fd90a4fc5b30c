import { spawnSync } from 'node:child_process'
import {
  chownSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { readMark } from '../../src/store/sqlite/acknowledged.ts'
import { inspectDatabase } from '../../src/store/sqlite/backup/inspect.ts'
import { sqliteTarget } from '../../src/store/sqlite/copying.ts'
import { leftoversAt, openDatabase } from '../../src/store/sqlite/database.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { launchBridge, startBridge } from '../support/bridge-process.ts'
import { Command } from '../support/command.ts'

/** A database that is sound, and older than what was acknowledged; and one that is opened by two names. */

const folder = mkdtempSync(join(tmpdir(), 'limb-older-'))
beforeEach(() => mkdirSync(folder, { recursive: true }))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const log = { debug() {}, info() {}, warn() {}, error() {} }
const file = join(folder, 'limb.sqlite')
const open = (acceptOlder = false) => openDatabase({ file, clock: systemClock, log, acceptOlder })

async function decide(database: ReturnType<typeof open>, times: number): Promise<void> {
  const store = createStore(database)
  for (let i = 0; i < times; i++) {
    const entry = { at: i, actor: 'ann', kind: 'policy.set', nodeId: null, outcome: 'denied', detail: {} }
    await store.transact(async (tx) => await tx.audit(entry))
  }
}

test('a start that finds less than was acknowledged stops and says what is missing, unless it is accepted once', async () => {
  await (async () => {
    const first = open()
    await decide(first, 3)
    await first.close()
  })()
  // A killed process: its log stays behind, and then loses its end.
  const killed = open()
  await decide(killed, 5)
  const wal = `${file}-wal`
  const whole = statSync(wal).size
  expect(whole).toBeGreaterThan(0)
  const rest = killed.sql.prepare('SELECT max(seq) FROM audit').pluck().get()
  expect(rest).toBe(8)
  truncateSync(wal, Math.floor(whole / 2))
  killed.sql.close()
  await killed.close().catch(() => undefined)
  expect(() => open()).toThrow(/older than what the bridge acknowledged: row 8.*no backup.*--accept-older/s)
  expect(inspectDatabase(file, { readonly: true }).problems).toEqual([expect.stringContaining('row 8')])
  const accepted = open(true)
  await decide(accepted, 1)
  await accepted.close()
  // From now on that is what is known.
  await open().close()
})

test.each([
  ['zeros', (note: string) => writeFileSync(note, Buffer.alloc(128))],
  ['half of one', (note: string) => writeFileSync(note, '{"seq": 12, "ha')],
  ['another text, longer than a mark', (note: string) => writeFileSync(note, 'x'.repeat(200))],
  ['no row', (note: string) => writeFileSync(note, JSON.stringify({ seq: -1, hash: 'f'.repeat(64) }))],
  [
    'a folder',
    (note: string) => {
      rmSync(note)
      mkdirSync(note)
    },
  ],
])(
  'a note that is damaged (%s) stops the start, and what is accepted then is what is known',
  async (_what, damage) => {
    const first = open()
    await decide(first, 2)
    await first.close()
    const note = `${file}.acknowledged`
    damage(note)
    expect(() => open()).toThrow(/limb\.sqlite\.acknowledged .* is damaged.*--accept-older/s)
    expect(inspectDatabase(file, { readonly: true }).problems).toEqual([
      expect.stringContaining('is damaged'),
    ])
    await open(true).close()
    if (statSync(note).isDirectory()) return
    await open().close()
    expect(readMark(file)).toMatchObject({ seq: 2 })
  },
)

test('without a note an unclean end is told as what it may have cost, and a clean one is not', async () => {
  const warned: string[] = []
  const telling = { ...log, warn: (_fields: object, text: string) => warned.push(text) }
  const openTelling = () => openDatabase({ file, clock: systemClock, log: telling })
  const first = open()
  await decide(first, 2)
  // What a copy of a killed bridge's files without the note is.
  cpSync(file, `${file}.copy`)
  cpSync(`${file}-wal`, `${file}.copy-wal`)
  await first.close()
  for (const name of ['.acknowledged', '.copy.acknowledged']) rmSync(`${file}${name}`, { force: true })
  await openTelling().close()
  expect(warned).toEqual([])
  const copy = openDatabase({ file: `${file}.copy`, clock: systemClock, log: telling })
  expect(warned).toEqual([expect.stringMatching(/no .*\.acknowledged .* cannot be known/)])
  await copy.close()
})

test('a database that is gone is not begun anew beside the note of what it acknowledged, unless that is accepted', async () => {
  const first = open()
  await decide(first, 2)
  await first.close()
  rmSync(file)
  expect(() => open()).toThrow(/There is no database .* the note .*--accept-older/s)
  expect(existsSync(file)).toBe(false)
  const anew = open(true)
  expect(anew.replacesLost).toBe(true)
  await decide(anew, 1)
  await anew.close()
  await open().close()
})

test('of a database that is gone the doctor says what the start says', async () => {
  const first = open()
  await decide(first, 1)
  await first.close()
  expect(leftoversAt(file, null)).toBeUndefined()
  rmSync(file)
  let said = ''
  try {
    open()
  } catch (error) {
    said = String((error as Error).message)
  }
  expect(said).toContain('the note')
  expect(leftoversAt(file, null)).toMatchObject({ refused: true, text: said })
  rmSync(`${file}.acknowledged`)
  expect(leftoversAt(file, null)).toMatchObject({
    refused: false,
    text: expect.stringMatching(/an empty one is made/),
  })
})

test.runIf(process.geteuid?.() === 0)(
  'a note that the user of the bridge may not read is told as that, and accepted it is made anew',
  async () => {
    const first = open()
    await decide(first, 2)
    await first.close()
    const note = `${file}.acknowledged`
    for (const each of [folder, file, `${file}.lock`]) chownSync(each, 12_345, 12_346)
    chownSync(note, 0, 0)
    process.seteuid?.(12_345)
    onTestFinished(() => process.seteuid?.(0))
    expect(() => open()).toThrow(
      /acknowledged last cannot be read by the user with the id 12345 \(EACCES\).*give it to the user that runs the bridge.*--accept-older/s,
    )
    expect(() => open()).not.toThrow(/damaged/)
    const accepted = open(true)
    await decide(accepted, 1)
    await accepted.close()
    expect(readMark(file)).toMatchObject({ seq: 3 })
  },
)

test('an empty database that was accepted is accepted for good, also when the process ends before anything is decided', async () => {
  writeFileSync(`${file}.acknowledged`, JSON.stringify({ seq: 7, hash: 'f'.repeat(64) }).padEnd(128))
  await open(true).close()
  await open().close()
  expect(inspectDatabase(file, { readonly: true }).problems).toEqual([])
})

test.runIf(process.geteuid?.() === 0)(
  'a note that root makes belongs to the user whose database it is, who could not start otherwise',
  async () => {
    await open().close()
    chownSync(file, 12_345, 12_346)
    const database = open()
    await decide(database, 1)
    await database.close()
    expect(statSync(`${file}.acknowledged`)).toMatchObject({ uid: 12_345, gid: 12_346 })
  },
)

test('a copy of another store takes the place of a database that is gone, and starts', async () => {
  const first = open()
  await decide(first, 2)
  await first.close()
  rmSync(file)
  const target = sqliteTarget(file, { clock: systemClock, log })
  await target.write(async () => undefined)
  await target.close()
  await open().close()
})

test('a database that another process holds by another name is not opened', async () => {
  const one = open()
  const other = join(folder, 'other.sqlite')
  linkSync(file, other)
  expect(() => openDatabase({ file: other, clock: systemClock, log })).toThrow(/under this or another path/)
  rmSync(`${file}.lock`)
  expect(() => open()).toThrow(/in use|under this or another path/)
  await one.close()
})

test('a database that a process of another network name space holds, where no socket tells of it, is not opened', async () => {
  await open().close()
  const words = 'echo locked; read until'
  await using holder = new Command('flock', ['-n', file, 'sh', '-c', words])
  await holder.line('locked')
  expect(() => open()).toThrow(/under this or another path/)
  holder.child.stdin?.end()
  await holder.ended
  const database = open()
  expect(spawnSync('flock', ['-n', file, 'true']).status).toBe(1)
  await database.close()
  expect(spawnSync('flock', ['-n', file, 'true']).status).toBe(0)
})

test('a flock that cannot lock the file, and ends as if another process had it, keeps no bridge from starting', async () => {
  const program = join(folder, 'flock')
  writeFileSync(program, '#!/bin/sh\necho "flock: Bad file descriptor" >&2\nexit 1\n', { mode: 0o755 })
  vi.stubEnv('PATH', folder)
  onTestFinished(() => void vi.unstubAllEnvs())
  await open().close()
})

test('the program itself opens no listener over less than was acknowledged, until it is started with --accept-older', async () => {
  const home = join(folder, 'home')
  mkdirSync(home, { recursive: true })
  const first = await startBridge({ folder: home })
  await first.stop()
  const mark = join(home, 'limb.sqlite.acknowledged')
  const { seq } = JSON.parse(readFileSync(mark, 'utf8'))
  writeFileSync(mark, JSON.stringify({ seq: seq + 5, hash: 'f'.repeat(64) }).padEnd(128))
  const refused = launchBridge({ folder: home })
  await expect(refused.ready).rejects.toThrow(/older than what the bridge acknowledged.*--accept-older/s)
  expect((await refused.ended).code).not.toBe(0)
  const accepted = await startBridge({ folder: home, serveArgs: ['--accept-older'] })
  expect(accepted.lines.join('\n')).toContain('it is used all the same (--accept-older)')
  expect(await accepted.stop()).toBe(0)
  // Once: what is there is what is known from now on.
  const again = await startBridge({ folder: home })
  await again.stop()
})
