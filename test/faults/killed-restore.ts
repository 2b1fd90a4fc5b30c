import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

/**
 * Restores a backup and is killed before the step that is named: a step is a call that changes something in a folder.
 * Arguments: the backup, the database, and the number of the step. With the name of a call in its place it waits before the
 * first of that name until its input ends, and says so.
 */

const STEPS = [
  'renameSync',
  'rmSync',
  'linkSync',
  'copyFileSync',
  'openSync',
  'chmodSync',
  'fsyncSync',
] as const
const [from = '', to = '', last = ''] = process.argv.slice(2)
let left = Number(last)
let waits = true
for (const name of STEPS) {
  const call = fs[name] as (...args: unknown[]) => unknown
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      if (left-- === 0) process.kill(process.pid, 'SIGKILL')
      if (waits && name === last) {
        waits = false
        fs.writeSync(1, 'waits\n')
        fs.readSync(0, Buffer.alloc(1))
      }
      return call(...args)
    },
  })
}
syncBuiltinESMExports()
const { restoreDatabase } = await import('../../src/store/sqlite/backup/restore.ts')
restoreDatabase({ from, to, now: Date.now() as never })
console.log('restored')
