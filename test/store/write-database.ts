import { writeSync } from 'node:fs'
import { systemClock } from '../../src/kernel/clock.ts'
import { hashKey, newId } from '../../src/kernel/secrets.ts'
import { openDatabase } from '../../src/store/sqlite/database.ts'
import { createStore } from '../../src/store/sqlite/store.ts'

/** Writes nodes into the database that is named until it is killed, and prints each one that was acknowledged. */
const log = { debug() {}, info() {}, warn() {}, error() {} }
const store = createStore(openDatabase({ file: process.argv[2] ?? '', clock: systemClock, log }))
const node = {
  displayName: 'x',
  operatorName: null,
  platform: 'esp32',
  firmware: null,
  endpointUrl: null,
  registeredFrom: null,
  invoke: 'mqtt' as const,
  capabilities: [],
  heartbeatSeconds: null,
  timeoutSeconds: null,
  presence: null,
  ownDescription: null,
  adapter: null,
  operatorDescription: null,
  operatorSettings: null,
  approvedAt: 1,
  approvedBy: 'admin',
  updatedAt: 1,
  lastHeartbeatAt: null,
}

async function write(): Promise<void> {
  const nodeId = newId('n-')
  await store.transact(async (tx) => {
    await tx.putNode({ nodeId, ...node })
    await tx.putNodeKeys(nodeId, { current: hashKey('k'.repeat(20)), next: null, currentUntil: null })
    await tx.audit({ at: 1, actor: 'a', kind: 'k', nodeId, outcome: 'o', detail: {} })
  })
  writeSync(1, `${nodeId}\n`)
}

for (;;) await Promise.all([write(), write(), write()])
