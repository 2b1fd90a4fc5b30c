import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { createBackups } from '../../src/store/sqlite/backup/backups.ts'
import { openDatabase } from '../../src/store/sqlite/database.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { patience } from '../support/patience.ts'

/** A restore that is killed before each of its steps, over the database of a bridge that was killed. */

const log = { debug() {}, info() {}, warn() {}, error() {} }
const open = (file: string) => openDatabase({ file, clock: systemClock, log })

async function decide(database: ReturnType<typeof open>, kind: string): Promise<void> {
  await createStore(database).transact((tx) =>
    tx.audit({ at: 1, actor: 'ann', kind, nodeId: null, outcome: 'denied', detail: {} }),
  )
}

/** Makes the files of a killed bridge: what was decided last is in its log alone. */
async function killedBridge(folder: string): Promise<void> {
  const file = join(folder, 'running.sqlite')
  const database = open(file)
  await decide(database, 'policy.set')
  const { file: backup } = await createBackups({ database, folder: null, clock: systemClock }).create()
  cpSync(backup, join(folder, 'backup.sqlite'))
  database.checkpoint()
  await decide(database, 'node.revoked')
  for (const end of ['', '-wal', '.acknowledged']) cpSync(file + end, join(folder, `killed.sqlite${end}`))
  await database.close()
}

/** Says what a start finds: the rows of the audit log, or that it does not start. */
async function foundAt(file: string): Promise<string> {
  try {
    const database = open(file)
    const kinds = database.sql.prepare('SELECT kind FROM audit ORDER BY seq').pluck().all()
    await database.close()
    return kinds.join(' ')
  } catch (error) {
    return /older than what the bridge acknowledged/.test(String(error)) ? 'no start' : String(error)
  }
}

test(
  'a restore that is killed leaves the old database whole, the restored one, or what no start takes for either',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'limb-killed-restore-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    await killedBridge(folder)
    const found: string[] = []
    for (let step = 0; found.length === step; step++) {
      const file = join(folder, `${step}`, 'limb.sqlite')
      for (const end of ['', '-wal', '.acknowledged']) cpSync(join(folder, `killed.sqlite${end}`), file + end)
      const child = spawn(process.execPath, [
        join(import.meta.dirname, 'killed-restore.ts'),
        ...[join(folder, 'backup.sqlite'), file, String(step)],
      ])
      const [, signal] = await once(child, 'exit')
      if (signal === 'SIGKILL') found.push(await foundAt(file))
      else expect(await foundAt(file)).toBe('policy.set')
    }
    expect(found.length).toBeGreaterThan(15)
    expect(new Set(found)).toEqual(new Set(['policy.set node.revoked', 'no start']))
    expect(found[0]).toBe('policy.set node.revoked')
    expect(found.at(-1)).toBe('no start')
  },
  patience(60_000),
)

test.each(['copyFileSync', 'linkSync', 'renameSync'])(
  'no bridge starts while a restore runs (%s)',
  async (step) => {
    const folder = mkdtempSync(join(tmpdir(), 'limb-running-restore-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    await killedBridge(folder)
    const file = join(folder, 'killed.sqlite')
    const child = spawn(process.execPath, [
      join(import.meta.dirname, 'killed-restore.ts'),
      ...[join(folder, 'backup.sqlite'), file, step],
    ])
    onTestFinished(() => void child.kill('SIGKILL'))
    expect(String((await once(child.stdout, 'data'))[0])).toBe('waits\n')
    expect(() => open(file)).toThrow(/in use by another bridge/)
    const ended = once(child, 'exit')
    child.stdin.end()
    await ended
    expect(await foundAt(file)).toBe('policy.set')
  },
)
