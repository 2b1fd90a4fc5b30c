import QlobberSub from 'qlobber/aedes/qlobber-sub.js'
import { sharedFilter } from '../protocol/filters.ts'

/**
 * Knows who shares which subscriptions (`$share/group/filter`), and which of those match a topic. `M`: a member, `O`: what
 * is known of its subscription.
 */
export class ShareIndex<M, O> {
  readonly #trie = new QlobberSub({
    wildcard_one: '+',
    wildcard_some: '#',
    separator: '/',
    match_empty_levels: true,
  })
  /** The members of each shared subscription, by the whole filter. */
  readonly #members = new Map<string, Map<M, O>>()

  /** Shared subscriptions that have a member. */
  get size(): number {
    return this.#members.size
  }

  add(shared: string, member: M, options: O): void {
    const members = this.#members.get(shared)
    if (members !== undefined) {
      members.set(member, options)
      return
    }
    this.#members.set(shared, new Map([[member, options]]))
    const filter = sharedFilter(shared) ?? ''
    this.#trie.add(filter, { clientId: shared, topic: filter, qos: 0 })
  }

  remove(shared: string, member: M): void {
    const members = this.#members.get(shared)
    if (!members?.delete(member) || members.size > 0) return
    this.#members.delete(shared)
    const filter = sharedFilter(shared) ?? ''
    this.#trie.remove(filter, { clientId: shared, topic: filter })
  }

  /** Returns the shared subscriptions that match a topic. */
  match(topic: string): string[] {
    return this.#members.size === 0 ? [] : this.#trie.match(topic).map(({ clientId }) => clientId)
  }

  of(shared: string): ReadonlyMap<M, O> {
    return this.#members.get(shared) ?? new Map<M, O>()
  }
}
