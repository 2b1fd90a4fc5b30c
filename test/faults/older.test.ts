import {
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
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { openDatabase } from '../../src/store/sqlite/database.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { launchBridge, startBridge } from '../support/bridge-process.ts'

/** A database that is sound, and older than what was acknowledged; and one that is opened by two names. */

const folder = mkdtempSync(join(tmpdir(), 'limb-older-'))
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
  const accepted = open(true)
  await decide(accepted, 1)
  await accepted.close()
  // From now on that is what is known.
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
