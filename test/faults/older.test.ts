import { linkSync, mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { openDatabase } from '../../src/store/sqlite/database.ts'
import { createStore } from '../../src/store/sqlite/store.ts'

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
