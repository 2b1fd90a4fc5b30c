import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { openDatabase } from '../../src/store/sqlite/database.ts'
import { open, temporaryFile } from './fixture.ts'

function logged() {
  const warn = vi.fn()
  return { log: { debug() {}, info() {}, warn, error() {} }, warn }
}

test('a start in an empty folder is a first start, and says nothing of leftovers', async () => {
  const { log, warn } = logged()
  const database = openDatabase({ file: temporaryFile(), clock: systemClock, log })
  expect(database.replacesLost).toBe(false)
  expect(warn).not.toHaveBeenCalled()
  await database.close()
})

test.each([
  ['admin-password', (folder: string) => writeFileSync(join(folder, 'admin-password'), 'x')],
  ['a lock', (folder: string) => writeFileSync(join(folder, 'limb.sqlite.lock'), '')],
  [
    'a backup',
    (folder: string) => {
      mkdirSync(join(folder, 'backups'))
      writeFileSync(join(folder, 'backups/limb-20260101T000000000Z.sqlite'), '')
    },
  ],
])('a start beside %s of a database that is gone says so, and how to get it back', async (_what, leave) => {
  const file = temporaryFile()
  leave(dirname(file))
  const { log, warn } = logged()
  const database = openDatabase({ file, clock: systemClock, log })
  expect(database.replacesLost).toBe(true)
  expect(warn).toHaveBeenCalledExactlyOnceWith(
    expect.anything(),
    expect.stringMatching(/there is no database .* `limb-bridge restore /),
  )
  await database.close()
})

test('a write-ahead log without its database stops the start, and stays', async () => {
  const file = temporaryFile()
  const database = open(file)
  await database.writer.write(() => database.sql.exec("INSERT INTO meta VALUES ('a', 'b')"))
  const copy = join(dirname(file), 'copy.sqlite')
  copyFileSync(`${file}-wal`, `${copy}-wal`)
  const { log } = logged()
  expect(() => openDatabase({ file: copy, clock: systemClock, log })).toThrow(
    /Put the database back beside it/,
  )
  expect(existsSync(`${copy}-wal`)).toBe(true)
  expect(existsSync(copy)).toBe(false)
  await database.close()
  rmSync(`${copy}-wal`)
})
