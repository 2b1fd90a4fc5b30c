import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

/**
 * Restores a backup and is killed before the step that is named: a step is a call that changes something in a folder.
 * Arguments: the backup, the database, the number of the step.
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
for (const name of STEPS) {
  const call = fs[name] as (...args: unknown[]) => unknown
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      if (left-- === 0) process.kill(process.pid, 'SIGKILL')
      return call(...args)
    },
  })
}
syncBuiltinESMExports()
const { restoreDatabase } = await import('../../src/store/sqlite/backup/restore.ts')
restoreDatabase({ from, to, now: Date.now() as never })
console.log('restored')
