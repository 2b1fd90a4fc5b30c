import { parseArgs } from 'node:util'
import { PolicyBook } from '../../src/bridge/policy-book.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { openDatabase } from '../../src/store/database.ts'
import { createStore } from '../../src/store/store.ts'

/**
 * Nanoseconds of one policy decision among a million entries: warm (decided before), and cold (the first time,
 * from the database). `node test/bench/policy.ts [--entries N]`
 */

const { values } = parseArgs({ options: { entries: { type: 'string', default: '1000000' } } })
const ENTRIES = Number(values.entries)
const PRINCIPALS = 100
const DECISIONS = 200_000
const WORKING_SET = 10_000
const quiet = { debug() {}, info() {}, warn() {}, error() {} }

const database = openDatabase({ file: ':memory:', clock: systemClock, log: quiet })
const insert = database.sql.prepare("INSERT INTO policies VALUES (?, ?, 'camera', 'leased', 0, 'bench')")
database.sql.transaction(() => {
  for (let i = 0; i < ENTRIES; i++) insert.run(principalOf(i), nodeOf(i))
})()
const store = createStore(database)
const book = new PolicyBook(store, 'free')
const held = { cap: 'camera', commands: [], authLevel: 'free' as const }

function principalOf(i: number): string {
  return `p${i % PRINCIPALS}`
}

function nodeOf(i: number): string {
  return `node-${Math.floor(i / PRINCIPALS)}`
}

/** The triple that a prime step visits: far apart in the table, never the same twice. */
const far = (i: number) => (i * 7919) % ENTRIES

function report(name: string, decisions: number, ms: number): void {
  console.log(`${name.padEnd(44)} ${((ms / decisions) * 1e6).toFixed(0).padStart(8)} ns per decision`)
}

async function cold(name: string, count: number): Promise<void> {
  const started = performance.now()
  for (let i = 0; i < count; i++) await book.decide(principalOf(far(i)), nodeOf(far(i)), 'camera', held)
  report(name, count, performance.now() - started)
}

console.log(`${ENTRIES} entries, Node ${process.version}`)
const heapBefore = process.memoryUsage().heapUsed
await cold('cold: the first time, from SQLite', DECISIONS)
for (let i = 0; i < WORKING_SET; i++) await book.decide(principalOf(far(i)), nodeOf(far(i)), 'camera', held)

let leased = 0
for (let round = 0; round < 3; round++) {
  const started = performance.now()
  for (let i = 0; i < DECISIONS; i++) {
    const at = far(i % WORKING_SET)
    if (book.decideNow(principalOf(at), nodeOf(at), held)?.level === 'leased') leased++
  }
  const name = round === 2 ? `warm: ${WORKING_SET} triples in turn` : '(warming up)'
  report(name, DECISIONS, performance.now() - started)
}
if (leased !== 3 * DECISIONS) throw new Error('a warm decision was not the entry’s')

const started = performance.now()
for (let i = 0; i < DECISIONS; i++) {
  const at = far(i % WORKING_SET)
  await book.decide(principalOf(at), nodeOf(at), 'camera', held)
}
report('warm, awaited', DECISIONS, performance.now() - started)
const grown = (process.memoryUsage().heapUsed - heapBefore) / 1_048_576
console.log(`JavaScript heap grown by ${grown.toFixed(1)} MiB, garbage included`)
await store.close()
