import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ATTACKS } from './attacks.ts'
import { memoryGroup } from './cgroup.ts'
import { BACK_MIB, type Outcome, underPressure } from './pressure.ts'

/**
 * `npm run test:pressure`: the bridge in a memory cgroup of 400 MiB under every attack, ten minutes of attacks in all;
 * `-- --short` takes the example of each kind, less than a minute of attacks, as CI does; `-- --only 'retained data'` takes one;
 * `-- --nodes 10000` has so many limbs.
 */

const MEMORY_BYTES = 400 * 1024 * 1024
const MAX_P99_MS = 1000

const { values } = parseArgs({
  options: {
    short: { type: 'boolean' },
    seconds: { type: 'string' },
    nodes: { type: 'string' },
    only: { type: 'string' },
  },
})
const all = Object.entries(ATTACKS).flatMap(([kind, attacks]) =>
  Object.keys(attacks).map((name, i) => ({ kind, name, isExample: i === 0 })),
)
const chosen = all.filter(
  ({ name, isExample }) =>
    (!values.short || isExample) && (values.only === undefined || name === values.only),
)

const SECONDS_IN_ALL = { short: 48, long: 600 }
const MIN_SECONDS = 4
const seconds = Number(
  values.seconds ??
    (values.short
      ? Math.max(MIN_SECONDS, Math.floor(SECONDS_IN_ALL.short / chosen.length))
      : Math.ceil(SECONDS_IN_ALL.long / all.length)),
)

const NODES = 300
const nodes = Number(values.nodes ?? NODES)

function problemsOf(outcome: Outcome): string[] {
  const { done, lives, kills, limbStayed, p99Ms, restMiB, afterMiB, restarted } = outcome
  return [
    ...(done > 0 ? [] : ['the attack did nothing']),
    ...(lives && kills === 0 ? [] : ['the process ended']),
    ...(limbStayed ? [] : ['the healthy limb is not online']),
    ...(p99Ms < MAX_P99_MS ? [] : [`an operator waits ${p99Ms} ms (p99)`]),
    ...(afterMiB <= restMiB + BACK_MIB ? [] : [`${afterMiB} MiB afterwards, ${restMiB} at rest`]),
    ...(restarted ? [] : ['it does not start again']),
  ]
}

let failed = 0
for (const { kind, name } of chosen) {
  const group = memoryGroup(MEMORY_BYTES)
  if (group === undefined) {
    console.log(
      'test:pressure: skipped: no memory cgroup can be made here (it needs root, and the controller)',
    )
    process.exit(process.env.CI === 'true' ? 1 : 0)
  }
  const folder = mkdtempSync(join(tmpdir(), 'limb-pressure-'))
  try {
    const outcome = await underPressure(group, folder, { kind, name, seconds, nodes })
    const problems = problemsOf(outcome)
    const { done, verbs, p99Ms, longestTurnMs, restMiB, peakMiB, afterMiB } = outcome
    console.log(
      `${problems.length === 0 ? 'ok  ' : 'FAIL'} ${kind}: ${name}: ${done} done, p99 ${p99Ms} ms of ${verbs} verbs, longest turn ${longestTurnMs} ms, ` +
        `${restMiB} MiB at rest, ${peakMiB} at most, ${afterMiB} afterwards${problems.map((text) => `; ${text}`).join('')}`,
    )
    failed += problems.length > 0 ? 1 : 0
  } finally {
    group.remove()
    rmSync(folder, { recursive: true, force: true })
  }
}
console.log(`${chosen.length - failed} of ${chosen.length} held`)
process.exitCode = failed === 0 && chosen.length > 0 ? 0 : 1
