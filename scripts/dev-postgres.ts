import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { postgresFolder, startPostgres } from '../test/support/postgres.ts'

/** `npm run dev:postgres`: a PostgreSQL server of its own, gone with it, and the bridge on it, from the sources. */

if (postgresFolder() === undefined) {
  console.error('There is no PostgreSQL server here: apt-get install postgresql')
  process.exit(1)
}
const folder = mkdtempSync(join(tmpdir(), 'limb-dev-'))
const { server, stop } = startPostgres()
const url = `postgres://${server.user}@localhost/${server.database}?host=${server.host}`
const env = { LIMB_STORE: 'postgres', LIMB_STORE_URL: url, LIMB_DB: join(folder, 'limb.sqlite') }
console.error(`PostgreSQL: psql -h ${server.host} -U ${server.user} ${server.database}`)

const program = resolve(import.meta.dirname, '../bin/limb-bridge.js')
const watched = ['--watch', '--watch-preserve-output', program, 'serve', ...process.argv.slice(2)]
const bridge = spawn(process.execPath, watched, { stdio: 'inherit', env: { ...process.env, ...env } })
// A terminal sends it to the bridge too, which ends in order.
process.on('SIGINT', () => undefined)
process.on('SIGTERM', () => bridge.kill('SIGTERM'))
bridge.once('exit', (code) => {
  stop()
  rmSync(folder, { recursive: true, force: true })
  process.exitCode = code ?? 0
})
