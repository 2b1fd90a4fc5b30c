import type { SteadyClock } from '../../kernel/steady-clock.ts'
import { encodeJson, encodeWord } from '../../protocol/encode.ts'
import type { PendingApproval } from '../../protocol/schemas.ts'
import { filterMatches, type Topics } from '../../protocol/topics.ts'
import type { RetainedMessage, RetainedView } from '../ports.ts'
import type { Announcer } from './announcer.ts'
import { shownDescription } from './description.ts'
import type { PendingPairingRequests } from './pending.ts'
import { type LiveLimb, type Registry, stateOf } from './registry.ts'

/**
 * Retained `status`, `state` and `limb/bridge/…`, made from memory when somebody subscribes. Nothing is
 * stored, so a restart with a million nodes publishes nothing and forgets nothing, and an exact look-up
 * costs the same with one node and with a million.
 */
export function createView(
  topics: Topics,
  registry: Registry,
  pending: PendingPairingRequests,
  approvals: { values(): Iterable<PendingApproval> },
  announcer: Announcer,
  steady: SteadyClock,
): RetainedView {
  const leaves = ['status', 'state', 'description'] as const

  function nodeMessage(limb: LiveLimb, leaf: (typeof leaves)[number]): RetainedMessage {
    const topic = topics.node(limb.record.nodeId, leaf)
    if (leaf === 'status') return { topic, payload: encodeWord(limb.status) }
    const shown = leaf === 'state' ? stateOf(limb, steady) : shownDescription(limb.record)
    return { topic, payload: encodeJson(shown) }
  }

  function* nodes(filter: string, level: string, leaf: string): Iterable<RetainedMessage> {
    const wanted = leaves.filter((name) => filterMatches(leaf, name))
    if (wanted.length === 0) return
    if (level === '+') {
      for (const limb of registry.values()) for (const name of wanted) yield nodeMessage(limb, name)
      return
    }
    const limb = registry.get(level)
    if (limb)
      for (const name of wanted)
        if (filterMatches(filter, topics.node(level, name))) yield nodeMessage(limb, name)
  }

  function* bridge(filter: string): Iterable<RetainedMessage> {
    if (filterMatches(filter, topics.bridgeStatus)) {
      yield { topic: topics.bridgeStatus, payload: encodeWord(announcer.bridgeStatus) }
    }
    if (filterMatches(filter, topics.bridgeInfo)) {
      yield { topic: topics.bridgeInfo, payload: encodeJson(announcer.info()) }
    }
    for (const request of pending.values()) {
      const topic = topics.pairingRequest(request.requestId)
      if (filterMatches(filter, topic)) yield { topic, payload: encodeJson(pending.show(request)) }
    }
    for (const approval of approvals.values()) {
      const topic = topics.approval(approval.invocationId)
      if (filterMatches(filter, topic)) yield { topic, payload: encodeJson(approval) }
    }
  }

  return {
    owns(topic) {
      const address = topics.parse(topic)
      if (address?.kind === 'bridge') return true
      return address?.kind === 'node' && leaves.some((leaf) => leaf === address.leaf)
    },
    *match(filter) {
      const [kind, ...rest] = belowRoot(filter, topics.root) ?? []
      if (kind === '#' || kind === '+' || kind === 'bridge') yield* bridge(filter)
      if (kind === '#') yield* nodes(filter, '+', '#')
      if (kind === '+' || kind === 'node') {
        const [level = '', ...leaf] = rest[0] === '#' ? ['+', '#'] : rest
        yield* nodes(filter, level, leaf.join('/'))
      }
    },
  }
}

/** The levels of `filter` below the root (`['#']` when it takes all of them), or undefined when it is elsewhere. */
function belowRoot(filter: string, root: string): string[] | undefined {
  const levels = filter.split('/')
  const rootLevels = root.split('/')
  for (const [i, name] of rootLevels.entries()) {
    if (levels[i] === '#') return ['#']
    if (levels[i] !== '+' && levels[i] !== name) return undefined
  }
  return levels.slice(rootLevels.length)
}

/** Several views as one; no two own the same topic. */
export function joinViews(...views: readonly RetainedView[]): RetainedView {
  return {
    owns: (topic) => views.some((view) => view.owns(topic)),
    *match(filter) {
      for (const view of views) yield* view.match(filter)
    },
  }
}
