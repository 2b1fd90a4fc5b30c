import { filterMatches } from '../protocol/topics.ts'
import type { AedesClient, Qos } from './aedes-internals.ts'

/**
 * The live subscriptions of one session, as Aedes keeps them, in a form that is quick to match: a dashboard may have
 * a filter for each topic of a whole fleet, and few with wildcards.
 */
export class LiveFilters {
  readonly #client: AedesClient<unknown>
  readonly #wildcards = new Set<string>()
  /** Filters that match more than the session may read. */
  readonly #wide = new Set<string>()

  constructor(client: AedesClient<unknown>) {
    this.#client = client
  }

  /** Whether what matches must be looked at once more. */
  get isWide(): boolean {
    return this.#wide.size > 0
  }

  /** A subscription is about to be made: Aedes has it within this turn or later. */
  add(filter: string, isWide: boolean): void {
    if (hasWildcard(filter)) this.#wildcards.add(filter)
    if (isWide) this.#wide.add(filter)
    else this.#wide.delete(filter)
  }

  remove(filters: readonly string[]): void {
    const { subscriptions } = this.#client
    for (const filter of filters) {
      // It may have been subscribed anew meanwhile.
      if (filter in subscriptions) continue
      this.#wildcards.delete(filter)
      this.#wide.delete(filter)
    }
  }

  all(): readonly (readonly [filter: string, qos: Qos])[] {
    return Object.entries(this.#client.subscriptions).map(([filter, { qos }]) => [filter, qos] as const)
  }

  /** The highest QoS among the subscriptions that match, -1 when none does. */
  qosFor(topic: string): Qos | -1 {
    const { subscriptions } = this.#client
    let best: Qos | -1 = subscriptions[topic]?.qos ?? -1
    for (const filter of this.#wildcards) {
      const qos = subscriptions[filter]?.qos
      if (qos !== undefined && qos > best && filterMatches(filter, topic)) best = qos
    }
    return best
  }
}

function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#')
}
