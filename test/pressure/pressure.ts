import { execFile, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { WEBHOOK_EVENTS } from '../../src/protocol/webhooks.ts'
import { type BridgeProcess, startBridge } from '../support/bridge-process.ts'
import { type ControlClient, connectControl } from '../support/control-client.ts'
import { importFleet } from '../support/import-fleet.ts'
import { connectRaw, type RawClient } from '../support/raw-client.ts'
import { AGENT, LIMB, type Target, VIEWER } from './attacker.ts'
import type { MemoryGroup } from './cgroup.ts'
import { ALL_KIND, TLS_KIND } from './kinds.ts'

/** One bridge in a memory cgroup under one attack: what became of it, of a healthy limb, and of an operator's verbs. */

export interface Outcome {
  readonly kind: string
  readonly name: string
  /** How much the attack did. */
  readonly done: number
  readonly lives: boolean
  readonly kills: number
  readonly limbStayed: boolean
  readonly verbs: number
  readonly p99Ms: number
  /** The longest turn of the bridge's event loop during the attack, in time of its thread. */
  readonly longestTurnMs: number
  readonly restMiB: number
  readonly peakMiB: number
  /** Some seconds after the attack. */
  readonly afterMiB: number
  readonly restarted: boolean
}

const MIB = 1024 * 1024
const ADMIN = 'an admin password'
const HEALTHY = 'good'
const KEYS = { [HEALTHY]: 'the key of a good limb 1', [LIMB]: 'the key of a bad limb 22' } as const
const BACK_MS = 20_000

/** The settings of the bridge, with a webhook to a server that takes requests and never answers. */
const settings = (silentPort: number, folder: string, kind: string) => ({
  ...((kind === TLS_KIND || kind === ALL_KIND) && { tls: overTls(folder) }),
  ...(kind === TLS_KIND && { http: { port: 0, tls: true } }),
  presence: { heartbeatSeconds: 2, timeoutSeconds: 10, graceSeconds: 2 },
  invocation: { timeoutSeconds: 5, httpNetworks: ['127.0.0.1'] },
  webhooks: [
    {
      name: 'silent',
      url: `http://127.0.0.1:${silentPort}/in`,
      networks: ['127.0.0.1'],
      secret: `whsec_${Buffer.alloc(24, 7).toString('base64')}`,
      events: WEBHOOK_EVENTS,
    },
  ],
})

/** What the unit says to the C library about memory that was freed. */
const UNIT = readFileSync(join(import.meta.dirname, '../../systemd/limb-bridge.service'), 'utf8')
const UNIT_ENV = Object.fromEntries(
  [...UNIT.matchAll(/^Environment=(MALLOC_\w+)=(\d+)$/gm)].map(([, name = '', value = '']) => [name, value]),
)

/** Further arguments of Node's, such as `--cpu-prof`, for whoever looks for the reason of a figure. */
const NODE_ARGS = (process.env.PRESSURE_NODE_ARGS ?? '').split(' ').filter((arg) => arg !== '')

/** The section `tls` with a certificate of RSA, whose signatures are the dearest of those that are common. */
function overTls(folder: string): Readonly<Record<string, unknown>> {
  const [certFile, keyFile] = [join(folder, 'own.crt'), join(folder, 'own.key')]
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'],
      ...['-keyout', keyFile, '-out', certFile],
    ],
    { stdio: 'ignore' },
  )
  return { enabled: true, host: '127.0.0.1', port: 0, certFile, keyFile }
}

/** Accepts every connection, reads, and says nothing. */
async function silentServer(): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => undefined).resume())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

interface Fleet {
  readonly bridge: BridgeProcess
  readonly control: ControlClient
  readonly passwords: { readonly viewer: string; readonly agent: string }
}

export interface Pressure {
  readonly kind: string
  readonly name: string
  readonly seconds: number
  /** Limbs beside the two that speak. */
  readonly nodes: number
}

