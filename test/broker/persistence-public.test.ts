import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import type { Database } from '../../src/store/sqlite/database.ts'
import { open, persistenceOn } from './persistence-fixture.ts'
import { runPublicSuite } from './persistence-suite.ts'

const folder = mkdtempSync(join(tmpdir(), 'limb-persistence-'))
const opened: Database[] = []
let files = 0

afterEach(async () => {
  await Promise.all(opened.splice(0).map((database) => database.close()))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const places = {
  'in memory': () => ':memory:',
  'in a file': () => join(folder, `${files++}.sqlite`),
}

for (const [place, file] of Object.entries(places)) {
  describe(`the public suite of aedes-persistence, ${place}`, () => {
    const tests = runPublicSuite(() => {
      const database = open(file())
      opened.push(database)
      return persistenceOn(database)
    })
    test('was found whole', () => {
      expect(tests).toBeGreaterThanOrEqual(50)
    })
  })
}
