import type { PublishedMessage, RetainedView } from '../bridge/ports.ts'
import { filterMatches, type Topics, topicsOf } from '../protocol/topics.ts'
import type { UplinkMessage, UplinkSettings } from './ports.ts'

const READABLE_LEAVES = new Set<string>(['status', 'state', 'description'])

/** Knows which topics are mirrored, and what they are called there. */
export class Mirror {
  /** Topics as they are there. */
  readonly there: Topics
  readonly #here: Topics
  readonly #data: readonly string[]
  readonly #qos: 0 | 1

  constructor(here: Topics, settings: UplinkSettings) {
    this.#here = here
    this.there = topicsOf(settings.prefix)
    this.#data = settings.data.map((filter) => here.prefix + filter)
    this.#qos = settings.qos
  }

  /** Filters of the data that is mirrored, here. */
  get dataFilters(): readonly string[] {
    return this.#data
  }

  /** All that may lie there, in the place of what is mirrored or ever was. */
  get filtersThere(): readonly string[] {
    const { bridgePrefix, dataPrefix, node } = this.there
    return [
      `${bridgePrefix}#`,
      node('+', 'status'),
      node('+', 'state'),
      node('+', 'description'),
      `${dataPrefix('+')}#`,
    ]
  }

  /** Returns a message as it goes there, or undefined for what stays here. */
  translate({ topic, payload, qos, retain }: PublishedMessage): UplinkMessage | undefined {
    if (!this.mirrors(topic)) return undefined
    // The data of a revoked limb is cleared here without the retain flag, for those who are subscribed.
    const clears = payload.length === 0 && this.#here.parse(topic)?.kind === 'data'
    return {
      topic: this.toThere(topic),
      payload,
      qos: Math.min(qos, this.#qos) as 0 | 1,
      retain: retain || clears,
    }
  }

  mirrors(topic: string): boolean {
    if (!topic.startsWith(this.#here.prefix)) return false
    const address = this.#here.parse(topic)
    switch (address?.kind) {
      case 'bridge':
        return true
      case 'node':
        return READABLE_LEAVES.has(address.leaf)
      case 'data':
        return this.#data.some((filter) => filterMatches(filter, topic))
      default:
        return false
    }
  }

  /** Yields what is retained of the bridge's own, the status of the bridge last: then all the rest is true there. */
  *retained(view: RetainedView): Iterable<UplinkMessage> {
    const { node, bridgePrefix, bridgeStatus } = this.#here
    for (const filter of [
      node('+', 'description'),
      node('+', 'state'),
      node('+', 'status'),
      `${bridgePrefix}#`,
    ]) {
      for (const { topic, payload } of view.match(filter)) {
        if (topic !== bridgeStatus)
          yield { topic: this.toThere(topic), payload, qos: this.#qos, retain: true }
      }
    }
    for (const { topic, payload } of view.match(bridgeStatus)) {
      yield { topic: this.toThere(topic), payload, qos: this.#qos, retain: true }
    }
  }

  toThere(topic: string): string {
    return this.there.root + topic.slice(this.#here.root.length)
  }

  /** The topic here of one there that lies below the prefix. */
  toHere(topic: string): string {
    return this.#here.root + topic.slice(this.there.root.length)
  }
}
