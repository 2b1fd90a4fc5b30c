import { spawn, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startBridge } from '../support/bridge-process.ts'
import { connectControl } from '../support/control-client.ts'
import { cpuMs } from '../support/process-usage.ts'
import { importFleet } from './fleet.ts'
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

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
  const address = server.address()
  await new Promise<void>((resolve) => server.close(() => resolve()))
  return typeof address === 'object' && address ? address.port : 0
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

/** Mosquitto without sign-in. It keeps what is retained on its disk, sooner or later. */
export async function bareMosquitto(folder: string, path: string): Promise<Server> {
  const port = await freePort()
  const file = join(folder, 'mosquitto.conf')
  const lines = [
    `listener ${port} ${HOST}`,
    'allow_anonymous true',
    'persistence true',
    `persistence_location ${folder}/`,
    'sys_interval 0',
    'log_type none',
    'set_tcp_nodelay true',
    'max_queued_messages 0',
    `user ${userInfo().username}`,
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  const broker = spawn(path, ['-c', file], { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => broker.on('exit', () => resolve()))
  await listening(port, () => broker.exitCode === null && broker.signalCode === null)
  return {
    name: 'Mosquitto',
    host: HOST,
    port,
    cpuMs: () => cpuMs(broker.pid ?? 0),
    settled: async () => {},
    end: async () => {
      broker.kill('SIGTERM')
      await ended
    },
  }
}

/**
 * Mosquitto without sign-in and without persistence, and the script that keeps presence beside it. At QoS 1 the
 * script loses no heartbeat, as the bridge does; at QoS 0 it is the least that such a pair can cost.
 */
export async function mosquittoServer(folder: string, path: string, qos: 0 | 1): Promise<Server> {
  const port = await freePort()
  const file = join(folder, 'mosquitto.conf')
  const lines = [
    `listener ${port} ${HOST}`,
    'allow_anonymous true',
    'persistence false',
    'sys_interval 0',
    'log_type none',
    'set_tcp_nodelay true',
    // The script must see every heartbeat, also when it is behind.
    'max_queued_messages 0',
    `user ${userInfo().username}`,
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  const broker = spawn(path, ['-c', file], { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => broker.on('exit', () => resolve()))
  await listening(port, () => broker.exitCode === null && broker.signalCode === null)
  const script = new Worker<ScriptCommands>(new URL('./peer-script.ts', import.meta.url))
  await script.ask('start', { port, qos })
  return {
    name: `Mosquitto + script at QoS ${qos}`,
    host: HOST,
    port,
    cpuMs: () => cpuMs(broker.pid ?? 0) + cpuMs(script.pid),
    settled: (heartbeats) => script.ask('sawAll', { count: heartbeats }),
    end: async () => {
      await script.end()
      broker.kill('SIGTERM')
      await ended
    },
  }
}
