import { Refusal } from '../kernel/errors.ts'
import { escapeText } from '../kernel/escape-text.ts'
import { LIMITS } from './limits.ts'
import { CAPABILITY_PATTERN, isReportedStatus, REPORTED_STATUSES } from './names.ts'
import { type Heartbeat, isMetricName } from './schemas.ts'

/**
 * Bytes to a heartbeat. Whatever an approved limb sends proves that it lives: what can be used of it is taken, and the
 * rest is told. Nothing here throws.
 */

/** A heartbeat of which a part could not be used. */
export interface PartlyUsable extends Heartbeat {
  readonly unusable: {
    /** Says what is wrong, with the path of the first key. */
    readonly refusal: Refusal
    /** Keys of which nothing is known now, so that what the limb said last still holds. */
    readonly keeps: readonly ('status' | 'unavailable')[]
  }
}

const EMPTY: Heartbeat = Object.freeze({})

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })
const lenientUtf8 = new TextDecoder('utf-8', { ignoreBOM: false })

/** An empty payload, and `{}`, say no more than "I am alive". */
export function decodeHeartbeat(payload: Uint8Array): Heartbeat | PartlyUsable {
  if (payload.length === 0) return EMPTY
  if (payload.length > LIMITS.heartbeatBytes) return tooLargeHeartbeat(payload.length)
  try {
    const fast = fastHeartbeat(JSON.parse(strictUtf8.decode(payload)))
    if (fast) return fast
  } catch {
    // Looked at below, and told.
  }
  return usablePart(payload)
}

/** Describes a heartbeat of which nothing but its size is known. */
export function tooLargeHeartbeat(bytes: number): PartlyUsable {
  return nothingUsable(`the payload has ${bytes} bytes; the limit is ${LIMITS.heartbeatBytes}`)
}

/**
 * The main path: the common form of a heartbeat, checked by hand at a third of the schema's cost. Undefined for
 * everything else, wrong or only rare. A property test holds it and the schema together.
 */
export function fastHeartbeat(value: unknown): Heartbeat | undefined {
  if (!isObject(value)) return undefined
  const { status, unavailable, metrics } = value
  if (unavailable !== undefined || (status !== undefined && !isReportedStatus(status))) return undefined
  if (metrics === undefined) return status === undefined ? EMPTY : { status }
  if (!areMetrics(metrics)) return undefined
  return status === undefined ? { metrics } : { status, metrics }
}

function areMetrics(value: unknown): value is Record<string, number> {
  if (!isObject(value)) return false
  let count = 0
  for (const [name, metric] of Object.entries(value)) {
    if (++count > LIMITS.metrics || !Number.isFinite(metric) || !isMetricName(name)) return false
  }
  return true
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Collects what is wrong, as far as anybody reads it. */
class Problems {
  readonly #texts: { path: string; message: string }[] = []
  #count = 0

  add(path: string, message: string): void {
    if (++this.#count <= MAX_PROBLEMS) this.#texts.push({ path, message })
  }

  get refusal(): Refusal | undefined {
    const [first] = this.#texts
    if (!first) return undefined
    const lines = this.#texts.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
    const more = this.#count > 1 ? ` (and ${this.#count - 1} more)` : ''
    return new Refusal(
      'invalid_request',
      `${lines[0]}${more}; the rest of the heartbeat counts`,
      first.path === '' ? undefined : first.path,
      this.#count > 1 ? { problems: lines } : undefined,
    )
  }
}

const MAX_PROBLEMS = 8

function nothingUsable(message: string): PartlyUsable {
  return {
    unusable: {
      refusal: new Refusal('invalid_request', `${message}; it counts as a sign of life, and no more`),
      keeps: ['status', 'unavailable'],
    },
  }
}

/** Cuts blanks and NULs off the end. The expression `/[\0\s]+$/` would take time that grows with their square. */
function withoutEnd(text: string): string {
  let end = text.length
  while (end > 0 && /[\0\s]/.test(text.charAt(end - 1))) end--
  return text.slice(0, end)
}

function usablePart(payload: Uint8Array): Heartbeat | PartlyUsable {
  // Firmware in C sends the NUL that ends its string, and a shell the line feed.
  const text = withoutEnd(lenientUtf8.decode(payload))
  if (text.trim() === '') return EMPTY
  const problems = new Problems()
  if (text.includes('\ufffd')) problems.add('', 'the payload is not UTF-8; send JSON as UTF-8')
  const parsed = parse(text)
  if ('failed' in parsed) return nothingUsable(`the payload is not JSON: ${escapeText(parsed.failed)}`)
  if (!isObject(parsed.value))
    return nothingUsable(`the payload must be an object, not ${kindOf(parsed.value)}`)
  return collect(parsed.value, problems)
}

/** Words for a number that is none, as `printf` and the JSON of Python write them. */
const NO_NUMBER = /"(?:[^"\\]|\\.)*"|-?\b(?:nan|inf|infinity)\b/gi

