import { PassThrough } from 'node:stream'
import { runCommandLine } from '../../src/cli/command-line.ts'
import type { CommandLineOptions, Io, Maintenance } from '../../src/cli/context.ts'
import { configuration } from '../../src/host/process/command-line-config.ts'
import type { Clock } from '../../src/kernel/clock.ts'

/** Runs a command line in this process, with streams that a test can read and write. */

export interface Started {
  readonly exit: Promise<Ended>
  readonly stdin: PassThrough
  out(): string
  err(): string
  /** Resolves once standard output (or error) holds the text. */
  seen(text: string | RegExp): Promise<void>
  interrupt(): void
  /** Whoever read standard output has gone. */
  readerGone(): void
}

export interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface RunOptions {
  readonly env?: Record<string, string>
  /** A person sits there. */
  readonly terminal?: boolean
  readonly columns?: number
  readonly rows?: number
  readonly input?: string
  readonly serve?: (options: { configFile?: string }) => Promise<number>
  readonly clock?: Clock
  readonly maintenance?: Partial<Maintenance>
  readonly checkDevice?: CommandLineOptions['checkDevice']
}

export function start(argv: readonly string[], options: RunOptions = {}): Started {
  const texts = { out: '', err: '' }
  const watchers = new Set<() => void>()
  const capture = (key: 'out' | 'err') => {
    const stream = new PassThrough()
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      texts[key] += chunk
      for (const watcher of watchers) watcher()
    })
    const size = { columns: options.columns ?? 200, rows: options.rows ?? 50 }
    return Object.assign(stream, options.terminal ? { isTTY: true, ...size } : {})
  }
  const stdin = new PassThrough()
  const interrupts = new Set<() => void>()
  const stdout = capture('out')
  const io: Io = {
    stdin: Object.assign(stdin, options.terminal ? { isTTY: true, setRawMode: () => stdin } : {}),
    stdout,
    stderr: capture('err'),
    env: options.env ?? {},
    onInterrupt(listener) {
      interrupts.add(listener)
      return () => interrupts.delete(listener)
    },
  }
  if (options.input !== undefined) stdin.end(options.input)
  const exit = runCommandLine(argv, {
    serve: options.serve ?? (async () => 0),
    configuration,
    maintenance: {
      restore: async () => ({ ok: false, reason: 'not here' }),
      doctor: async () => [],
      initTls: async () => ({ ok: false, reason: 'not here' }),
      copyStore: async () => ({ ok: false, reason: 'not here' }),
      ...options.maintenance,
    },
    checkDevice: options.checkDevice ?? (async () => ({ ok: false, reason: 'not here' })),
    version: '1.2.3',
    io,
    ...(options.clock ? { clock: options.clock } : {}),
  }).then(async (code) => {
    // What was written last is still on its way through the stream.
    await new Promise((resolve) => setImmediate(resolve))
    return { code, out: texts.out, err: texts.err }
  })
  return {
    exit,
    stdin,
    out: () => texts.out,
    err: () => texts.err,
    seen: (text) =>
      new Promise((resolve) => {
        const look = () => {
          const all = texts.out + texts.err
          if (typeof text === 'string' ? all.includes(text) : text.test(all)) {
            watchers.delete(look)
            resolve()
          }
        }
        watchers.add(look)
        look()
      }),
    readerGone() {
      stdout.emit('error', Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
    },
    interrupt() {
      for (const listener of [...interrupts]) listener()
    },
  }
}

export function run(argv: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return start(argv, options).exit
}
