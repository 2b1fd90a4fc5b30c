import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { type BridgeProcess, startBridge } from '../support/bridge-process.ts'
import { connect } from '../support/client.ts'
import { patience } from '../support/patience.ts'
import { churn, newTally, type Tally } from './churn.ts'

/** Many lives of limbs against a bridge of its own, with a look at the bridge at rest between them. */

/** A bridge at rest, after a collection of garbage that gave back what it freed. */
export interface Sample {
  readonly minutes: number
  readonly heapBytes: number
  readonly rssBytes: number
  readonly fileDescriptors: number
  readonly timers: number
  readonly walBytes: number
}

export interface SoakReport {
  readonly samples: readonly Sample[]
  readonly tally: Tally
  /** Rows by table, at the end. */
  readonly rows: Readonly<Record<string, number>>
  readonly databaseBytes: number
  readonly exitCode: number | null
  /** Lines of the log that are warnings or worse. */
  readonly trouble: readonly string[]
}

export interface SoakOptions {
  readonly minutes: number
  /** Limbs at once. */
  readonly limbs: number
  readonly samples: number
  readonly say?: (line: string) => void
}

export const MAX_HISTORY_ROWS = 1000
const MAX_QUEUED = 200
/** The watcher is away with a queue of MAX_QUEUED on purpose: that it fills, and says so, is what is wanted. */
const FULL_QUEUE = '"why":"queue"'
/** A busy machine gives the bridge no time for seconds: that it sees that is right, and no fault of a limb. */
const STOOD_STILL = 'the process stood still'
const WATCHER_PASSWORD = 'a password of the soak'
/** Each limb lives so often at least before a stage is over. */
const LIVES_OF_A_STAGE = 2

const SETTINGS = {
  mqtt: { maxConnectionsPerAddress: 10_000, maxQueuedPerSession: MAX_QUEUED },
  pairing: { maxPendingPerAddress: 10_000 },
  // These limbs come and go as fast as they can, which is no fault here.
  presence: { saveSeconds: 1, graceSeconds: 1, maxChangesPerSecond: 1000 },
  retention: { maxHistoryRows: MAX_HISTORY_ROWS },
  log: { level: 'warn', format: 'json' },
}

