import { parseArgs } from 'node:util'
import { Finding, fuzz } from './fuzz.ts'

/** `npm run test:fuzz -- [--minutes N] [--seed S]`: speaks broken MQTT to a bridge of its own. */

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string' } },
})
const minutes = Number(values.minutes)
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)
if (!(minutes > 0) || !Number.isInteger(seed)) {
  console.error('npm run test:fuzz -- [--minutes N] [--seed S]: N above 0, S a whole number')
  process.exit(2)
}

console.log(`seed ${seed}, ${minutes} minutes`)
try {
  const result = await fuzz({ seed, milliseconds: minutes * 60_000, say: (line) => console.log(line) })
  console.log(`nothing found: ${JSON.stringify(result)}`)
} catch (error) {
  console.error(error instanceof Finding ? error.message : error)
  process.exitCode = 1
}
