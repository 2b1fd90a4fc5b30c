import {
  AVAILABILITY_TOPIC,
  ForeignPayload,
  type PropertyValue,
  propertyValueOf,
} from '../../domain/adapter.ts'
import type { NodeRecord } from '../../domain/records.ts'
import type { AdapterAvailability, AdapterRecord, AdapterSource } from '../../protocol/adapter.ts'
import { encodeJson } from '../../protocol/encode.ts'
import type { BridgeContext } from '../settings.ts'

/** A longer message of firmware is no state. */
const MAX_BYTES = 65_536

interface WatchedSource {
  readonly nodeId: string
  readonly source: AdapterSource
  readonly type: string
  /** Shows whether the value lasts until the next one. */
  readonly lasts: boolean
}

interface Reachable {
  readonly nodeId: string
  readonly topics: readonly AdapterAvailability[]
  readonly mode: AdapterRecord['availabilityMode']
  readonly available: Map<string, boolean>
}

interface WatchedTopic {
  readonly sources: WatchedSource[]
  readonly availability: Reachable[]
}

/**
 * Publishes what foreign firmware says on its own topics as the data of its limb, one property to a topic, so that
 * whoever reads limbs needs to know nothing of the firmware. There are as many topics as properties of such limbs.
 */
export class ForeignValues {
  readonly #context: Pick<BridgeContext, 'publisher' | 'topics'>
  readonly #byTopic = new Map<string, WatchedTopic>()
  readonly #topicsOf = new Map<string, ReadonlySet<string>>()

  constructor(context: Pick<BridgeContext, 'publisher' | 'topics'>) {
    this.#context = context
  }

  /** Reads the topics of this limb from now on; `record` without an adapter, or undefined: not any more. */
  watch(nodeId: string, record: NodeRecord | undefined): void {
    this.#forget(nodeId)
    const adapter = record?.adapter
    if (!adapter) return
    const topics = new Set<string>()
    const at = (topic: string): WatchedTopic => {
      topics.add(topic)
      const known = this.#byTopic.get(topic) ?? { sources: [], availability: [] }
      this.#byTopic.set(topic, known)
      return known
    }
    for (const { sources, properties } of adapter.entities) {
      for (const source of sources) {
        const property = properties.find(({ name }) => name === source.property)
        if (property === undefined) continue
        const lasts = source.pointer?.endsWith('/event_type') !== true
        at(source.topic).sources.push({ nodeId, source, type: property.type, lasts })
      }
    }
    const speaks = adapter.entities.find(({ availability }) => availability.length > 0)?.availability ?? []
    const reachable = {
      nodeId,
      topics: speaks,
      mode: adapter.availabilityMode,
      available: new Map<string, boolean>(),
    }
    for (const { topic } of speaks) at(topic).availability.push(reachable)
    this.#topicsOf.set(nodeId, topics)
  }

  topicsOf(nodeId: string): Iterable<string> {
    return this.#topicsOf.get(nodeId) ?? []
  }

  /** Something was published, or was kept. Total and quick. */
  heard(topic: string, payload: Uint8Array): void {
    if (this.#byTopic.size === 0) return
    const watched = this.#byTopic.get(topic)
    if (watched === undefined || payload.length === 0 || payload.length > MAX_BYTES) return
    const read = new ForeignPayload(payload)
    for (const each of watched.sources) {
      const value = propertyValueOf(read, each.source, each.type)
      if (value !== undefined) this.#publish(each.nodeId, `data/${each.source.property}`, value, each.lasts)
    }
    for (const each of watched.availability) this.#available(each, topic, read)
  }

  #available(reachable: Reachable, topic: string, payload: ForeignPayload): void {
    const { nodeId, topics, mode, available } = reachable
    for (const each of topics) {
      if (each.topic !== topic) continue
      const word = String(payload.at(each.pointer) ?? '')
      if (word !== each.online && word !== each.offline) continue
      available.set(topic, word === each.online)
      const all = topics.map((known) => available.get(known.topic) === true)
      const isThere =
        mode === 'latest' ? word === each.online : mode === 'any' ? all.some(Boolean) : all.every(Boolean)
      this.#publish(nodeId, AVAILABILITY_TOPIC, isThere ? 'online' : 'offline', true)
    }
  }

  /** A text is published as it is, everything else as JSON. */
  #publish(nodeId: string, below: string, value: PropertyValue, retain: boolean): void {
    const payload = typeof value === 'object' ? encodeJson(value) : Buffer.from(String(value))
    const topic = `${this.#context.topics.nodePrefix}${nodeId}/${below}`
    this.#context.publisher.publish(topic, payload, { qos: 0, retain })
  }

  #forget(nodeId: string): void {
    for (const topic of this.#topicsOf.get(nodeId) ?? []) {
      const known = this.#byTopic.get(topic)
      if (known === undefined) continue
      const sources = known.sources.filter((each) => each.nodeId !== nodeId)
      const availability = known.availability.filter((each) => each.nodeId !== nodeId)
      if (sources.length + availability.length === 0) this.#byTopic.delete(topic)
      else this.#byTopic.set(topic, { sources, availability })
    }
    this.#topicsOf.delete(nodeId)
  }
}
