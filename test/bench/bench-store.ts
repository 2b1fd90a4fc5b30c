import { join } from 'node:path'
import { PendingPairingRequests } from '../../src/bridge/live/pending.ts'
import { PairingDecisions } from '../../src/bridge/pairing/decisions.ts'
import type { WindowReservation } from '../../src/bridge/pairing/window.ts'
import type { Session, Store } from '../../src/bridge/ports.ts'
import type { BridgeContext } from '../../src/bridge/settings.ts'
import type { NodeRecord } from '../../src/domain/records.ts'
import { configSchema } from '../../src/host/config/schema.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { RunningClock } from '../../src/kernel/running-clock.ts'
import { hashKey } from '../../src/kernel/secrets.ts'
import { openPostgres } from '../../src/store/postgres/database.ts'
import { createPostgresStore } from '../../src/store/postgres/store.ts'
import { openDatabase } from '../../src/store/sqlite/database.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { postgresFolder, startPostgres } from '../support/postgres.ts'
import type { Line } from './line.ts'
import type { Bench } from './run.ts'

/** What both stores do in a second, in one run: claims of new limbs, and what a limb that signs in is looked up for. */

/** Works and reads that are under way at any time. */
const AT_ONCE = 200
const quiet = { debug() {}, info() {}, warn() {}, error() {} }
const REGISTRATION = {
  displayName: 'Front camera',
  platform: 'esp32',
  capabilities: [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'leased' as const }],
  firmware: '1.2.0',
}

interface Figures {
  /** Milliseconds of wall time each. */
  readonly claim: number
  readonly firstRead: number
  readonly nextRead: number
}

/** Milliseconds for each of `count`, `AT_ONCE` of them under way. */
async function timed(count: number, work: (index: number) => Promise<unknown>): Promise<number> {
  const started = performance.now()
  let next = 0
  const lane = async () => {
    for (let i = next++; i < count; i = next++) await work(i)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return (performance.now() - started) / count
}

/** The real decision about a claim, of a device that nobody knows. */
function claims(store: Store): (index: number) => Promise<unknown> {
  const { pairing } = configSchema.parse({})
  const context = {
    clock: systemClock,
    running: new RunningClock(systemClock),
    settings: { pairing },
  } as unknown as BridgeContext
  const decisions = new PairingDecisions(context, new PendingPairingRequests(systemClock))
  const seat: WindowReservation = { begin() {}, settle() {}, take: () => undefined }
  return (i) => {
    const session = { address: `192.0.2.${i % 200}` } as unknown as Session
    const attempt = decisions.attempt(seat)
    return store.transact((tx) =>
      decisions.claim(tx, attempt, session, `new-${i}`, `key-of-${i}-${'k'.repeat(16)}`, REGISTRATION),
    )
  }
}

function node(nodeId: string): NodeRecord {
  return {
    nodeId,
    displayName: nodeId,
    operatorName: null,
    platform: 'esp32',
    firmware: null,
    endpointUrl: null,
    registeredFrom: null,
    invoke: 'mqtt',
    capabilities: REGISTRATION.capabilities,
    heartbeatSeconds: null,
    timeoutSeconds: null,
    presence: null,
    ownDescription: null,
    adapter: null,
    operatorDescription: null,
    operatorSettings: null,
    approvedAt: 1,
    approvedBy: 'bench',
    updatedAt: 1,
    lastHeartbeatAt: null,
  }
}

/** As many wait as may by default; then all of them go, which is not counted. */
async function claimsInRounds(store: Store, count: number): Promise<number> {
  const { maxPending } = configSchema.parse({}).pairing
  const claim = claims(store)
  let ms = 0
  for (let from = 0; from < count; from += maxPending) {
    const some = Math.min(maxPending, count - from)
    ms += some * (await timed(some, (i) => claim(from + i)))
    const bounds = { now: 0, maxRequests: maxPending, maxBytes: Number.MAX_SAFE_INTEGER }
    const { requests } = await store.loadRequests(bounds)
    await timed(requests.length, (i) =>
      store.transact((tx) => tx.deleteRequest(requests[i]?.requestId ?? '')),
    )
  }
  return ms / count
}

async function figures(store: Store, count: number): Promise<Figures> {
  const key = hashKey('one key for all of them')
  await timed(count, (i) =>
    store.transact(async (tx) => {
      await tx.putNode(node(`n-${i}`))
      await tx.putNodeKeys(`n-${i}`, { current: key, next: null, currentUntil: null })
    }),
  )
  const claim = await claimsInRounds(store, count)
  const read = (i: number) => store.read((tx) => tx.nodeKeys(`n-${i}`))
  return { claim, firstRead: await timed(count, read), nextRead: await timed(count, read) }
}

export async function benchStore(bench: Bench): Promise<Line[]> {
  const { newLimbs } = bench.scale
  bench.say(`${newLimbs} claims and look-ups on SQLite`)
  const database = openDatabase({
    file: join(bench.folder(), 'limb.sqlite'),
    clock: systemClock,
    log: quiet,
  })
  const onSqlite = createStore(database)
  bench.add({ end: () => onSqlite.close() })
  const sqlite = await figures(onSqlite, newLimbs)
  if (postgresFolder() === undefined) return []

  bench.say(`the same on PostgreSQL, which flushes each commit to the disk too`)
  const { server, stop } = startPostgres({ fsync: true })
  bench.add({ end: async () => stop() })
  const onPostgres = createPostgresStore(
    openPostgres({ server, schema: 'bench', clock: systemClock, log: quiet }),
  )
  bench.add({ end: () => onPostgres.close() })
  const postgres = await figures(onPostgres, newLimbs)
  await bench.endAll()
  const line = (name: string, of: keyof Figures, goal: number): Line => ({
    name: `PostgreSQL: ${name}, wall`,
    unit: 'ms',
    bridge: postgres[of],
    peer: { name: 'SQLite', value: sqlite[of] },
    goal,
    note: `${(1000 / postgres[of]).toFixed(0)} a second; SQLite ${(1000 / sqlite[of]).toFixed(0)}`,
  })
  return [
    line(`claim (${newLimbs}, ${AT_ONCE} under way)`, 'claim', 1.25),
    line('keys of a limb that signs in first', 'firstRead', 0.2),
    line('keys of a limb that signs in again', 'nextRead', 0.2),
  ]
}
