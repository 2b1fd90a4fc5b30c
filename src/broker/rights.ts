import type { Identity } from '../bridge/ports.ts'
import { filtersOverlap, isFilter, sharedFilter } from '../protocol/filters.ts'
import { ROLES, type Role } from '../protocol/names.ts'
import { type Address, filterCovers, filterMatches, type Topics } from '../protocol/topics.ts'

/** Decides who may publish and subscribe what: protocol section 3, and the grants of the configuration. */

/** Further rights outside the topic root. `to`: a principal, a role (and those above it), `limb` or `candidate`. */
export interface Grant {
  readonly to: string
  readonly publish?: readonly string[] | undefined
  readonly subscribe?: readonly string[] | undefined
}

/** `core`: the bridge itself takes it. `route`: subscribers get it. */
export type PublishRight = { readonly to: 'core'; readonly address: Address } | 'route' | 'denied'

/** Says how much of what a filter can match may be read: `some` is only for a principal's filter. */
export type Reach = 'all' | 'some' | 'none'

/** The client id under which somebody acts; without one, no grant with `%c` reaches it. */
type ClientId = string | undefined

export class Rights {
  readonly #topics: Topics
  readonly #below: string
  readonly #owns: (topic: string) => boolean
  #grants: readonly CompiledGrant[] = []
  #version = 0

  /**
   * `owns`: the topics outside the root that the bridge itself publishes; nobody else does. Throws for a grant that
   * the protocol rules out; the check of the configuration has told it before.
   */
  constructor(topics: Topics, grants: readonly Grant[], owns: (topic: string) => boolean = () => false) {
    this.#topics = topics
    this.#below = `${topics.root}/#`
    this.#owns = owns
    this.setGrants(grants)
  }

  /** They hold from now on, for sessions that are subscribed already too. Throws like the constructor. */
  setGrants(grants: readonly Grant[]): void {
    for (const grant of grants) {
      for (const filter of [...(grant.publish ?? []), ...(grant.subscribe ?? [])]) this.#checkGrant(filter)
    }
    this.#grants = grants.map(compile)
    this.#version++
  }

  /** Another number after each change: what was granted before may be granted no more. */
  get version(): number {
    return this.#version
  }

