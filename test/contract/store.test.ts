import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import type { Store } from '../../src/bridge/ports.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { open } from '../store/fixture.ts'
import { everyWorkTwice } from '../support/twice.ts'
import { storeContract } from './store.contract.ts'

const folder = mkdtempSync(join(tmpdir(), 'limb-contract-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0
let file = ''
const inFile = () => {
  file = join(folder, `${files++}.sqlite`)
  return createStore(open(file))
}
storeContract(
  'SQLite in a file',
  Object.assign(inFile, {
    // No other bridge gets the file while this one has its lock; it can lose its name, which it looks at every few seconds.
    takeOver(store: Store) {
      renameSync(file, `${file}.aside`)
      store.health()
    },
  }),
)
storeContract('SQLite in memory', () => createStore(open(':memory:')))
storeContract('SQLite, each work run twice', () => createStore(everyWorkTwice(open(':memory:'))))
