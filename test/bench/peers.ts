import { spawn, spawnSync } from 'node:child_process'
import { pbkdf2Sync, randomBytes } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startBridge } from '../support/bridge-process.ts'
import { connectControl } from '../support/control-client.ts'
import { freePort } from '../support/free-port.ts'
import { cpuMs } from '../support/process-usage.ts'
import { importFleet, limbName } from './fleet.ts'
import type { AedesCommands } from './peer-aedes.ts'
import type { EchoCommands } from './peer-echo.ts'
import type { ScriptCommands } from './peer-script.ts'
import { Worker } from './rpc.ts'

/** A server under load: the bridge, or what it is compared with. */
export interface Server {
  readonly name: string
  readonly host: string
  readonly port: number
  /** CPU time of all its processes so far. */
  cpuMs(): number
  /** Resolves when it has done everything that `heartbeats` (since its start) ask for. */
  settled(heartbeats: number): Promise<void>
  end(): Promise<void>
}

const HOST = '127.0.0.1'

/** Room for the fleets of the benchmark, which all come from this one machine. */
export const ROOM = {
  mqtt: { maxConnections: 50_000, maxConnectionsPerAddress: 50_000 },
  pairing: { maxPending: 100_000, maxPendingPerAddress: 100_000 },
} as const

/** A principal that may read everything that limbs publish. */
export const READER = { username: 'reader', password: 'reader-password' }

/** With `limbs` approved limbs, and the reader. */
export async function bridgeServer(folder: string, limbs: number, name = 'bridge'): Promise<Server> {
  const nodeArgs =
    process.env.BENCH_PROFILE === undefined
      ? []
      : ['--cpu-prof', `--cpu-prof-dir=${process.env.BENCH_PROFILE}`]
  const bridge = await startBridge({ folder, settings: { ...ROOM }, nodeArgs })
  const control = await connectControl(bridge.control)
  const { username, password } = READER
  await control.do('principal/add', { name: username, role: 'viewer', password })
  control.client.end()
  await importFleet(bridge.control, { from: 0, count: limbs })
  return {
    name,
    ...bridge.mqtt,
    cpuMs: () => cpuMs(bridge.pid),
    settled: async () => {},
    end: async () => {
      await bridge.stop()
    },
  }
}

/** Answers each heartbeat, in Node, and does nothing else. */
export async function echoServer(): Promise<Server> {
  const worker = new Worker<EchoCommands>(new URL('./peer-echo.ts', import.meta.url))
  const port = await worker.ask('listen', {})
  return {
    name: 'Node echo',
    host: HOST,
    port,
    cpuMs: () => cpuMs(worker.pid),
    settled: async () => {},
    end: () => worker.end(),
  }
}

/** The same in C; undefined without a compiler. */
export async function cEchoServer(folder: string): Promise<Server | undefined> {
  const program = join(folder, 'echo')
  const source = fileURLToPath(new URL('./echo.c', import.meta.url))
  if (spawnSync('cc', ['-O2', '-o', program, source], { stdio: 'ignore' }).status !== 0) return undefined
  const child = spawn(program, { stdio: ['ignore', 'pipe', 'ignore'] })
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()))
  const port = await new Promise<number>((resolve) =>
    child.stdout.once('data', (text) => resolve(Number(text))),
  )
  return {
    name: 'C echo',
    host: HOST,
    port,
    cpuMs: () => cpuMs(child.pid ?? 0),
    settled: async () => {},
    end: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}

export async function aedesServer(): Promise<Server> {
  const worker = new Worker<AedesCommands>(new URL('./peer-aedes.ts', import.meta.url))
  const port = await worker.ask('listen', {})
  return {
    name: 'bare Aedes',
    host: HOST,
    port,
    cpuMs: () => cpuMs(worker.pid),
    settled: async () => {},
    end: () => worker.end(),
  }
}

const MOSQUITTO = ['/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto', '/opt/homebrew/sbin/mosquitto']

export function mosquittoPath(): string | undefined {
  return MOSQUITTO.find((path) => existsSync(path))
}

async function listening(port: number, alive: () => boolean): Promise<void> {
  while (alive()) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, HOST)
      socket.on('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
    if (open) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('mosquitto ended before it listened')
}

