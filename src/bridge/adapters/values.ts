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
import { ValueTurns } from './value-turns.ts'

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
  readonly sources: readonly WatchedSource[]
  readonly availability: readonly Reachable[]
  /** The limb whose turns its values have: that of the first of them, or the one that it stands behind. */
  readonly owner: string
}

type Context = Pick<BridgeContext, 'publisher' | 'topics' | 'clock' | 'counters'>

/**
 * Publishes what foreign firmware says on its own topics as the data of its limb, one property to a topic, so that
 * whoever reads limbs needs to know nothing of the firmware. There are as many topics as properties of such limbs.
 */
export class ForeignValues {
  readonly #context: Context
  readonly #byTopic = new Map<string, WatchedTopic>()
  readonly #topicsOf = new Map<string, ReadonlySet<string>>()
  readonly #turns: ValueTurns

  constructor(context: Context) {
    this.#context = context
    this.#turns = new ValueTurns(context.clock, (why) =>
      context.counters.count('foreign_values_left_out', why),
    )
  }

  /** Reads the topics of this limb from now on; `record` without an adapter, or undefined: not any more. */
  watch(nodeId: string, record: NodeRecord | undefined): void {
    this.#forget(nodeId)
    const adapter = record?.adapter
    if (!adapter) return
    const { entities, availabilityMode: mode, via } = adapter
    const topics = new Set<string>()
    const sourcesAt = new Map<string, WatchedSource[]>()
    for (const { sources, properties } of entities) {
      for (const source of sources) {
        const property = properties.find(({ name }) => name === source.property)
        if (property === undefined) continue
        const lasts = source.pointer?.endsWith('/event_type') !== true
        topics.add(source.topic)
        const watched = { nodeId, source, type: property.type, lasts }
        const known = sourcesAt.get(source.topic)
        if (known) known.push(watched)
        else sourcesAt.set(source.topic, [watched])
      }
    }
    const speaks = entities.find(({ availability }) => availability.length > 0)?.availability ?? []
    const reachable = { nodeId, topics: speaks, mode, available: new Map<string, boolean>() }
    for (const { topic } of speaks) topics.add(topic)
    for (const topic of topics) {
      const known = this.#byTopic.get(topic)
      this.#byTopic.set(topic, {
        sources: [...(known?.sources ?? []), ...(sourcesAt.get(topic) ?? [])],
        availability: [
          ...(known?.availability ?? []),
          ...speaks.filter((each) => each.topic === topic).map(() => reachable),
        ],
        owner: known?.owner ?? via ?? nodeId,
      })
    }
    this.#topicsOf.set(nodeId, topics)
  }

  topicsOf(nodeId: string): Iterable<string> {
    return this.#topicsOf.get(nodeId) ?? []
  }

  /** Something was published, or was kept. Total and quick: what is much has its turns. */
  heard(topic: string, payload: Uint8Array): void {
    if (this.#byTopic.size === 0) return
    const watched = this.#byTopic.get(topic)
    if (watched === undefined || payload.length === 0 || payload.length > MAX_BYTES) return
    const read = new ForeignPayload(payload)
    const { sources, availability, owner } = watched
    this.#turns.take(owner, topic, payload.length, (at) => {
      const source = sources[at]
      const reachable = availability[at - sources.length]
      // A limb that is gone since then says nothing any more.
      const nodeId = (source ?? reachable)?.nodeId
      if (nodeId !== undefined && this.#topicsOf.get(nodeId)?.has(topic)) {
        if (source !== undefined) this.#value(source, read)
        if (reachable !== undefined) this.#available(reachable, topic, read)
      }
      return nodeId !== undefined
    })
  }

  #value({ nodeId, source, type, lasts }: WatchedSource, read: ForeignPayload): void {
    const value = propertyValueOf(read, source, type)
    if (value !== undefined) this.#publish(nodeId, `data/${source.property}`, value, lasts)
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
      else this.#byTopic.set(topic, { ...known, sources, availability })
    }
    this.#topicsOf.delete(nodeId)
  }
}
