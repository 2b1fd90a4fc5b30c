import { systemClock } from '../../src/kernel/clock.ts'
import { openDatabase } from '../../src/store/sqlite/database.ts'

/** Opens the database that is named, says so, and holds it until it is killed. */
const log = { debug() {}, info() {}, warn() {}, error() {} }
openDatabase({ file: process.argv[2] ?? '', clock: systemClock, log })
// What nobody holds on to is collected now, if ever.
setInterval(() => {
  globalThis.gc?.()
  setImmediate(() => console.log('open'))
}, 20)