/** Starts Mosquitto with these lines of configuration. Resolves when it listens. */
async function startMosquitto(folder: string, path: string, settings: readonly string[]) {
  const port = await freePort()
  const file = join(folder, 'mosquitto.conf')
  const lines = [
    `listener ${port} ${HOST}`,
    'sys_interval 0',
    'log_type none',
    'set_tcp_nodelay true',
    // Whoever reads must see everything, also when it is behind.
    'max_queued_messages 0',
    `user ${userInfo().username}`,
    ...settings,
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  const broker = spawn(path, ['-c', file], { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => broker.on('exit', () => resolve()))
  await listening(port, () => broker.exitCode === null && broker.signalCode === null)
  return {
    port,
    cpuMs: () => cpuMs(broker.pid ?? 0),
    end: async () => {
      broker.kill('SIGTERM')
      await ended
    },
  }
}

/** Mosquitto without sign-in. It keeps what is retained on its disk, sooner or later. */
export async function bareMosquitto(folder: string, path: string): Promise<Server> {
  const settings = ['allow_anonymous true', 'persistence true', `persistence_location ${folder}/`]
  const broker = await startMosquitto(folder, path, settings)
  return { name: 'Mosquitto', host: HOST, settled: async () => {}, ...broker }
}

/**
 * Mosquitto without sign-in and without persistence, and the script that keeps presence beside it. At QoS 1 the
 * script loses no heartbeat, as the bridge does; at QoS 0 it is the least that such a pair can cost.
 */
export async function mosquittoServer(folder: string, path: string, qos: 0 | 1): Promise<Server> {
  const broker = await startMosquitto(folder, path, ['allow_anonymous true', 'persistence false'])
  return await withScript(`Mosquitto + script at QoS ${qos}`, broker, { qos })
}

/** Where Debian, Homebrew and a build from source put the plugin. */
const DYNSEC = [
  '/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so',
  '/usr/lib/aarch64-linux-gnu/mosquitto_dynamic_security.so',
  '/usr/local/lib/mosquitto_dynamic_security.so',
  '/opt/homebrew/lib/mosquitto_dynamic_security.so',
]

export function dynsecPath(): string | undefined {
  return DYNSEC.find((path) => existsSync(path))
}

/** Mosquitto that knows each limb and its key by its dynamic security plugin, and the script that keeps presence. */
export async function dynsecMosquitto(folder: string, path: string, limbs: number): Promise<Server> {
  const file = join(folder, 'dynamic-security.json')
  writeFileSync(file, JSON.stringify(dynsecConfig(limbs)))
  const settings = ['persistence false', 'allow_anonymous false', `plugin ${dynsecPath()}`]
  const broker = await startMosquitto(folder, path, [...settings, `plugin_opt_config_file ${file}`])
  return await withScript('Mosquitto, dynamic security + script', broker, { qos: 1, ...SCRIPT })
}

const SCRIPT = { username: 'presence', password: 'password-of-the-script' }

function dynsecConfig(limbs: number): object {
  const allow = (acltype: string) => ({ acltype, topic: 'limb/node/#', allow: true })
  const acls = ['publishClientSend', 'publishClientReceive', 'subscribePattern', 'unsubscribePattern']
  const client = (username: string, password: string) => ({
    username,
    ...dynsecPassword(password),
    roles: [{ rolename: 'limb' }],
  })
  const fleet = Array.from({ length: limbs }, (_, i) => limbName(i))
  return {
    defaultACLAccess: {
      publishClientSend: false,
      publishClientReceive: false,
      subscribe: false,
      unsubscribe: true,
    },
    roles: [{ rolename: 'limb', acls: acls.map(allow) }],
    clients: [client(SCRIPT.username, SCRIPT.password), ...fleet.map(({ name, key }) => client(name, key))],
  }
}

/** The rounds that Mosquitto 2.0 takes itself when it stores a password. */
const DYNSEC_ITERATIONS = 101

function dynsecPassword(password: string): object {
  const salt = randomBytes(12)
  const hash = pbkdf2Sync(password, salt, DYNSEC_ITERATIONS, 64, 'sha512')
  return { password: hash.toString('base64'), salt: salt.toString('base64'), iterations: DYNSEC_ITERATIONS }
}

type Broker = Awaited<ReturnType<typeof startMosquitto>>

async function withScript(name: string, broker: Broker, options: { qos: 0 | 1 }): Promise<Server> {
  const script = new Worker<ScriptCommands>(new URL('./peer-script.ts', import.meta.url))
  await script.ask('start', { port: broker.port, ...options })
  return {
    name,
    host: HOST,
    port: broker.port,
    cpuMs: () => broker.cpuMs() + cpuMs(script.pid),
    settled: (heartbeats) => script.ask('sawAll', { count: heartbeats }),
    end: async () => {
      await script.end()
      await broker.end()
    },
  }
}
