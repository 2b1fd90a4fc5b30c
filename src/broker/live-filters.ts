import { filterMatches } from '../protocol/topics.ts'
import type { AedesClient, Qos } from './aedes-internals.ts'

/** The live subscriptions of one session, as Aedes keeps them, in a form that is quick to match. */
export class LiveFilters {
  readonly #client: AedesClient<unknown>
  #list: (readonly [filter: string, qos: Qos])[] | undefined

  constructor(client: AedesClient<unknown>) {
    this.#client = client
  }

  /** Subscriptions have changed, or are about to. */
  changed(): void {
    this.#list = undefined
  }

  all(): readonly (readonly [filter: string, qos: Qos])[] {
    this.#list ??= Object.entries(this.#client.subscriptions).map(
      ([filter, { qos }]) => [filter, qos] as const,
    )
    return this.#list
  }

  /** The highest QoS among the subscriptions that match, -1 when none does. */
  qosFor(topic: string): Qos | -1 {
    const qos = this.#highest(topic)
    if (qos >= 0) return qos
    // Aedes adds a subscription a turn before it says so.
    this.changed()
    return this.#highest(topic)
  }

  #highest(topic: string): Qos | -1 {
    let best: Qos | -1 = -1
    for (const [filter, qos] of this.all()) {
      if (qos > best && filterMatches(filter, topic)) best = qos
    }
    return best
  }
}
