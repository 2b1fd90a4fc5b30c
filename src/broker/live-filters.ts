import { LazyMap, LazySet } from '../kernel/lazy-collections.ts'
import { sharedFilter } from '../protocol/filters.ts'
import { filterMatches } from '../protocol/topics.ts'
import type { AedesClient, Qos } from './aedes-internals.ts'
import { weightOf } from './subscription-limit.ts'

/** The options that MQTT 5 lets a client ask for with a subscription. */
export interface FilterOptions {
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly identifier: number | undefined
}

/** The sum of what the subscriptions that match a topic ask for. */
export interface Match {
  readonly qos: Qos
  readonly retainAsPublished: boolean
  /** The subscription identifiers; undefined: none of them has one. */
  readonly identifiers: readonly number[] | undefined
}

/**
 * The live subscriptions of one session, as Aedes keeps them, in a form that is quick to match: a dashboard may have
 * a filter for each topic of a whole fleet, and few with wildcards.
 */
export class LiveFilters {
  readonly #client: AedesClient<unknown>
  readonly #wildcards = new LazySet<string>()
  /** Filters without wildcards. An object asked for a topic that it has not would first make that text unique. */
  readonly #exact = new LazySet<string>()
  /** Filters that match more than the session may read. */
  readonly #wide = new LazySet<string>()
  readonly #options = new LazyMap<string, FilterOptions>()
  /** Filters in the order of packets: Aedes has them within this turn or later. */
  readonly #counted = new LazySet<string>()
  #counter: (change: number) => void = () => undefined

  constructor(client: AedesClient<unknown>) {
    this.#client = client
  }

  /** Subscriptions, those that are about to be made included and those that are about to end left out. */
  get size(): number {
    return this.#counted.size
  }

  has(filter: string): boolean {
    return this.#counted.has(filter)
  }

  /** `counter` is told of each change of what they count as together. */
  countBy(counter: (change: number) => void): void {
    this.#counter = counter
  }

  /** UNSUBSCRIBE has come: what follows it finds room. */
  ending(filter: string): void {
    if (this.#counted.delete(filter)) this.#counter(-weightOf(filter))
  }

  /** The connection is gone. */
  close(): void {
    for (const filter of this.#counted) this.#counter(-weightOf(filter))
    this.#counted.clear()
  }

  /** Shows whether what matches must be looked at once more. */
  get isWide(): boolean {
    return this.#wide.size > 0
  }

  /** A subscription is about to be made: Aedes has it within this turn or later. */
  add(filter: string, isWide: boolean): void {
    if (!this.#counted.has(filter)) {
      this.#counted.add(filter)
      this.#counter(weightOf(filter))
    }
    if (!hasWildcard(filter)) this.#exact.add(filter)
    else if (sharedFilter(filter) === undefined) this.#wildcards.add(filter)
    if (isWide) this.#wide.add(filter)
    else this.#wide.delete(filter)
  }

  remove(filters: readonly string[]): void {
    const { subscriptions } = this.#client
    for (const filter of filters) {
      // It may have been subscribed anew meanwhile.
      if (filter in subscriptions) continue
      this.ending(filter)
      this.#wildcards.delete(filter)
      this.#exact.delete(filter)
      this.#wide.delete(filter)
      this.#options.delete(filter)
    }
  }

  all(): readonly (readonly [filter: string, qos: Qos])[] {
    return Object.entries(this.#client.subscriptions).map(([filter, { qos }]) => [filter, qos] as const)
  }

  /** The highest QoS among the subscriptions that match, -1 when none does. */
  qosFor(topic: string): Qos | -1 {
    const { subscriptions } = this.#client
    let best: Qos | -1 = this.#exact.has(topic) ? (subscriptions[topic]?.qos ?? -1) : -1
    for (const filter of this.#wildcards) {
      const qos = subscriptions[filter]?.qos
      if (qos !== undefined && qos > best && filterMatches(filter, topic)) best = qos
    }
    return best
  }

  /** Shows whether some subscription asks for more than a QoS. */
  get hasOptions(): boolean {
    return this.#options.size > 0
  }

  /** Keeps the options of a filter; the usual ones need no place. */
  setOptions(filter: string, options: FilterOptions): void {
    const usual = !options.noLocal && !options.retainAsPublished && options.identifier === undefined
    if (usual) this.#options.delete(filter)
    else this.#options.set(filter, options)
  }

  isAsPublished(filter: string): boolean {
    return this.#options.get(filter)?.retainAsPublished === true
  }

  identifierOf(filter: string): number | undefined {
    return this.#options.get(filter)?.identifier
  }

  /** `own`: the message comes from this very client. Undefined: no subscription takes it. */
  match(topic: string, own: boolean): Match | undefined {
    let qos: Qos | -1 = -1
    let retainAsPublished = false
    const identifiers: number[] = []
    for (const filter of this.#matching(topic)) {
      const options = this.#options.get(filter)
      if (own && options?.noLocal === true) continue
      qos = Math.max(qos, this.#client.subscriptions[filter]?.qos ?? -1) as Qos | -1
      retainAsPublished ||= options?.retainAsPublished === true
      if (options?.identifier !== undefined) identifiers.push(options.identifier)
    }
    if (qos < 0) return undefined
    const some = identifiers.length > 0 ? identifiers : undefined
    return { qos: qos as Qos, retainAsPublished, identifiers: some }
  }

  *#matching(topic: string): Iterable<string> {
    const { subscriptions } = this.#client
    if (this.#exact.has(topic) && topic in subscriptions) yield topic
    for (const filter of this.#wildcards) {
      if (filter in subscriptions && filterMatches(filter, topic)) yield filter
    }
  }
}

function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#')
}
