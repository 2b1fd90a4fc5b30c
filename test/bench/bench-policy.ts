import { Policies } from '../../src/bridge/access/policies.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { openDatabase } from '../../src/store/sqlite/database.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { type Line, median } from './line.ts'
import type { Bench } from './run.ts'

/** A policy decision among very many entries: in use, for the first time, and what SQLite alone asks for that. */

const PRINCIPALS = 100
const quiet = { debug() {}, info() {}, warn() {}, error() {} }
const HELD = { cap: 'camera', commands: [], authLevel: 'free' as const }
const ROUNDS = 5

type Pair = readonly [principal: string, nodeId: string]

/** Milliseconds of process time, all threads: a busy machine does not count. */
function cpuMs(since?: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since)
  return (user + system) / 1000
}

async function timed(count: number, work: (index: number) => unknown): Promise<number> {
  const before = process.cpuUsage()
  for (let i = 0; i < count; i++) {
    const pending = work(i)
    if (pending instanceof Promise) await pending
  }
  return (cpuMs(before) * 1000) / count
}

export async function benchPolicy(bench: Bench): Promise<Line[]> {
  const { policies, decisions, policiesInUse } = bench.scale
  bench.say(`deciding among ${policies} policies`)
  const database = openDatabase({ file: ':memory:', clock: systemClock, log: quiet })
  const insert = database.sql.prepare("INSERT INTO policies VALUES (?, ?, 'camera', 'leased', 0, 'bench')")
  database.sql.transaction(() => {
    for (let i = 0; i < policies; i++) insert.run(...pairAt(i))
  })()
  const store = createStore(database)
  bench.add({ end: () => store.close() })

  // A prime step: far apart in the table, never the same twice.
  const far = (i: number) => pairAt((i * 7919) % policies)
  const nobody = (i: number): Pair => ['nobody', far(i)[1]]
  const lookUp = database.sql.prepare(
    'SELECT level FROM policies WHERE principal = ? AND node_id = ? AND capability = ?',
  )
  const plain: number[] = []
  const entry: number[] = []
  const none: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const from = round * decisions
    const first = new Policies(store, 'free')
    plain.push(await timed(decisions, (i) => lookUp.get(...far(from + i), 'camera')))
    entry.push(await timed(decisions, (i) => first.decide(...far(from + i), 'camera', HELD)))
    none.push(await timed(decisions, (i) => first.decide(...nobody(from + i), 'camera', HELD)))
  }

  const book = new Policies(store, 'free')
  for (let i = 0; i < policiesInUse; i++) await book.decide(...far(i), 'camera', HELD)
  const used: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    used.push(
      await timed(decisions, (i) => {
        const decision = book.decideNow(...far(i % policiesInUse), HELD)
        if (decision?.level !== 'leased') throw new Error('the decision was not the entry’s')
      }),
    )
  }
  await bench.endAll()
  const name = `policy decision among ${policies} entries`
  const peer = { name: 'one look-up in SQLite', value: median(plain) }
  const ratio = (values: readonly number[]) => median(values.map((value, i) => value / (plain[i] ?? 1)))
  return [
    {
      name: `${name}, in use`,
      unit: 'µs',
      bridge: median(used),
      goal: 2,
      note: `${policiesInUse} of them in turn`,
    },
    { name: `${name}, first time`, unit: 'µs', bridge: median(entry), peer, ratio: ratio(entry) },
    {
      name: `${name}, first time, none is about it`,
      unit: 'µs',
      bridge: median(none),
      peer,
      ratio: ratio(none),
    },
  ]
}

function pairAt(i: number): Pair {
  return [`p${i % PRINCIPALS}`, `node-${Math.floor(i / PRINCIPALS)}`]
}
