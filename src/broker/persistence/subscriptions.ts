import QlobberSub from 'qlobber/aedes/qlobber-sub.js'
import type { StoredSubscription } from '../../bridge/mqtt-store.ts'
import { sharedFilter } from '../../protocol/filters.ts'
import { groupOf, ShareIndex } from '../share-index.ts'
import { weightOf } from '../subscription-limit.ts'

export interface SubscriptionPacket {
  readonly topic: string
  readonly qos: 0 | 1 | 2
  /** MQTT 5: retain handling, retain as published, no local, subscription identifier. */
  readonly rh?: number
  readonly rap?: boolean
  readonly nl?: boolean
  readonly subscriptionIdentifier?: number
}

/** A stored subscription that matches a topic. */
export interface MatchedSubscription extends SubscriptionPacket {
  readonly clientId: string
}

type Options = Omit<SubscriptionPacket, 'topic'>

/**
 * The subscriptions of persistent sessions, in memory: who is subscribed is asked for each message of QoS 1
 * and 2. Those of QoS 0 queue nothing, so they are restored but never matched. Only Maps: a client id or a
 * filter may be called `__proto__`.
 */
export class SubscriptionIndex {
  readonly #trie = new QlobberSub({
    wildcard_one: '+',
    wildcard_some: '#',
    separator: '/',
    // `a/+` matches `a/` [MQTT-4.7.1-3].
    match_empty_levels: true,
  })
  readonly #clients = new Map<string, Map<string, Options>>()
  /** The subscriptions that are shared; the trie has none of them. */
  readonly shares = new ShareIndex<string, Options>()

  /** Subscriptions of QoS 1 and 2. */
  get matchable(): number {
    return this.#trie.subscriptionsCount
  }

  has(clientId: string): boolean {
    return this.#clients.has(clientId)
  }

  /** Returns what the subscriptions of a session count as. */
  weightOf(clientId: string): number {
    let weight = 0
    for (const filter of this.#clients.get(clientId)?.keys() ?? []) weight += weightOf(filter)
    return weight
  }

  of(clientId: string): SubscriptionPacket[] {
    const filters = this.#clients.get(clientId)
    return filters ? [...filters].map(([topic, options]) => ({ topic, ...options })) : []
  }

  match(topic: string): MatchedSubscription[] {
    return this.#trie.match(topic)
  }

  /** Adds a subscription, and returns whether that changed anything. */
  add(clientId: string, subscription: SubscriptionPacket): boolean {
    const { topic, ...options } = subscription
    let filters = this.#clients.get(clientId)
    if (!filters) {
      filters = new Map()
      this.#clients.set(clientId, filters)
    }
    const before = filters.get(topic)
    if (before && isSame(before, options)) return false
    filters.set(topic, options)
    if (sharedFilter(topic) !== undefined) this.shares.add(groupOf(clientId, topic), clientId, options)
    else if (options.qos > 0) this.#trie.add(topic, { clientId, ...subscription })
    else if (before && before.qos > 0) this.#trie.remove(topic, { clientId, topic })
    return true
  }

  /** Removes a subscription, and returns whether there was one. */
  remove(clientId: string, filter: string): boolean {
    const filters = this.#clients.get(clientId)
    const before = filters?.get(filter)
    if (!filters || !before) return false
    if (sharedFilter(filter) !== undefined) this.shares.remove(groupOf(clientId, filter), clientId)
    else if (before.qos > 0) this.#trie.remove(filter, { clientId, topic: filter })
    filters.delete(filter)
    if (filters.size === 0) this.#clients.delete(clientId)
    return true
  }

  removeAll(clientId: string): void {
    for (const { topic } of this.of(clientId)) this.remove(clientId, topic)
  }
}

function isSame(a: Options, b: Options): boolean {
  return (
    a.qos === b.qos &&
    a.rh === b.rh &&
    a.rap === b.rap &&
    a.nl === b.nl &&
    a.subscriptionIdentifier === b.subscriptionIdentifier
  )
}

export function rowOf(clientId: string, subscription: SubscriptionPacket): StoredSubscription {
  const { topic, qos, ...options } = subscription
  const extra = JSON.stringify(options, ['rh', 'rap', 'nl', 'subscriptionIdentifier'])
  return { clientId, filter: topic, qos, extra: extra === '{}' ? null : extra }
}

export function subscriptionOf({ filter, qos, extra }: StoredSubscription): SubscriptionPacket {
  return {
    topic: filter,
    qos,
    ...(extra === null ? null : (JSON.parse(extra) as Options)),
  } as SubscriptionPacket
}
