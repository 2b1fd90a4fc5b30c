import { shownName } from '../../domain/pairing.ts'
import { iso } from '../../kernel/clock.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { isAwake } from '../../protocol/names.ts'
import type { State } from '../../protocol/schemas.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import { shownDescription } from '../live/description.ts'
import { pageInMemory } from '../live/pages.ts'
import { type LiveLimb, type Registry, stateOf } from '../live/registry.ts'
import type { ApprovedLimbs } from '../pairing/approved-limbs.ts'
import type { Provisioned, Provisioning } from '../pairing/provisioning.ts'
import type { History } from '../presence/history.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbHandlersOf } from '../verb-context.ts'
import { whyOf } from './why.ts'

type Parts = Parameters<typeof whyOf>[1] & {
  readonly registry: Registry
  readonly history: History
  readonly provisioning: Provisioning
  readonly limbs: ApprovedLimbs
}

/** The handlers of nodes; those about descriptions are in `node-description.ts`. */
type NodeHandlers = Omit<VerbHandlersOf<'node'>, 'node/set' | 'node/describe' | 'node/thing'>

/** The verbs about approved limbs. */
export function nodeHandlers(context: BridgeContext, parts: Parts): NodeHandlers {
  const { registry, provisioning, limbs } = parts
  const { running } = context

  return {
    async 'node/list'(args) {
      const { items, next } = pageInMemory({
        source: registry.limbsAfter(args.after),
        limit: args.limit ?? LIMITS.listDefault,
        keyOf: (limb) => limb.record.nodeId,
        show: (limb): State | undefined => (listed(limb, args) ? stateOf(limb, running.steady) : undefined),
      })
      return { items: [...items], ...(next === undefined ? {} : { next }) }
    },

    async 'node/get'({ nodeId }) {
      const limb = registry.require(nodeId)
      return { ...stateOf(limb, running.steady), description: shownDescription(limb.record) }
    },

    'node/why': ({ nodeId }) => whyOf(context, parts, nodeId),

    'node/history': (args) => parts.history.of(args),

    async 'node/rename'({ nodeId, displayName }, caller) {
      const node = await limbs.rename(nodeId, displayName, caller.name)
      return { nodeId, displayName: shownName(node) }
    },

    async 'node/revoke'({ nodeId }, caller) {
      const until = await limbs.revoke(nodeId, caller.name)
      return { nodeId, refusedUntil: iso(running.wallMs(until)) }
    },

    async 'node/rotate-key'({ nodeId, immediate = false }, caller) {
      const { apiKey, sent } = await limbs.rotateKey(nodeId, immediate, caller.name)
      return { nodeId, apiKey, toldToLimb: sent }
    },

    async 'node/provision'(args, caller) {
      return shown(await provisioning.provision(args, caller.name))
    },

    async 'node/import'({ nodes }, caller) {
      return { items: (await provisioning.importAll(nodes, caller.name)).map(shown) }
    },
  }
}

function shown({ node, apiKey }: Provisioned) {
  return { nodeId: node.nodeId, ...(apiKey === undefined ? {} : { apiKey }) }
}

function listed(limb: LiveLimb, filter: VerbArgs<'node/list'>): boolean {
  if (filter.status !== undefined && limb.status !== filter.status) return false
  const { capability, available } = filter
  const has = capability === undefined || limb.record.capabilities.some((entry) => entry.cap === capability)
  if (!has) return false
  if (available === undefined) return true
  const ready = isAwake(limb.status) && (capability === undefined || !limb.unavailable.includes(capability))
  return ready === available
}
