import { parseArgs } from 'node:util'
import { Finding, fuzz } from './fuzz.ts'
import { VERSIONS } from './script.ts'

/**
 * `npm run test:fuzz -- [--minutes N] [--packets N] [--seed S] [--mqtt 4|5] [--connections N]`: speaks broken MQTT to a
 * bridge of its own.
 */

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    packets: { type: 'string' },
    seed: { type: 'string' },
    mqtt: { type: 'string' },
    connections: { type: 'string' },
  },
})
const minutes = Number(values.minutes)
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)
const packets = Number(values.packets ?? Number.POSITIVE_INFINITY)
const connections = Number(values.connections ?? 16)
const versions = VERSIONS.filter((each) => values.mqtt === undefined || String(each) === values.mqtt)
const whole = Number.isInteger(seed) && Number.isInteger(connections)
if (!whole || !(minutes > 0 && packets > 0 && connections > 0) || versions.length === 0) {
  console.error(
    'npm run test:fuzz -- [--minutes N] [--packets N] [--seed S] [--mqtt 4|5] [--connections N]: whole numbers above 0',
  )
  process.exit(2)
}

console.log(`seed ${seed}, ${minutes} minutes, MQTT ${versions.join(' and ')}`)
const started = { seed, milliseconds: minutes * 60_000, packets, versions, connections }
try {
  const result = await fuzz({ ...started, say: (line) => console.log(line) })
  console.log(`nothing found: ${JSON.stringify(result)}`)
} catch (error) {
  console.error(error instanceof Finding ? error.message : error)
  process.exitCode = 1
}
