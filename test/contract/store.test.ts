import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { createStore } from '../../src/store/sqlite/store.ts'
import { open } from '../store/fixture.ts'
import { everyWorkTwice } from '../support/twice.ts'
import { storeContract } from './store.contract.ts'

const folder = mkdtempSync(join(tmpdir(), 'limb-contract-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0
storeContract('SQLite in a file', () => createStore(open(join(folder, `${files++}.sqlite`))))
storeContract('SQLite in memory', () => createStore(open(':memory:')))
storeContract('SQLite, each work run twice', () => createStore(everyWorkTwice(open(':memory:'))))
