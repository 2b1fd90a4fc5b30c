import QlobberSub from 'qlobber/aedes/qlobber-sub.js'
import { sharedFilter } from '../protocol/filters.ts'
import { ownerOf } from './session-key.ts'

/**
 * Names the group of a session with a shared filter. It belongs to one identity, as a client id does: whoever knows the
 * name of another's group takes no message out of it. No name has a blank.
 */
export function groupOf(sessionKey: string, shared: string): string {
  return `${ownerOf(sessionKey)} ${shared}`
}

/** Returns the shared filter, `$share/group/filter`, of a group. */
export function filterOfGroup(group: string): string {
  return group.slice(group.indexOf(' ') + 1)
}

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
  /** The members of each group. */
  readonly #members = new Map<string, Map<M, O>>()

  /** Shared subscriptions that have a member. */
  get size(): number {
    return this.#members.size
  }

  add(group: string, member: M, options: O): void {
    const members = this.#members.get(group)
    if (members !== undefined) {
      members.set(member, options)
      return
    }
    this.#members.set(group, new Map([[member, options]]))
    const filter = sharedFilter(filterOfGroup(group)) ?? ''
    this.#trie.add(filter, { clientId: group, topic: filter, qos: 0 })
  }

  remove(group: string, member: M): void {
    const members = this.#members.get(group)
    if (!members?.delete(member) || members.size > 0) return
    this.#members.delete(group)
    const filter = sharedFilter(filterOfGroup(group)) ?? ''
    this.#trie.remove(filter, { clientId: group, topic: filter })
  }

  /** Returns the groups that a topic is for. */
  match(topic: string): string[] {
    return this.#members.size === 0 ? [] : this.#trie.match(topic).map(({ clientId }) => clientId)
  }

  of(group: string): ReadonlyMap<M, O> {
    return this.#members.get(group) ?? new Map<M, O>()
  }
}