export async function soak(options: SoakOptions): Promise<SoakReport> {
  const folder = mkdtempSync(join(tmpdir(), 'limb-soak-'))
  const hook = new URL('../bench/gc-on-request.ts', import.meta.url).href
  const trouble: string[] = []
  const bridge = await startBridge({
    folder,
    hear: (line) => {
      if (!/"level":"(warn|error|fatal)"/.test(line)) return
      if (line.includes(FULL_QUEUE) || line.includes(STOOD_STILL)) return
      trouble.push(line)
      trouble.splice(0, trouble.length - 50)
    },
    // `ready` is an info line; the level is lowered to what matters by the look at the lines.
    settings: { ...SETTINGS, log: { level: 'info', format: 'json' } },
    ipc: true,
    nodeArgs: ['--expose-gc', '--import', hook],
  })
  try {
    return await run(bridge, folder, trouble, options)
  } finally {
    await bridge.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function run(
  bridge: BridgeProcess,
  folder: string,
  trouble: readonly string[],
  { minutes, limbs, samples: count, say = () => {} }: SoakOptions,
): Promise<SoakReport> {
  const admin = await connect({ socket: bridge.control })
  await admin.do('admin', 'principal/add', { name: 'watcher', role: 'viewer', password: WATCHER_PASSWORD })
  await admin.end()
  const tally = newTally()
  const samples: Sample[] = []
  const started = performance.now()
  for (let i = 1; i <= count; i++) {
    const lives = tally.lives + limbs * LIVES_OF_A_STAGE
    const until = started + (minutes * 60_000 * i) / count
    const latest = until + patience(60_000)
    await churn(bridge, { until, limbs, tally, watcher: WATCHER_PASSWORD })
    // On a busy machine the first stage would be of a bridge that is still warming up, and all growth after it.
    while (tally.lives < lives && performance.now() < latest) {
      await churn(bridge, { until: performance.now() + 5000, limbs, tally, watcher: WATCHER_PASSWORD })
    }
    const sample = await atRest(bridge, (performance.now() - started) / 60_000)
    samples.push(sample)
    say(JSON.stringify({ ...sample, lives: tally.lives }))
  }
  const exitCode = await bridge.stop()
  return { samples, tally, ...tablesOf(join(folder, 'limb.sqlite')), exitCode, trouble }
}

/** When the last connection is gone and what it left has ended: grace, timers, batches. */
async function atRest(bridge: BridgeProcess, minutes: number): Promise<Sample> {
  const latest = performance.now() + patience(10_000)
  await pause(2500)
  for (;;) {
    const before = await sampleOf(bridge, minutes)
    await pause(500)
    const sample = await sampleOf(bridge, minutes)
    const isStill = sample.timers === before.timers && sample.fileDescriptors === before.fileDescriptors
    if (isStill || performance.now() > latest) return sample
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

async function sampleOf(bridge: BridgeProcess, minutes: number): Promise<Sample> {
  bridge.child.send('collect-all')
  await once(bridge.child, 'message')
  const response = await fetch(`http://127.0.0.1:${bridge.http?.port}/metrics`, {
    headers: { connection: 'close' },
  })
  const text = await response.text()
  const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? 0)
  return {
    minutes: Math.round(minutes * 100) / 100,
    heapBytes: value('nodejs_heap_size_used_bytes'),
    rssBytes: value('process_resident_memory_bytes'),
    fileDescriptors: value('process_open_fds'),
    timers: value('nodejs_active_resources\\{type="Timeout"\\}'),
    walBytes: value('limb_database_wal_bytes'),
  }
}

function tablesOf(file: string): Pick<SoakReport, 'rows' | 'databaseBytes'> {
  const sql = new Sqlite(file, { readonly: true })
  try {
    const names = sql
      .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
      .pluck()
      .all()
    const rows = names.map((name) => [
      String(name),
      Number(
        sql
          .prepare(`SELECT count(*) FROM "${String(name)}"`)
          .pluck()
          .get(),
      ),
    ])
    return { rows: Object.fromEntries(rows), databaseBytes: statSync(file).size }
  } finally {
    sql.close()
  }
}

const MIB = 1024 * 1024

/** What is not flat, each a sentence; empty: everything is. The first sample is of a bridge that was just warmed up. */
export function growth({ samples, rows, exitCode, tally }: SoakReport, limbs: number): string[] {
  const [first] = samples
  const last = samples.at(-1)
  if (!first || !last) return ['there are no samples']
  const names = limbs * 3
  // Some thirty changes in a life, and housekeeping comes every minute.
  const historySlack = (tally.lives * 30 * 2) / Math.max(last.minutes, 2)
  const bounds: readonly [string, number, number][] = [
    ['heap in MiB', last.heapBytes / MIB, (first.heapBytes * 1.15) / MIB + 4],
    ['resident memory in MiB', last.rssBytes / MIB, (first.rssBytes * 1.25) / MIB + 24],
    ['file descriptors', last.fileDescriptors, first.fileDescriptors + 3],
    ['timers', last.timers, first.timers + 4],
    ['write-ahead log in MiB', last.walBytes / MIB, 20],
    ['nodes', rows.nodes ?? 0, limbs],
    ['requests', rows.requests ?? 0, 0],
    ['refused keys', rows.refused_keys ?? 0, names * 16],
    ['presence history', rows.presence_history ?? 0, MAX_HISTORY_ROWS + historySlack],
    ['stored sessions', rows.mqtt_sessions ?? 0, 1],
    ['subscriptions', rows.mqtt_subscriptions ?? 0, 3],
    ['queued messages', rows.mqtt_queue ?? 0, MAX_QUEUED],
    ['retained messages', rows.mqtt_retained ?? 0, 0],
    ['QoS 2 handshakes', rows.mqtt_incoming ?? 0, 0],
    ['exit code', exitCode ?? -1, 0],
  ]
  return bounds
    .filter(([, value, bound]) => value > bound || value < 0)
    .map(([what, value, bound]) => `${what}: ${value.toFixed(1)}, and at most ${bound.toFixed(1)} are right`)
}
