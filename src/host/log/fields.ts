/**
 * Fields of a log line, bounded and without secrets: the second net, for a secret that somebody hands to the
 * log by mistake. What the network controls can be long and deep; a line is neither.
 */

const SECRET_KEYS = new Set([
  'password',
  'passwordhash',
  'apikey',
  'key',
  'token',
  'secret',
  'invokesecret',
  'authorization',
  'cookie',
])

const MAX_DEPTH = 5
const MAX_ENTRIES = 50
const MAX_TEXT = 2000
const MAX_FRAMES = 20

function isSecretKey(key: string): boolean {
  return SECRET_KEYS.has(key.toLowerCase().replace(/[-_]/g, ''))
}

function clipped(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}… (${text.length} characters)`
}

/** The frames alone: the stack's head repeats the message, which may come from the network. */
function frames(error: Error): string[] {
  return (error.stack ?? '')
    .slice((error.stack ?? '').indexOf(error.message) + error.message.length)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith('at '))
    .slice(0, MAX_FRAMES)
}

function errorFields(error: Error, depth: number): Record<string, unknown> {
  const fields: Record<string, unknown> = { type: error.name, message: clipped(error.message) }
  for (const [key, value] of Object.entries(error).slice(0, MAX_ENTRIES)) {
    if (key !== 'name') fields[key] = isSecretKey(key) ? '[secret]' : bounded(value, depth + 1)
  }
  if (error.cause !== undefined) fields.cause = bounded(error.cause, depth + 1)
  fields.stack = frames(error)
  return fields
}

function bounded(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return clipped(value)
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`
  if (typeof value !== 'object' || value === null) return value
  if (depth >= MAX_DEPTH) return '[deep]'
  if (value instanceof Error) return errorFields(value, depth)
  if (value instanceof Uint8Array) return `[${value.length} bytes]`
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (Array.isArray(value)) return value.slice(0, MAX_ENTRIES).map((item) => bounded(item, depth + 1))
  return boundedRecord(value, depth)
}

function boundedRecord(value: object, depth: number): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value).slice(0, MAX_ENTRIES)) {
    fields[key] = isSecretKey(key) && item !== null ? '[secret]' : bounded(item, depth + 1)
  }
  return fields
}

/** Keys that the log writes itself; a line with two of one is read as something else by every reader of JSON. */
const RESERVED_KEYS = ['level', 'time', 'msg'] as const

function unreserved(fields: Record<string, unknown>): Record<string, unknown> {
  for (const key of RESERVED_KEYS) {
    if (!Object.hasOwn(fields, key)) continue
    fields[`field_${key}`] = fields[key]
    delete fields[key]
  }
  return fields
}

export function logFields(fields: object): Record<string, unknown> {
  return fields instanceof Error ? { err: errorFields(fields, 1) } : unreserved(boundedRecord(fields, 0))
}

export function logMessage(message: string): string {
  return clipped(message)
}
