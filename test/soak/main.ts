import { parseArgs } from 'node:util'
import { growth, soak } from './soak.ts'

/** `npm run test:soak -- --minutes 30 --limbs 20` */

const { values } = parseArgs({ options: { minutes: { type: 'string' }, limbs: { type: 'string' } } })
const minutes = Number(values.minutes ?? 30)
const limbs = Number(values.limbs ?? 12)
if (!(minutes > 0) || !(limbs > 0)) throw new Error('--minutes and --limbs are numbers greater than 0')

const report = await soak({ minutes, limbs, samples: Math.max(3, Math.ceil(minutes)), say: console.log })
console.log(
  JSON.stringify({ tally: report.tally, rows: report.rows, databaseBytes: report.databaseBytes }, null, 1),
)
for (const line of report.trouble) console.log(line)
const problems = growth(report, limbs)
for (const problem of problems) console.error(problem)
console.log(problems.length === 0 ? 'flat' : 'not flat')
process.exitCode = problems.length === 0 ? 0 : 1
