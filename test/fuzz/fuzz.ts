import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BridgeProcess, startBridge } from '../support/bridge-process.ts'
import { patience } from '../support/patience.ts'
import { play } from './attacker.ts'
import { LIMB } from './golden.ts'
import { Health, type Held } from './health.ts'
import { Random } from './random.ts'
import { bytesOf, type Script, script, VERSIONS, type Version } from './script.ts'

export interface FuzzOptions {
  readonly seed: number
  /** The round under way is finished. */
  readonly milliseconds: number
  /** Goes on until so many rounds are over, however long they take. */
  readonly rounds?: number
  /** Ends sooner, when so many packets were sent. */
  readonly packets?: number
  /** The versions of MQTT that scripts speak. */
  readonly versions?: readonly Version[]
  /** Connections at a time, and in a round. */
  readonly connections?: number
  readonly say?: (line: string) => void
}

export interface FuzzResult {
  readonly rounds: number
  readonly connections: number
  readonly packets: number
  readonly bytes: number
  /** The packets of each kind of client. */
  readonly by: Readonly<Record<string, number>>
  /** Held when the last round was over, beyond what was held before the first. */
  readonly grownBytes: number
}

/** Something broke; the message holds what is needed to do it again. */
export class Finding extends Error {}

const CONNECTIONS_PER_ROUND = 16
/** Sessions, queues, retained messages and requests that the packets can leave behind are bounded; these are their size, and the compiler's. */
const GROWTH_BYTES = 24 * 1024 * 1024
/** SQLite's files, and a socket that the kernel is about to close. */
const GROWTH_FILES = 4
const SETTLE_MS = patience(5000)

const SETTINGS = {
  mqtt: {
    grants: [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }],
    connectSeconds: 2,
    maxQueuedPerSession: 50,
    maxRetained: 200,
    maxRetainedPerNode: 20,
  },
  pairing: { maxPending: 50 },
  log: { level: 'info' },
}

const WARM_UP_ROUNDS = 20

export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  const folder = mkdtempSync(join(tmpdir(), 'limb-fuzz-'))
  const hook = new URL('./report-on-request.ts', import.meta.url).href
  // Each line is looked at when it comes: the bridge may write more in a round than is kept.
  const grave: string[] = []
  const bridge = await startBridge({
    folder,
    settings: SETTINGS,
    ipc: true,
    hear: (line) => {
      if (isGrave(line) && grave.length < MAX_GRAVE) grave.push(line)
    },
    nodeArgs: ['--expose-gc', '--import', hook],
  })
  try {
    return await run(bridge, grave, options)
  } finally {
    await bridge.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Lines of errors that are told. */
const MAX_GRAVE = 5

function isGrave(line: string): boolean {
  return /"level":"(?:error|fatal)"/.test(line)
}

async function run(
  bridge: BridgeProcess,
  grave: readonly string[],
  options: FuzzOptions,
): Promise<FuzzResult> {
  const { seed, milliseconds, rounds = 1, packets = Number.POSITIVE_INFINITY, say = () => {} } = options
  const health = await Health.start(bridge, LIMB)
  const deadline = performance.now() + milliseconds
  const by: Record<string, number> = {}
  const total = { rounds: 0, connections: 0, packets: 0, bytes: 0, by }
  let baseline: Held | undefined
  let last: Held | undefined
  try {
    while (
      (performance.now() < deadline && total.packets < packets) ||
      last === undefined ||
      total.rounds < rounds
    ) {
      const scripts = roundOf(options, total.rounds)
      await Promise.all(scripts.map((each) => play(each, bridge)))
      total.rounds++
      total.connections += scripts.length
      total.packets += scripts.reduce((sum, each) => sum + each.packets, 0)
      for (const each of scripts) by[each.who] = (by[each.who] ?? 0) + each.packets
      total.bytes += scripts.flatMap((each) => each.segments).reduce((sum, each) => sum + each.length, 0)
      try {
        last = await examine(bridge, health, baseline)
        if (grave.length > 0) throw new Error(`the bridge logged ${grave.join('\n')}`)
        // What is compiled and cached on first use is no leak.
        if (total.rounds <= WARM_UP_ROUNDS) baseline = { ...last, sessions: SESSIONS }
      } catch (error) {
        throw finding(error, bridge, seed, total.rounds - 1, scripts)
      }
      if (total.rounds % 100 === 0) say(line(total, last))
    }
  } finally {
    health.end()
  }
  return { ...total, grownBytes: last.bytes - (baseline ?? last).bytes }
}

/** The healthy two. */
const SESSIONS = 2

function roundOf(
  { seed, versions = VERSIONS, connections = CONNECTIONS_PER_ROUND }: FuzzOptions,
  round: number,
): Script[] {
  const random = new Random(Math.imul(seed, 0x9e3779b1) ^ round)
  return Array.from({ length: connections }, () => script(random, versions))
}

/** The bridge answers, and holds no more than before. */
async function examine(bridge: BridgeProcess, health: Health, baseline: Held | undefined): Promise<Held> {
  if (bridge.child.exitCode !== null || bridge.child.signalCode !== null)
    throw new Error('the bridge has ended')
  await health.check()
  const until = performance.now() + SETTLE_MS
  for (;;) {
    const held = await health.held()
    const over =
      held.sessions === SESSIONS ? excess(held, baseline) : `${held.sessions} sessions, not ${SESSIONS}`
    if (over === undefined) return held
    if (performance.now() > until) throw new Error(`the bridge still holds ${over}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function excess(held: Held, baseline: Held | undefined): string | undefined {
  if (baseline === undefined) return undefined
  const bytes = held.bytes - baseline.bytes
  if (bytes > GROWTH_BYTES) return `${Math.round(bytes / 1024)} KiB more`
  const files = held.files - baseline.files
  return files > GROWTH_FILES ? `${files} more open files` : undefined
}

function finding(
  error: unknown,
  bridge: BridgeProcess,
  seed: number,
  round: number,
  scripts: Script[],
): Finding {
  const message = error instanceof Error ? error.message : String(error)
  return new Finding(
    [
      `seed ${seed}, round ${round}: ${message}`,
      `again: npm run test:fuzz -- --seed ${seed} --minutes 1`,
      'last words of the bridge:',
      ...bridge.lines.slice(-5),
      'sent:',
      bytesOf(scripts),
    ].join('\n'),
  )
}

function line(total: Omit<FuzzResult, 'grownBytes'>, held: Held): string {
  const { rounds, connections, packets, bytes } = total
  return `${rounds} rounds, ${connections} connections, ${packets} packets, ${bytes} bytes; held: ${Math.round(held.bytes / 1024)} KiB, ${held.files} files`
}
