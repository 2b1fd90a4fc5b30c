import type { PropertyDescription } from '../../../src/protocol/descriptions.ts'
import type { Point } from '../ui/spark.tsx'
import { parseJson, textOf } from './connection.ts'
import { session } from './session.ts'
import { Signal } from './signal.ts'

/** What one limb measures, while its page is open: the newest value of each property and metric, and those before. */

const MAX_POINTS = 240
const MAX_SERIES = 200
const MAX_SHOWN_CHARS = 2000

export class Values {
  readonly changed = new Signal(100)
  /** By topic below the limb's own: `data/climate`. */
  readonly #payloads = new Map<string, Uint8Array>()
  readonly #series = new Map<string, Point[]>()
  readonly #nodeId: string
  #properties: readonly PropertyDescription[] = []
  readonly #ends: (() => void)[]

  constructor(nodeId: string) {
    this.#nodeId = nodeId
    const { connection, fleet } = session
    this.#ends = [
      fleet.onData((message) => message.nodeId === nodeId && this.#received(message.path, message.payload)),
      connection.subscribe(`${connection.topics.dataPrefix(nodeId)}#`),
      connection.subscribe(connection.topics.node(nodeId, 'description')),
      fleet.nodeChanged(nodeId).listen(() => this.#metrics()),
    ]
    this.#metrics()
  }

  end(): void {
    for (const end of this.#ends) end()
  }

  describe(properties: readonly PropertyDescription[]): void {
    this.#properties = properties
  }

  /** Every topic that came, for a limb that describes nothing. */
  get topics(): readonly (readonly [path: string, text: string])[] {
    return [...this.#payloads].map(
      ([path, payload]) => [path, textOf(payload.subarray(0, MAX_SHOWN_CHARS))] as const,
    )
  }

  valueOf({ topic, pointer, type }: PropertyDescription): unknown {
    const payload = this.#payloads.get(topic)
    if (payload === undefined) return undefined
    return typed(pointed(parseJson(payload) ?? textOf(payload), pointer), type)
  }

  series(name: string): readonly Point[] {
    return this.#series.get(name) ?? []
  }

  #received(path: string, payload: Uint8Array): void {
    const topic = `data/${path}`
    if (payload.length === 0) this.#payloads.delete(topic)
    else if (this.#payloads.size < MAX_SERIES || this.#payloads.has(topic)) this.#payloads.set(topic, payload)
    for (const property of this.#properties) {
      if (property.topic !== topic) continue
      const value = this.valueOf(property)
      if (typeof value === 'number') this.#push(property.name, value)
    }
    this.changed.changed()
  }

  #metrics(): void {
    const metrics = session.fleet.nodes.get(this.#nodeId)?.metrics
    for (const [name, value] of Object.entries(metrics ?? {})) this.#push(`metric ${name}`, value)
    this.changed.changed()
  }

  #push(name: string, value: number): void {
    if (!Number.isFinite(value)) return
    const series = this.#series.get(name) ?? []
    if (this.#series.size >= MAX_SERIES && !this.#series.has(name)) return
    series.push({ at: Date.now(), value })
    if (series.length > MAX_POINTS) series.splice(0, series.length - MAX_POINTS)
    this.#series.set(name, series)
  }
}

/** RFC 6901. */
function pointed(value: unknown, pointer = ''): unknown {
  let found = value
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, key)) return undefined
    found = (found as Record<string, unknown>)[key]
  }
  return found
}

const YES = ['true', 'on', '1', 'yes']

/** Devices say `ON` and `21.5` as text, too. */
function typed(value: unknown, type: PropertyDescription['type']): unknown {
  if ((type === 'number' || type === 'integer') && typeof value === 'string' && value.trim() !== '')
    return Number(value)
  if (type === 'boolean' && (typeof value === 'string' || typeof value === 'number')) {
    return YES.includes(String(value).toLowerCase())
  }
  return value
}
