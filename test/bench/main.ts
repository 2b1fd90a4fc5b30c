import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { benchHeartbeats } from './bench-heartbeats.ts'
import { benchInvoke } from './bench-invoke.ts'
import { benchMessages } from './bench-messages.ts'
import { benchPairing } from './bench-pairing.ts'
import { benchPolicy } from './bench-policy.ts'
import { benchReconnect } from './bench-reconnect.ts'
import { benchMemory, benchRestart } from './bench-size.ts'
import { benchStore } from './bench-store.ts'
import { benchSubscribe } from './bench-subscribe.ts'
import { type Line, table, verdict } from './line.ts'
import { machine } from './machine.ts'
import { Bench } from './run.ts'
import { FULL, QUICK } from './scale.ts'

/** `npm run bench`: see docs/benchmarks.md. */

const PARTS: Readonly<Record<string, (bench: Bench) => Promise<Line[]>>> = {
  heartbeats: benchHeartbeats,
  messages: benchMessages,
  pairing: benchPairing,
  reconnect: benchReconnect,
  restart: benchRestart,
  memory: benchMemory,
  subscribe: benchSubscribe,
  invoke: benchInvoke,
  policy: benchPolicy,
  store: benchStore,
}

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    limbs: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

function usage(): string {
  return [
    'npm run bench -- [--only PART]… [--limbs N] [--quick] [--json FILE]',
    `  --only PART   ${Object.keys(PARTS).join(', ')}; may be given more than once`,
    '  --limbs N     heartbeats of a fleet of N limbs only',
    '  --quick       tiny numbers: shows that everything runs, in less than a minute',
    '  --json FILE   writes the same as JSON',
  ].join('\n')
}

function parts(): string[] {
  const wanted = values.only ?? Object.keys(PARTS)
  const unknown = wanted.find((name) => !Object.hasOwn(PARTS, name))
  if (unknown !== undefined) throw new Error(`there is no part ${unknown}\n${usage()}`)
  return wanted
}

function scale() {
  const base = values.quick ? QUICK : FULL
  return values.limbs === undefined ? base : { ...base, fleets: [Number(values.limbs)] }
}

async function main(): Promise<void> {
  if (values.help) {
    console.log(usage())
    return
  }
  const facts = machine()
  console.log(
    `Node ${facts.node}, Linux ${facts.kernel}, ${facts.cores} cores (${facts.processor}), ` +
      `${facts.memoryGib} GiB; CPU time in ticks of ${facts.tickMs} ms, ${facts.openFiles} open files a process`,
  )
  const bench = new Bench(scale(), (message) => console.error(`… ${message}`))
  // The processes that were started end with this one, also after Ctrl-C.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void bench.endAll().finally(() => process.exit(130)))
  }
  const lines: Line[] = []
  try {
    for (const name of parts()) lines.push(...((await PARTS[name]?.(bench)) ?? []))
  } finally {
    await bench.endAll()
  }
  console.log(`\n${table(lines)}`)
  if (values.json !== undefined) {
    const result = {
      quick: values.quick,
      machine: facts,
      lines: lines.map((line) => ({ ...line, verdict: verdict(line) })),
    }
    writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`)
  }
}

await main()
