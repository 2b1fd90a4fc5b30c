import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { afterEach, expect, test } from 'vitest'
import { type BridgeProcess, startBridge } from '../../support/bridge-process.ts'
import { connectControl } from '../../support/control-client.ts'
import { patience } from '../../support/patience.ts'
import { skipOnPostgres } from '../../support/store.ts'

/** A start takes no more memory than the bridge may take afterwards, whatever waits in its database. */

const MIB = 1024 * 1024
/** The params of all invocations under way together, by their bound. */
const PARAMS_MIB = 64
const WAITS = 256
const DAY_MS = 86_400_000

let bridge: BridgeProcess | undefined
const folder = mkdtempSync(join(tmpdir(), 'limb-start-memory-'))

afterEach(async () => {
  await bridge?.kill()
  rmSync(folder, { recursive: true, force: true })
})

function mostMemoryMiB({ pid }: BridgeProcess): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

/** Stores invocations that wait for their limbs; of a text with a wide character each takes two bytes when it is read. */
function storeWaits(): void {
  const sql = new Sqlite(join(folder, 'limb.sqlite'))
  const params = { text: `\u4e2d${'p'.repeat((PARAMS_MIB * MIB) / WAITS - 64)}` }
  const asked = JSON.stringify({ params, unchecked: false, waitMs: 0, offlineWaitMs: DAY_MS })
  const invocation =
    sql.prepare(`INSERT INTO invocations (invocation_id, principal, node_id, capability, command, params_hash,
    level, state, created_at, idempotency_key) VALUES (?, ?, 'lamp', 'light', 'light.on', '-', 'free', 'queued', ?, ?)`)
  const wait = sql.prepare('INSERT INTO offline_waits VALUES (?, ?, ?)')
  sql.transaction(() => {
    for (let i = 0; i < WAITS; i++) {
      invocation.run(`in_${i}`, `agent${i % 4}`, Date.now(), `key ${i}`)
      wait.run(`in_${i}`, asked, DAY_MS)
    }
  })()
  sql.close()
}

test('a start reads what waits for limbs a few at a time, in the memory that it has afterwards', {
  timeout: patience(60_000),
}, async (context) => {
  skipOnPostgres(context)
  context.skip(process.platform !== 'linux', 'reads memory from /proc')
  bridge = await startBridge({ folder })
  const control = await connectControl(bridge.control)
  const capabilities = [{ cap: 'light', commands: ['light.on'], authLevel: 'free' }]
  await control.do('node/import', { nodes: [{ nodeId: 'lamp', capabilities }] })
  control.client.cut()
  await bridge.stop()
  bridge = await startBridge({ folder })
  const emptyMiB = mostMemoryMiB(bridge)
  await bridge.stop()
  storeWaits()

  bridge = await startBridge({ folder })
  const fullMiB = mostMemoryMiB(bridge)
  const again = await connectControl(bridge.control)
  const waiting = await again.do('invocation/list', { state: 'queued', limit: 1000 })
  again.client.cut()

  expect(waiting.items).toHaveLength(WAITS)
  // The params themselves, and what of their reading is not collected yet: a machine with room collects late.
  expect(fullMiB - emptyMiB).toBeLessThan(3 * PARAMS_MIB)
})