  publish(identity: Identity, topic: string, clientId?: ClientId): PublishRight {
    if (!this.#isOutside(topic)) return this.#publishInside(identity, topic)
    if (topic.startsWith('$') || this.#owns(topic)) return 'denied'
    const granted = this.#granted(identity, clientId, 'publish', (filter) => filterMatches(filter, topic))
    return granted ? 'route' : 'denied'
  }

  /** A sentence for who may not publish a topic: what may be, and who can change it. */
  whyNotPublish(identity: Identity): string {
    const { dataPrefix, node, request } = this.#topics
    switch (identity.kind) {
      case 'candidate':
        return `not approved yet: until an operator approves ${identity.nodeId} it may publish ${node(identity.nodeId, 'register')} only`
      case 'limb':
        return `a limb may publish its own register, heartbeat, deregister, result and those below ${dataPrefix(identity.nodeId)}#; mqtt.grants can add others`
      case 'principal':
        return `${identity.name} (${identity.role}) may publish ${request(identity.name, '#')}; mqtt.grants can add topics of others`
    }
  }

  /** A sentence for who may not subscribe a filter. */
  whyNotSubscribe(identity: Identity): string {
    const own = this.#ownFilters(identity).join(', ')
    const who = identity.kind === 'candidate' ? 'not approved yet: it' : 'it'
    return `${who} may subscribe ${own}; mqtt.grants can add filters outside of ${this.#topics.root}`
  }

  /** The retain flag counts on what is routed; nothing of a candidate is kept. */
  retain(identity: Identity): boolean {
    return identity.kind !== 'candidate'
  }

  /** Last words: what is routed, a limb's own data too. The bridge tells its presence, and no verb runs posthumously. */
  will(identity: Identity, topic: string, clientId?: ClientId): boolean {
    return identity.kind !== 'candidate' && this.publish(identity, topic, clientId) === 'route'
  }

  subscribe(identity: Identity, filter: string, clientId?: ClientId): boolean {
    return this.reach(identity, filter, clientId) !== 'none'
  }

  /**
   * A candidate's and a limb's filter is granted when every topic that it can match is; a principal's when some topic
   * is, and then only those are delivered. `$SYS/…` is empty, and `$share/…` is never granted here.
   */
  reach(identity: Identity, filter: string, clientId?: ClientId): Reach {
    if (!isFilter(filter)) return 'none'
    const isPrincipal = identity.kind === 'principal'
    if (filter.startsWith('$')) return isPrincipal && filter.startsWith(SYS) ? 'some' : 'none'
    const own = this.#ownFilters(identity)
    const covers = (granted: string) => filterCovers(granted, filter)
    if (own.some(covers)) return 'all'
    if (!filtersOverlap(filter, this.#below) && this.#granted(identity, clientId, 'subscribe', covers)) {
      return 'all'
    }
    if (!isPrincipal) return 'none'
    const overlaps = (granted: string) => filtersOverlap(granted, filter)
    return own.some(overlaps) || this.#granted(identity, clientId, 'subscribe', overlaps) ? 'some' : 'none'
  }

  /** The same for who speaks MQTT 5: a principal may share a filter with others. */
  reach5(identity: Identity, filter: string, clientId?: ClientId): Reach {
    const shared = sharedFilter(filter)
    if (shared === undefined) return this.reach(identity, filter, clientId)
    return identity.kind === 'principal' ? this.reach(identity, shared, clientId) : 'none'
  }

  /** Returns whether a message of this topic may be delivered, whatever the session is subscribed to. */
  receive(identity: Identity, topic: string, clientId?: ClientId): boolean {
    if (topic.startsWith('$')) return false
    if (this.#isOutside(topic)) {
      return this.#granted(identity, clientId, 'subscribe', (filter) => filterMatches(filter, topic))
    }
    const address = this.#topics.parse(topic)
    if (address === undefined) return false
    if (identity.kind !== 'principal') {
      return address.kind === 'node' && address.nodeId === identity.nodeId && OWN_LEAVES.has(address.leaf)
    }
    return this.#readable(address, identity.name)
  }

  /**
   * Returns whether a message may wait for a stored session, of which only the owner's name is known while it is
   * away: it may if a grant gives it to some. Each message is looked at with `receive` before it is delivered.
   */
  mayWait(owner: string, topic: string): boolean {
    if (this.#isOutside(topic)) return true
    const address = this.#topics.parse(topic)
    return address !== undefined && (address.kind === 'node' || this.#readable(address, owner))
  }

  /** Lists the topics outside the root below which a limb alone may publish: `tele/cam1/` of a grant `tele/%u/#`. */
  placesOf(nodeId: string): readonly string[] {
    const limb: Identity = { kind: 'limb', nodeId }
    return this.#grants
      .filter(({ to }) => to === 'limb')
      .flatMap(({ publish }) => publish.flatMap(({ place }) => place?.fill(limb, '') ?? []))
  }

  /** Returns whether it is what every principal may read of the root, or its own responses. */
  #readable(address: Address, principal: string): boolean {
    switch (address.kind) {
      case 'bridge':
      case 'data':
        return true
      case 'node':
        return PUBLIC_LEAVES.has(address.leaf)
      case 'response':
        return address.principal === principal
      case 'request':
        return false
    }
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
        return OWN.map((leaf) => node(identity.nodeId, leaf))
      case 'principal':
        return [
          `${bridgePrefix}#`,
          ...PUBLIC.map((leaf) => node('+', leaf)),
          `${dataPrefix('+')}#`,
          response(identity.name, '#'),
        ]
    }
  }

  #granted(
    identity: Identity,
    clientId: ClientId,
    kind: 'publish' | 'subscribe',
    test: (filter: string) => boolean,
  ): boolean {
    return this.#grants.some(
      (grant) =>
        reaches(grant.to, identity) &&
        grant[kind].some((pattern) => {
          const filter = pattern.fill(identity, clientId)
          return filter !== undefined && test(filter)
        }),
    )
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

const SYS = '$SYS/'
/** The topics that a limb, and a candidate that becomes one, receives. */
const OWN = ['pairing', 'invoke'] as const
const OWN_LEAVES = new Set<string>(OWN)
/** The topics that every principal may read of every limb. */
const PUBLIC = ['status', 'state', 'description'] as const
const PUBLIC_LEAVES = new Set<string>(PUBLIC)

const LIMB_LEAVES = new Set<string>(['register', 'heartbeat', 'deregister', 'result'])
const CANDIDATE_LEAVES = new Set<string>(['register'])

/** Names of roles and kinds are taken as such: a principal named `viewer` has no grants of its own. */
function reaches(to: string, identity: Identity): boolean {
  if (to === 'limb' || to === 'candidate') return identity.kind === to
  if (identity.kind !== 'principal') return false
  const role = ROLES.indexOf(to as Role)
  return role < 0 ? identity.name === to : ROLES.indexOf(identity.role) >= role
}

interface Pattern {
  /** The filter for this session; undefined when it has nothing to put in the place of `%c`. */
  fill(identity: Identity, clientId: ClientId): string | undefined
  /** The beginning of the filter, if that is for one name alone. */
  readonly place?: Pattern | undefined
}

interface CompiledGrant {
  readonly to: string
  readonly publish: readonly Pattern[]
  readonly subscribe: readonly Pattern[]
}

function compile({ to, publish = [], subscribe = [] }: Grant): CompiledGrant {
  return { to, publish: publish.map(publishPattern), subscribe: subscribe.map(patternOf) }
}

/** Matches what would not stay within one level: Mosquitto too gives such a client id nothing. */
const NOT_A_LEVEL = /[+#/]|^\$/

function publishPattern(filter: string): Pattern {
  const place = placeOf(filter)
  return { ...patternOf(filter), place: place === undefined ? undefined : patternOf(place) }
}

/** `tele/%u/` of `tele/%u/+/x`: everything below it is one limb's. Undefined when it is not. */
export function placeOf(filter: string): string | undefined {
  const levels = filter.split('/')
  const own = levels.findIndex((level) => level.includes('%u'))
  const wildcard = levels.findIndex((level) => level === '+' || level === '#')
  const isPlace =
    own >= 0 &&
    (wildcard < 0 || own < wildcard) &&
    !levels
      .slice(0, own + 1)
      .join()
      .includes('%c')
  return isPlace ? `${levels.slice(0, own + 1).join('/')}/` : undefined
}

/** `%u` stands for the name of the session's identity, `%c` for its client id, as in Mosquitto. */
function patternOf(filter: string): Pattern {
  if (!filter.includes('%u') && !filter.includes('%c')) return { fill: () => filter }
  const needsClientId = filter.includes('%c')
  return {
    fill(identity, clientId = '') {
      if (needsClientId && (clientId === '' || NOT_A_LEVEL.test(clientId))) return undefined
      const name = identity.kind === 'principal' ? identity.name : identity.nodeId
      // The client id comes last: what it says is no pattern.
      return filter.replaceAll('%u', name).replaceAll('%c', () => clientId)
    },
  }
}
