import type { NodeRecord, OperatorSettings } from '../../domain/records.ts'
import { thingOf } from '../../domain/thing.ts'
import { Refusal } from '../../kernel/errors.ts'
import { presenceModeOf } from '../../protocol/presence.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import { shownDescription } from '../live/description.ts'
import { type LiveLimb, noSuchLimb, type Registry } from '../live/registry.ts'
import type { Tx } from '../ports.ts'
import { presenceRuleOf } from '../presence/availability.ts'
import type { PresenceKeeper } from '../presence/presence-keeper.ts'
import { type BridgeContext, intervalsOf } from '../settings.ts'
import type { VerbCaller, VerbHandlers } from '../verb-context.ts'

interface Parts {
  readonly registry: Registry
  readonly presence: PresenceKeeper
  readonly announcer: Announcer
}

type DescriptionVerb = 'node/set' | 'node/describe' | 'node/thing'

/** The verbs about what a limb says of itself, and what an operator says of it. */
export function nodeDescriptionHandlers(
  context: BridgeContext,
  { registry, presence, announcer }: Parts,
): Pick<VerbHandlers, DescriptionVerb> {
  const { clock, store, settings, topics, log } = context

  async function change(
    nodeId: string,
    caller: VerbCaller,
    kind: 'node.set' | 'node.described',
    detail: Record<string, unknown>,
    next: (node: NodeRecord) => NodeRecord,
  ): Promise<LiveLimb> {
    const node = await store.transact(async (tx: Tx) => {
      const before = await tx.node(nodeId)
      if (!before) throw noSuchLimb(nodeId)
      const after = { ...next(before), updatedAt: clock.wallMs() }
      await tx.putNode(after)
      await tx.audit(audit(context, kind, { actor: caller.name, nodeId, detail }))
      return after
    })
    const limb = registry.require(nodeId)
    presence.update(limb, node)
    announcer.state(limb)
    announcer.eventSoon('node_updated', { nodeId })
    log.info(
      { nodeId, by: caller.name },
      `${nodeId}: ${kind === 'node.set' ? 'settings' : 'description'} changed`,
    )
    return limb
  }

  return {
    async 'node/set'({ nodeId, ...wish }, caller) {
      const limb = await change(nodeId, caller, 'node.set', wish, (node) => {
        const operatorSettings = mergedSettings(node.operatorSettings, wish)
        const after = { ...node, operatorSettings }
        refuseUnreachable(after, settings)
        refuseUnprobed(after, wish)
        return after
      })
      const { operatorSettings } = limb.record
      const { heartbeatSeconds, timeoutSeconds } = intervalsOf(settings, limb.record)
      const area = operatorSettings?.area
      return {
        nodeId,
        presence: presenceRuleOf(limb.record).mode,
        heartbeatSeconds,
        timeoutSeconds,
        ...(area === undefined ? {} : { area }),
      }
    },

    async 'node/describe'({ nodeId, description }, caller) {
      const detail = { cleared: description === null }
      const limb = await change(nodeId, caller, 'node.described', detail, (node) => ({
        ...node,
        operatorDescription: description,
      }))
      return shownDescription(limb.record)
    },

    async 'node/thing'({ nodeId }) {
      return thingOf(registry.require(nodeId).record, topics)
    },
  }
}

/** `null` takes a setting back; what is not named stays. */
function mergedSettings(
  before: OperatorSettings | null,
  wish: Omit<VerbArgs<'node/set'>, 'nodeId'>,
): OperatorSettings | null {
  const entries = Object.entries({ ...before, ...wish }).filter(
    ([, value]) => value !== null && value !== undefined,
  )
  return entries.length === 0 ? null : (Object.fromEntries(entries) as OperatorSettings)
}

/** A limb without a server would never answer. */
function refuseUnprobed(node: NodeRecord, { presence }: Omit<VerbArgs<'node/set'>, 'nodeId'>): void {
  if (presenceModeOf(presence) !== 'probe' || node.endpointUrl !== null) return
  throw new Refusal(
    'invalid_request',
    `presence: ${node.nodeId} has registered no endpointUrl, so there is nothing to probe; choose another mode, or let it register one`,
    'presence',
  )
}

/** A limb that is given up before its next heartbeat is due would never be there. */
function refuseUnreachable(node: NodeRecord, settings: BridgeContext['settings']): void {
  const wanted = node.operatorSettings?.timeoutSeconds
  const { heartbeatSeconds } = intervalsOf(settings, node)
  if (wanted === undefined || wanted > heartbeatSeconds) return
  throw new Refusal(
    'invalid_request',
    `timeoutSeconds: must be more than the heartbeat interval, which is ${heartbeatSeconds} s`,
    'timeoutSeconds',
  )
}
