import type { Identity } from '../bridge/ports.ts'
import { filtersOverlap, isFilter } from '../protocol/filters.ts'
import { ROLES, type Role } from '../protocol/names.ts'
import { type Address, filterCovers, filterMatches, type Topics } from '../protocol/topics.ts'

/** Who may publish and subscribe what: protocol section 3, and the grants of the configuration. */

/** Further rights outside the topic root. `to`: a principal, a role (and those above it), `limb` or `candidate`. */
export interface Grant {
  readonly to: string
  readonly publish?: readonly string[] | undefined
  readonly subscribe?: readonly string[] | undefined
}

/** `core`: the bridge itself takes it. `route`: subscribers get it. */
export type PublishRight = { readonly to: 'core'; readonly address: Address } | 'route' | 'denied'

export class Rights {
  readonly #topics: Topics
  readonly #grants: readonly Grant[]
  readonly #below: string

  /** Throws for a grant that the protocol rules out; the check of the configuration has told it before. */
  constructor(topics: Topics, grants: readonly Grant[]) {
    this.#topics = topics
    this.#grants = grants
    this.#below = `${topics.root}/#`
    for (const grant of grants) {
      for (const filter of [...(grant.publish ?? []), ...(grant.subscribe ?? [])]) this.#checkGrant(filter)
    }
  }

  publish(identity: Identity, topic: string): PublishRight {
    if (!this.#isOutside(topic)) return this.#publishInside(identity, topic)
    return this.#granted(identity, 'publish', (filter) => filterMatches(filter, topic)) ? 'route' : 'denied'
  }

  /** The retain flag of a limb counts on its own `data/…` only; what the core takes is never retained. */
  retain(identity: Identity, topic: string): boolean {
    return identity.kind === 'principal' || !this.#isOutside(topic)
  }

  /** Last words of principals, outside the root: limbs and candidates have none, and no verb runs posthumously. */
  will(identity: Identity, topic: string): boolean {
    return identity.kind === 'principal' && this.publish(identity, topic) === 'route'
  }

  /** Granted when every topic that the filter can match is. `$share/…` and `$SYS/…` never are. */
  subscribe(identity: Identity, filter: string): boolean {
    if (filter.startsWith('$') || !isFilter(filter)) return false
    if (this.#ownFilters(identity).some((granted) => filterCovers(granted, filter))) return true
    if (filtersOverlap(filter, this.#below)) return false
    return this.#granted(identity, 'subscribe', (granted) => filterCovers(granted, filter))
  }

  /** Whether a message of this topic may be delivered, whatever the session is subscribed to. */
  receive(identity: Identity, topic: string): boolean {
    return this.subscribe(identity, topic)
  }

  #isOutside(topic: string): boolean {
    return topic !== this.#topics.root && !topic.startsWith(this.#topics.prefix)
  }

  #publishInside(identity: Identity, topic: string): PublishRight {
    const address = this.#topics.parse(topic)
    if (address === undefined) return 'denied'
    if (address.kind === 'request') {
      return identity.kind === 'principal' && address.principal === identity.name
        ? { to: 'core', address }
        : 'denied'
    }
    if (identity.kind === 'principal' || !('nodeId' in address) || address.nodeId !== identity.nodeId) {
      return 'denied'
    }
    if (address.kind === 'data') return identity.kind === 'limb' ? 'route' : 'denied'
    const leaves = identity.kind === 'limb' ? LIMB_LEAVES : CANDIDATE_LEAVES
    return leaves.has(address.leaf) ? { to: 'core', address } : 'denied'
  }

  #ownFilters(identity: Identity): string[] {
    const { bridgePrefix, dataPrefix, node, response } = this.#topics
    switch (identity.kind) {
      // Most programs subscribe once, when they connect: what a candidate will hear as a limb is granted before its
      // approval. Nothing is sent there until then, and to its own session only.
      case 'candidate':
      case 'limb':
        return [node(identity.nodeId, 'pairing'), node(identity.nodeId, 'invoke')]
      case 'principal':
        return [
          `${bridgePrefix}#`,
          node('+', 'status'),
          node('+', 'state'),
          `${dataPrefix('+')}#`,
          response(identity.name, '#'),
        ]
    }
  }

  #granted(identity: Identity, kind: 'publish' | 'subscribe', test: (filter: string) => boolean): boolean {
    for (const grant of this.#grants) {
      const filters = grant[kind]
      if (filters?.length && reaches(grant.to, identity) && filters.some(test)) return true
    }
    return false
  }

  #checkGrant(filter: string): void {
    if (!isFilter(filter)) throw new Error(`mqtt.grants: "${filter}" is not an MQTT topic filter`)
    if (filter.startsWith('$')) throw new Error(`mqtt.grants: "${filter}" starts with "$"; name other topics`)
    if (filtersOverlap(filter, this.#below)) {
      throw new Error(
        `mqtt.grants: "${filter}" can match topics of the bridge; start it with a level other than "${this.#topics.root}"`,
      )
    }
  }
}

const LIMB_LEAVES = new Set<string>(['register', 'heartbeat', 'deregister', 'result'])
const CANDIDATE_LEAVES = new Set<string>(['register'])

/** Names of roles and kinds are taken as such: a principal named `viewer` has no grants of its own. */
function reaches(to: string, identity: Identity): boolean {
  if (to === 'limb' || to === 'candidate') return identity.kind === to
  if (identity.kind !== 'principal') return false
  const role = ROLES.indexOf(to as Role)
  return role < 0 ? identity.name === to : ROLES.indexOf(identity.role) >= role
}
