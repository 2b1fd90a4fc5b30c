import { pino } from 'pino'
import { prettyFactory } from 'pino-pretty'
import type { Log } from '../../bridge/ports.ts'
import { escapeJson, escapeText } from '../../kernel/escape-text.ts'
import type { LogLevel } from '../config/schema.ts'
import { logFields, logMessage } from './fields.ts'
import { withPriority } from './journal.ts'
import { type LogOutput, lineOutput } from './output.ts'

/** The log of the process, on standard output. */

export interface HostLog extends Log {
  fatal(fields: object, message: string): void
  trace(fields: object, message: string): void
  /** A log of one part: its fields are in each line. It obeys every later change of the level. */
  child(fields: object): HostLog
  /** Holds for this log, its parent and all children, from now on. */
  setLevel(level: LogLevel): void
  /** Lines that were dropped because nobody read them. */
  readonly droppedLines: number
  /** Returns the newest lines as they were before they were written, the oldest first; at most 500. */
  recent(): readonly Readonly<Record<string, unknown>>[]
}

export interface LogOptions {
  readonly level: LogLevel
  readonly format: 'auto' | 'json' | 'pretty'
  /** Writes a line; absent: to the process's standard output. */
  readonly write?: (line: string) => void
  /** Is true if that is a terminal. */
  readonly terminal?: boolean
  /** Is true if each line says its priority to the journal. */
  readonly journal?: boolean
}

type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'

function deepEscaped(value: unknown): unknown {
  if (typeof value === 'string') return escapeText(value)
  if (Array.isArray(value)) return value.map(deepEscaped)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [escapeText(key), deepEscaped(item)]))
}

/** The frames of an error, below the line, as people are used to read them. */
function takeFrames(line: Record<string, unknown>): string {
  const error = line.err
  if (typeof error !== 'object' || error === null || !('stack' in error)) return ''
  const { stack, ...rest } = error
  line.err = rest
  return Array.isArray(stack) ? stack.map((frame) => `    ${String(frame)}\n`).join('') : ''
}

function prettyWriter(write: (line: string) => void, colorize: boolean): (line: string) => void {
  const prettify = prettyFactory({
    colorize,
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss.l',
    // Errors are shown as words too; the default would print them over several lines, unescaped.
    errorLikeObjectKeys: [],
  })
  const dim = (text: string) => (colorize ? `\u001b[2m${text}\u001b[22m` : text)
  return (line) => {
    const fields = deepEscaped(JSON.parse(line)) as Record<string, unknown>
    const below = takeFrames(fields)
    const { level, time, msg, ...rest } = fields
    const words = wordsOf(String(msg ?? ''), rest)
    write(`${prettify({ level, time, msg }).trimEnd()}${words === '' ? '' : ` ${dim(words)}`}\n${below}`)
  }
}

/** Shows as `key=value` what the message does not say already: a second copy of it would only be in the way. */
function wordsOf(message: string, fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .filter(([, value]) => !isInMessage(message, value))
    .map(([key, value]) => `${key}=${wordOf(value)}`)
    .join(' ')
}

/** Returns whether a message has a value as a whole word. */
function isInMessage(message: string, value: unknown): boolean {
  if (value === undefined || value === '') return true
  if (typeof value !== 'string' && typeof value !== 'number') return false
  const text = String(value)
  const at = message.indexOf(text)
  if (at < 0) return false
  const around = `${message[at - 1] ?? ' '}${message[at + text.length] ?? ' '}`
  return !/[\p{L}\p{N}]/u.test(around)
}

function wordOf(value: unknown): string {
  if (typeof value === 'string') return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
  const { host, port } = (value ?? {}) as { host?: unknown; port?: unknown }
  return host !== undefined && port !== undefined ? `${host}:${port}` : JSON.stringify(value)
}

export function createLog(options: LogOptions): HostLog {
  const output = options.write
    ? { write: options.write, flush() {}, dropped: 0 }
    : lineOutput({
        onDropped: (lines) =>
          log.warn({ lines }, `${lines} lines of the log were dropped: nobody read standard output`),
      })
  const write = (line: string) => output.write(line)
  const terminal = options.terminal ?? process.stdout.isTTY === true
  const pretty = options.format === 'pretty' || (options.format === 'auto' && terminal)
  const out = pretty ? prettyWriter(write, terminal && !process.env.NO_COLOR) : write
  const recent: string[] = []
  const root = pino(
    {
      level: options.level,
      base: null,
      // The fields are plain already (log-fields.ts).
      serializers: { err: (error: unknown) => error },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    {
      write: (line: string) => {
        keep(recent, line)
        const text = pretty ? line : `${escapeJson(line.trimEnd())}\n`
        out(options.journal && !pretty ? withPriority(text) : text)
      },
    },
  )
  const log = logOf(root, {}, output, recent)
  return log
}

/** Lines that `recent` has; longer ones are left out of it, so that all of them take 2 MiB at most. */
const RECENT_LINES = 500
const RECENT_CHARS = 2048

function keep(recent: string[], line: string): void {
  if (line.length > RECENT_CHARS) return
  recent.push(line)
  // A quarter at once: taking one off the front for each line would move all the others.
  if (recent.length > RECENT_LINES * 1.25) recent.splice(0, recent.length - RECENT_LINES)
}

// Not pino's own children: each of those keeps the level it was born with.
function logOf(
  root: pino.Logger,
  bindings: object,
  output: Pick<LogOutput, 'flush' | 'dropped'>,
  recent: readonly string[],
): HostLog {
  const at = (level: Level) => (fields: object, message: string) => {
    if (root.isLevelEnabled(level)) {
      root[level](logFields({ ...bindings, ...named(fields) }), logMessage(message))
      // What went wrong may end the process before the turn is over.
      if (level === 'error' || level === 'fatal') output.flush()
    }
  }
  return {
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
    child: (fields) => logOf(root, { ...bindings, ...named(fields) }, output, recent),
    setLevel(level) {
      root.level = level
    },
    get droppedLines() {
      return output.dropped
    },
    recent: () => recent.map((line) => JSON.parse(line) as Record<string, unknown>),
  }
}

/** An error handed in as the fields themselves, as pino allows it. */
function named(fields: object): object {
  return fields instanceof Error ? { err: fields } : fields
}
