import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { postgresFolder } from '../support/postgres.ts'
import { failover, SCENARIOS } from './failover.ts'

/**
 * `npm run test:failover -- [--rounds 20] [--limbs 300] [--only leader,primary,both,frozen]`: two bridges on Patroni, etcd
 * and HAProxy of Debian, all on loopback, are killed and frozen under load; prints what was measured.
 */

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    limbs: { type: 'string', default: '300' },
    only: { type: 'string', default: SCENARIOS.join(',') },
  },
})
const [rounds, limbs] = [Number(values.rounds), Number(values.limbs)]
const scenarios = SCENARIOS.filter((each) => values.only.split(',').includes(each))
if (
  !Number.isInteger(rounds) ||
  !Number.isInteger(limbs) ||
  rounds < 1 ||
  limbs < 20 ||
  scenarios.length === 0
) {
  console.error(`--rounds from 1, --limbs from 20, --only some of ${SCENARIOS.join(',')}`)
  process.exit(2)
}
const missing = [
  ['patroni', 'patroni'],
  ['etcd', 'etcd-server'],
  ['haproxy', 'haproxy'],
].filter(([program]) => spawnSync('sh', ['-c', `PATH="$PATH:/usr/sbin" command -v ${program}`]).status !== 0)
if (missing.length > 0 || postgresFolder() === undefined) {
  console.error(`apt-get install postgresql ${missing.map(([, name]) => name).join(' ')}`)
  process.exit(2)
}
const { faults } = await failover({ rounds, limbs, scenarios, say: console.log })
for (const fault of faults) console.error(fault)
console.log(faults.length === 0 ? 'nothing was lost' : `${faults.length} faults`)
process.exit(faults.length === 0 ? 0 : 1)
