import { writeSync } from 'node:fs'
import { systemClock } from '../../src/kernel/clock.ts'
import { openDatabase } from '../../src/store/sqlite/database.ts'
import { MIGRATIONS, newestVersion } from '../../src/store/sqlite/schema/migrations.ts'

/** Upgrades the database of argv[2] by one schema too many, says so in the middle of it, and never ends it. */
const log = { debug() {}, info() {}, warn() {}, error() {} }
openDatabase({
  file: process.argv[2] ?? '',
  clock: systemClock,
  log,
  migrations: [
    ...MIGRATIONS,
    {
      version: newestVersion(MIGRATIONS) + 1,
      up(sql) {
        // More than the page cache holds, so that half of it is in the log on disk already.
        sql.pragma('cache_size = 10')
        sql.exec('DELETE FROM nodes; CREATE TABLE half (a)')
        const insert = sql.prepare('INSERT INTO half VALUES (?)')
        for (let i = 0; i < 200; i++) insert.run('x'.repeat(4000))
        writeSync(1, 'in the middle\n')
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
      },
    },
  ],
})
