import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach } from 'vitest'
import type { Database } from '../../src/store/sqlite/database.ts'
import { createMqttStore } from '../../src/store/sqlite/mqtt/store.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { open } from '../store/fixture.ts'
import { mqttStoreContract } from './mqtt-store.contract.ts'

const folder = mkdtempSync(join(tmpdir(), 'limb-mqtt-contract-'))
const opened: Database[] = []
let files = 0

const make = (file: string) => {
  const database = open(file)
  opened.push(database)
  return { mqtt: createMqttStore(database), store: createStore(database) }
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((database) => database.close()))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

mqttStoreContract('SQLite in a file', () => make(join(folder, `${files++}.sqlite`)))
mqttStoreContract('SQLite in memory', () => make(':memory:'))
