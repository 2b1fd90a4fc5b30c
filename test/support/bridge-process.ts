import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { patience } from './patience.ts'

/** The bridge as users run it: a process of its own, on ephemeral ports, in a folder of its own. */

const MAIN = resolve(import.meta.dirname, '../../src/main.ts')
/** Log lines that are kept for the message of a failure. */
const KEPT_LINES = 200

export interface Endpoint {
  readonly host: string
  readonly port: number
}

export interface StartOptions {
  /** Holds configuration, database and control socket; starting again in it is a restart. */
  readonly folder: string
  /** Sections of the configuration, over the ones that ephemeral ports need. */
  readonly settings?: Readonly<Record<string, Readonly<Record<string, unknown>> | readonly unknown[]>>
  readonly env?: Readonly<Record<string, string>>
  /** Further arguments of `serve`. */
  readonly serveArgs?: readonly string[]
  /** For Node itself, such as `--expose-gc`. */
  readonly nodeArgs?: readonly string[]
  /** A command that runs the one which follows it, such as `nice`. */
  readonly wrapper?: readonly string[]
  /** RLIMIT_NOFILE of the process. */
  readonly openFiles?: number
  /** Opens an IPC channel to what `nodeArgs` imported. */
  readonly ipc?: boolean
  readonly timeoutMs?: number
  /** Called with each line of its output. */
  hear?(line: string): void
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface BridgeProcess {
  readonly pid: number
  readonly child: ChildProcess
  readonly mqtt: Endpoint
  readonly tls: Endpoint | undefined
  readonly http: Endpoint | undefined
  readonly control: string
  readonly folder: string
  /** From the start of the process until it said that its listeners are open. */
  readonly readyMs: number
  /** The newest lines of its output. */
  readonly lines: readonly string[]
  readonly ended: Promise<Ended>
  /** As a power cut does it. */
  kill(): Promise<void>
  /** As a service manager does it; resolves with the exit code. */
  stop(): Promise<number | null>
}

function configFile(folder: string, settings: StartOptions['settings']): string {
  const base: Record<string, unknown> = {
    mqtt: { port: 0 },
    http: { port: 0 },
    store: { path: join(folder, 'limb.sqlite') },
    control: { socket: join(folder, 'control.sock') },
    log: { level: 'info', format: 'json' },
  }
  for (const [section, values] of Object.entries(settings ?? {})) {
    base[section] = Array.isArray(values) ? values : { ...(base[section] ?? {}), ...values }
  }
  // JSON is YAML.
  const file = join(folder, 'limb-bridge.yaml')
  writeFileSync(file, JSON.stringify(base, null, 2))
  return file
}

/** Not the variables of the one who runs the tests: they would move the bridge under test. */
function cleanEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('LIMB_')))
}

/** A bridge that is on its way: it can be killed before it is ready. */
export interface Starting {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Rejects with its last words when it ends before. */
  readonly ready: Promise<BridgeProcess>
}

const living = new Set<ChildProcess>()
// A test that ends by an error leaves no bridge behind.
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

export function launchBridge(options: StartOptions): Starting {
  const { folder, nodeArgs = [], wrapper = [], timeoutMs = patience(60_000) } = options
  const started = performance.now()
  const command = [
    ...wrapper,
    process.execPath,
    ...nodeArgs,
    MAIN,
    'serve',
    '--config',
    configFile(folder, options.settings),
    ...(options.serveArgs ?? []),
  ]
  const limit = options.openFiles
  // `exec`, so that the process is the bridge itself.
  const limited =
    limit === undefined ? command : ['sh', '-c', `ulimit -n ${limit}; exec "$@"`, 'sh', ...command]
  const [file = '', ...args] = limited
  const child = spawn(file, args, {
    cwd: folder,
    env: { ...cleanEnv(), ...options.env },
    stdio: ['ignore', 'pipe', 'pipe', ...(options.ipc ? (['ipc'] as const) : [])],
  })
  living.add(child)
  const ended = new Promise<Ended>((done) => {
    // 'exit' may come before the last line of output: whoever waits for the end may look at all of it.
    child.on('close', (code, signal) => {
      living.delete(child)
      done({ code, signal })
    })
  })
  const lines: string[] = []
  const ready = new Promise<BridgeProcess>((done, fail) => {
    const gaveUp = setTimeout(() => {
      child.kill('SIGKILL')
      fail(new Error(`the bridge was not ready within ${timeoutMs} ms:\n${lines.join('\n')}`))
    }, timeoutMs)
    // 'close' comes after the last line of output, 'exit' may come before it.
    child.on('close', (code, signal) => {
      clearTimeout(gaveUp)
      fail(new Error(`the bridge ended (${code ?? signal}) before it was ready:\n${lines.join('\n')}`))
    })
    child.on('error', fail)
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream as Readable }).on('line', (line) => {
        if (lines.push(line) > KEPT_LINES) lines.shift()
        options.hear?.(line)
        const addresses = readyLine(line)
        if (!addresses) return
        clearTimeout(gaveUp)
        const readyMs = performance.now() - started
        done(bridgeProcess(child, { ...addresses, folder, readyMs, lines, ended }))
      })
    }
  })
  // Whoever kills it on its way does not wait for it.
  ready.catch(() => {})
  return { child, ended, ready }
}

export async function startBridge(options: StartOptions): Promise<BridgeProcess> {
  return await launchBridge(options).ready
}

function readyLine(line: string): Pick<BridgeProcess, 'mqtt' | 'tls' | 'http' | 'control'> | undefined {
  if (!line.startsWith('{')) return undefined
  let fields: { msg?: string; mqtt?: Endpoint; tls?: Endpoint; http?: Endpoint | null; control?: string }
  try {
    fields = JSON.parse(line) as typeof fields
  } catch {
    return undefined
  }
  if (fields.msg !== 'ready' || !fields.mqtt || fields.control === undefined) return undefined
  return { mqtt: fields.mqtt, tls: fields.tls, http: fields.http ?? undefined, control: fields.control }
}

function bridgeProcess(
  child: ChildProcess,
  known: Pick<BridgeProcess, 'mqtt' | 'tls' | 'http' | 'control' | 'folder' | 'readyMs' | 'lines' | 'ended'>,
): BridgeProcess {
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    return await known.ended
  }
  return {
    ...known,
    child,
    pid: child.pid ?? 0,
    kill: async () => {
      await end('SIGKILL')
    },
    stop: async () => (await end('SIGTERM')).code,
  }
}