export async function underPressure(
  group: MemoryGroup,
  folder: string,
  { kind, name, seconds, nodes }: Pressure,
): Promise<Outcome> {
  const silent = await silentServer()
  const { port } = silent.address() as AddressInfo
  const turnsFile = join(folder, 'turns')
  const bridgeSettings = settings(port, folder, kind)
  const start = () =>
    startBridge({
      folder,
      settings: bridgeSettings,
      env: { ...UNIT_ENV, LIMB_ADMIN_PASSWORD: ADMIN, PRESSURE_TURNS: turnsFile },
      nodeArgs: ['--import', join(import.meta.dirname, 'longest-turns.ts'), ...NODE_ARGS],
      wrapper: ['sh', '-c', 'echo $$ > "$0"; exec "$@"', group.members],
    })
  const fleet = await prepare(await start(), nodes)
  const { bridge } = fleet
  const limb = await healthyLimb(bridge)
  const restMiB = rssMiB(bridge.pid)
  const target: Target = {
    mqtt: bridge.mqtt.port,
    tls: bridge.tls?.port ?? 0,
    http: bridge.http?.port ?? 0,
    control: bridge.control,
    seconds,
    ...fleet.passwords,
    limbKey: KEYS[LIMB],
  }
  const began = Date.now()
  let over = false
  const probe = verbsUntil(fleet.control, () => over)
  const peak = rssUntil(bridge.pid, () => over)
  const { stdout } = await promisify(execFile)(process.execPath, [
    join(import.meta.dirname, 'attack.ts'),
    kind,
    name,
    JSON.stringify(target),
  ])
  over = true
  const longestTurnMs = longestSince(turnsFile, began)
  const latencies = await probe
  const peakMiB = await peak
  const lives = bridge.child.exitCode === null && bridge.child.signalCode === null
  const limbStayed = lives && limb.client.alive && (await statusOf(fleet.control)) === 'online'
  const afterMiB = lives ? await memoryBack(bridge.pid, restMiB) : 0
  limb.stop()
  fleet.control.client.cut()
  await bridge.kill()
  const again = await start().catch(() => undefined)
  const restarted = again !== undefined
  await again?.kill()
  silent.close()
  return {
    kind,
    name,
    done: Number(stdout.trim()),
    lives,
    kills: group.kills(),
    limbStayed,
    verbs: latencies.length,
    p99Ms: percentile(latencies, 0.99),
    longestTurnMs,
    restMiB,
    peakMiB,
    afterMiB,
    restarted,
  }
}

async function prepare(bridge: BridgeProcess, nodes: number): Promise<Fleet> {
  const control = await connectControl(bridge.control)
  const add = async (name: string, role: string) =>
    String((await control.do('principal/add', { name, role })).password)
  const passwords = { viewer: await add(VIEWER, 'viewer'), agent: await add(AGENT, 'agent') }
  const keyed = Object.entries(KEYS).map(([nodeId, apiKey]) => ({ ...node(nodeId), apiKey }))
  await control.do('node/import', { nodes: keyed })
  const others = Array.from({ length: nodes }, (_, i) => node(`node${i}`))
  await importFleet((verb, args) => control.do(verb, args), others)
  return { bridge, control, passwords }
}

function node(nodeId: string): object {
  return { nodeId, capabilities: [{ cap: 'x', commands: ['x.y'], authLevel: 'free' }] }
}

async function healthyLimb(bridge: BridgeProcess): Promise<{ client: RawClient; stop: () => void }> {
  const client = await connectRaw(bridge.mqtt, {
    clientId: HEALTHY,
    username: HEALTHY,
    password: KEYS[HEALTHY],
  })
  const beat = () =>
    void client.publish(`limb/node/${HEALTHY}/heartbeat`, '{"status":"online"}').catch(() => {})
  beat()
  const timer = setInterval(beat, 2000)
  return {
    client,
    stop() {
      clearInterval(timer)
      client.cut()
    },
  }
}

async function statusOf(control: ControlClient): Promise<unknown> {
  return (await control.do('node/get', { nodeId: HEALTHY })).status
}

/** Asks one verb after the other, as an operator's tools do, and says how long each took. */
async function verbsUntil(control: ControlClient, over: () => boolean): Promise<number[]> {
  const took: number[] = []
  while (!over()) {
    const began = performance.now()
    const answered = await control.ask('node/get', { nodeId: HEALTHY }).catch(() => undefined)
    took.push(answered ? performance.now() - began : Number.POSITIVE_INFINITY)
    if (!answered) break
    await sleep(25)
  }
  return took
}

async function rssUntil(pid: number, over: () => boolean): Promise<number> {
  let peak = 0
  while (!over()) {
    peak = Math.max(peak, rssMiB(pid))
    await sleep(100)
  }
  return peak
}

/** Waits until the process has given back what the attack took, some seconds at most. */
async function memoryBack(pid: number, restMiB: number): Promise<number> {
  const end = performance.now() + BACK_MS
  let now = rssMiB(pid)
  while (now > restMiB + BACK_MIB && performance.now() < end) {
    await sleep(500)
    now = rssMiB(pid)
  }
  return now
}

/** A heap that was grown once is kept by V8 for a while. */
export const BACK_MIB = 100

function rssMiB(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'utf8')
    return Math.round((Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024) / MIB)
  } catch {
    return 0
  }
}

/** Returns the longest turn of those that longest-turns.ts wrote down since a moment; 0: none was long. */
function longestSince(file: string, began: number): number {
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
  const turns = lines.map((line) => line.split(' ').map(Number))
  if (process.env.PRESSURE_VERBOSE)
    console.log(
      turns
        .filter(([at = 0]) => at >= began)
        .map(([at = 0, ms]) => `${at - began}:${ms}`)
        .join(' '),
    )
  return Math.round(Math.max(0, ...turns.filter(([at = 0]) => at >= began).map(([, ms = 0]) => ms)))
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return Math.round(
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.POSITIVE_INFINITY,
  )
}