function parse(text: string): { readonly value: unknown } | { readonly failed: string } {
  try {
    return { value: JSON.parse(text) }
  } catch (error) {
    try {
      return { value: JSON.parse(text.replace(NO_NUMBER, (all) => (all.startsWith('"') ? all : 'null'))) }
    } catch {
      return { failed: (error as Error).message }
    }
  }
}

function collect(value: Record<string, unknown>, problems: Problems): Heartbeat | PartlyUsable {
  const status = usableStatus(value.status, problems)
  const unavailable = usableList(value.unavailable, problems)
  const metrics = usableMetrics(value.metrics, problems)
  const heartbeat: Heartbeat = {
    ...(status === undefined ? {} : { status }),
    ...(unavailable === undefined ? {} : { unavailable }),
    ...(metrics === undefined ? {} : { metrics }),
  }
  const { refusal } = problems
  if (!refusal) return heartbeat
  const keeps = (['status', 'unavailable'] as const).filter(
    (key) => value[key] !== undefined && heartbeat[key] === undefined,
  )
  return { ...heartbeat, unusable: { refusal, keeps } }
}

function usableStatus(value: unknown, problems: Problems): Heartbeat['status'] {
  if (value === undefined || isReportedStatus(value)) return value
  problems.add('status', `must be one of ${REPORTED_STATUSES.join(', ')}, not ${kindOf(value)}`)
  return undefined
}

function usableList(value: unknown, problems: Problems): string[] | undefined {
  if (value === undefined) return undefined
  if (!Array.isArray(value)) {
    problems.add('unavailable', `must be a list of capabilities, not ${kindOf(value)}`)
    return undefined
  }
  if (value.length > LIMITS.capabilities) {
    problems.add('unavailable', `must have at most ${LIMITS.capabilities} items; the first ones are taken`)
  }
  const usable: string[] = []
  for (const [index, each] of value.slice(0, LIMITS.capabilities).entries()) {
    if (typeof each === 'string' && CAPABILITY_PATTERN.test(each)) usable.push(each)
    else problems.add(`unavailable[${index}]`, 'is not the name of a capability')
  }
  return usable
}

function usableMetrics(value: unknown, problems: Problems): Record<string, number> | undefined {
  if (value === undefined) return undefined
  if (!isObject(value)) {
    problems.add('metrics', `must be an object of numbers, not ${kindOf(value)}`)
    return undefined
  }
  const usable: [string, number][] = []
  for (const [name, metric] of Object.entries(value)) {
    const wrong = wrongWith(name, metric)
    if (wrong === undefined) usable.push([name, metric as number])
    else problems.add(`metrics.${shownName(name)}`, wrong)
  }
  if (usable.length > LIMITS.metrics) {
    problems.add('metrics', `has more than ${LIMITS.metrics} entries; the first ones are taken`)
  }
  return Object.fromEntries(usable.slice(0, LIMITS.metrics))
}

function wrongWith(name: string, metric: unknown): string | undefined {
  if (!isMetricName(name)) {
    return `the name of a metric is 1 to ${LIMITS.metricNameChars} readable characters, and not \`__proto__\``
  }
  if (metric === null) return 'must be a number, not null or NaN; leave it out while there is no value'
  if (typeof metric !== 'number') return `must be a number, not ${kindOf(metric)}`
  return Number.isFinite(metric) ? undefined : 'is a number beyond 1.8e308'
}

function shownName(name: string): string {
  return escapeText(name.slice(0, LIMITS.metricNameChars))
}

const SHOWN_CHARS = 40

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'an object'
  if (typeof value === 'string') return escapeText(JSON.stringify(value.slice(0, SHOWN_CHARS)))
  return String(value)
}
