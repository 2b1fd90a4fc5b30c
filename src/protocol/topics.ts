import { isName } from './names.ts'

/** The sole home of topic strings. Everything below the root is spelled here and nowhere else. */

const NODE_UPLINKS = ['register', 'heartbeat', 'deregister', 'result'] as const
/** The topics on which a limb speaks to the bridge. */
export type NodeInbound = (typeof NODE_UPLINKS)[number]

/** The parts of a topic below the root. */
export type Address =
  | {
      kind: 'node'
      nodeId: string
      leaf: NodeInbound | 'pairing' | 'invoke' | 'status' | 'state' | 'description'
    }
  | { kind: 'data'; nodeId: string; path: string }
  | { kind: 'bridge'; path: string }
  | { kind: 'request'; principal: string; verb: string }
  | { kind: 'response'; principal: string; verb: string }

/** All data of all limbs, as a filter below the root. */
export const DATA_BELOW_ROOT = 'node/+/data/#'

const NODE_LEAVES = new Set<string>([...NODE_UPLINKS, 'pairing', 'invoke', 'status', 'state', 'description'])

export interface Topics {
  readonly root: string
  /** The prefix `<root>/`. */
  readonly prefix: string
  /** The prefix `<root>/bridge/`. */
  readonly bridgePrefix: string
  /** The prefix `<root>/node/`. */
  readonly nodePrefix: string
  readonly bridgeStatus: string
  readonly bridgeInfo: string
  node(nodeId: string, leaf: NodeInbound | 'pairing' | 'invoke' | 'status' | 'state' | 'description'): string
  /** The prefix `<root>/node/<nodeId>/data/`. */
  dataPrefix(nodeId: string): string
  pairingRequest(requestId: string): string
  approval(invocationId: string): string
  event(kind: string): string
  request(principal: string, verb: string): string
  response(principal: string, verb: string): string
  /** Reads what a topic (not a filter) is, or returns undefined for one that the protocol does not know. */
  parse(topic: string): Address | undefined
}

export function topicsOf(root: string): Topics {
  const prefix = `${root}/`
  const node = `${root}/node/`
  const bridge = `${root}/bridge/`
  const principal = `${root}/principal/`

  return {
    root,
    prefix,
    bridgePrefix: bridge,
    nodePrefix: node,
    bridgeStatus: `${bridge}status`,
    bridgeInfo: `${bridge}info`,
    node: (nodeId, leaf) => `${node}${nodeId}/${leaf}`,
    dataPrefix: (nodeId) => `${node}${nodeId}/data/`,
    pairingRequest: (requestId) => `${bridge}pairing/${requestId}`,
    approval: (invocationId) => `${bridge}approval/${invocationId}`,
    event: (kind) => `${bridge}event/${kind}`,
    request: (name, verb) => `${principal}${name}/request/${verb}`,
    response: (name, verb) => `${principal}${name}/response/${verb}`,
    parse(topic) {
      if (topic.startsWith(node)) return parseNode(topic.slice(node.length))
      if (topic.startsWith(bridge)) return { kind: 'bridge', path: topic.slice(bridge.length) }
      if (topic.startsWith(principal)) return parsePrincipal(topic.slice(principal.length))
      return undefined
    },
  }
}

function splitOnce(text: string): [string, string] | undefined {
  const slash = text.indexOf('/')
  return slash < 0 ? undefined : [text.slice(0, slash), text.slice(slash + 1)]
}

function parseNode(rest: string): Address | undefined {
  const parts = splitOnce(rest)
  if (!parts || !isName(parts[0])) return undefined
  const [nodeId, leaf] = parts
  if (NODE_LEAVES.has(leaf)) return { kind: 'node', nodeId, leaf: leaf as NodeInbound }
  if (leaf.startsWith('data/') && leaf.length > 'data/'.length) {
    return { kind: 'data', nodeId, path: leaf.slice('data/'.length) }
  }
  return undefined
}

function parsePrincipal(rest: string): Address | undefined {
  const name = splitOnce(rest)
  if (!name || !isName(name[0])) return undefined
  const leaf = splitOnce(name[1])
  if (!leaf || leaf[1] === '') return undefined
  if (leaf[0] === 'request') return { kind: 'request', principal: name[0], verb: leaf[1] }
  if (leaf[0] === 'response') return { kind: 'response', principal: name[0], verb: leaf[1] }
  return undefined
}

/**
 * Returns whether every topic that `filter` can match is matched by `grant` too (both are MQTT topic filters). This
 * is how a subscription is granted: `limb/node/+/status` covers `limb/node/cam/status`, and never the other way
 * round. A grant that begins with a wildcard reaches no `$` topic [MQTT-4.7.2-1].
 */
export function filterCovers(grant: string, filter: string): boolean {
  if (filter.startsWith('$') && (grant.startsWith('+') || grant.startsWith('#'))) return false
  // `#` matches what `+/#` matches: every topic has a first level.
  if (filter === '#') return grant === '#' || grant === '+/#'
  // Each message to each wildcard is matched here: the levels are compared where they stand, and none is copied.
  for (let g = 0, a = 0; ; ) {
    const granted = endOfLevel(grant, g)
    const asked = endOfLevel(filter, a)
    if (isLevel(grant, g, granted, HASH)) return true
    if (g > grant.length || a > filter.length) return g > grant.length && a > filter.length
    if (isLevel(filter, a, asked, HASH)) return false
    if (!isLevel(grant, g, granted, PLUS) && !isSameText(grant, g, granted, filter, a, asked)) return false
    g = granted + 1
    a = asked + 1
  }
}

const HASH = '#'.charCodeAt(0)
const PLUS = '+'.charCodeAt(0)

function endOfLevel(text: string, from: number): number {
  const slash = text.indexOf('/', from)
  return slash < 0 ? text.length : slash
}

/** Returns whether the level from `from` to `end` is that one character; one behind the last level is none. */
function isLevel(text: string, from: number, end: number, code: number): boolean {
  return end - from === 1 && text.charCodeAt(from) === code
}

function isSameText(a: string, aFrom: number, aEnd: number, b: string, bFrom: number, bEnd: number): boolean {
  if (aEnd - aFrom !== bEnd - bFrom) return false
  for (let i = aFrom, j = bFrom; i < aEnd; i++, j++) if (a.charCodeAt(i) !== b.charCodeAt(j)) return false
  return true
}

/** Returns whether `filter` matches `topic` [MQTT-4.7]: a topic is the filter that matches it alone. */
export function filterMatches(filter: string, topic: string): boolean {
  return filterCovers(filter, topic)
}
