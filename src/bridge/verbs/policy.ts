import type { PolicyRecord } from '../../domain/records.ts'
import { iso } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Policies } from '../access/policies.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { Registry } from '../live/registry.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbHandlersOf } from '../verb-context.ts'

/** The verbs about who may use what how freely. */
export function policyHandlers(
  world: BridgeContext,
  registry: Registry,
  policies: Policies,
  /** What follows from a change, for leases and calls. */
  look: (at: { principal: string; nodeId: string }) => Promise<void>,
  announcer: Announcer,
): VerbHandlersOf<'policy'> {
  const { clock, store, log } = world

  return {
    async 'policy/list'({ limit, after, principal, nodeId }) {
      const page = await store.read((tx) =>
        tx.policies({ principal, nodeId }, after ?? null, limit ?? LIMITS.listDefault),
      )
      return { items: page.items.map(show), ...(page.next === null ? {} : { next: page.next }) }
    },

    async 'policy/set'(args, caller) {
      const now = clock.wallMs()
      const policy: PolicyRecord = { ...args, setAt: now, setBy: caller.name }
      await store.transact(async (tx) => {
        await tx.putPolicy(policy)
        await tx.audit(
          audit(world, 'policy.set', {
            actor: caller.name,
            nodeId: args.nodeId === '*' ? null : args.nodeId,
            outcome: args.level,
            detail: { ...args },
          }),
        )
      })
      policies.changed(args)
      await look(args)
      const { level: policyLevel, ...about } = args
      log.info({ ...about, policyLevel, by: caller.name }, 'a policy is set')
      announcer.event('policy_set', { ...args, by: caller.name })
      return show(policy)
    },

    async 'policy/delete'(args, caller) {
      await store.transact(async (tx) => {
        const existed = await tx.deletePolicy(args.principal, args.nodeId, args.capability)
        if (!existed) throw new Refusal('not_found', 'there is no such policy; see policy/list')
        await tx.audit(
          audit(world, 'policy.deleted', {
            actor: caller.name,
            nodeId: args.nodeId === '*' ? null : args.nodeId,
            outcome: 'deleted',
            detail: { ...args },
          }),
        )
      })
      policies.changed(args)
      await look(args)
      log.info({ ...args, by: caller.name }, 'a policy is deleted')
      announcer.event('policy_deleted', { ...args, by: caller.name })
      return args
    },

    async 'policy/explain'({ principal, nodeId, capability }) {
      const limb = registry.require(nodeId)
      const held = limb.record.capabilities.find((entry) => entry.cap === capability)
      const decision = await policies.decide(principal, nodeId, capability, held)
      return {
        level: decision.level,
        decidedBy: decision.decidedBy,
        ...(decision.decidedBy === 'policy' ? { entry: show(decision.entry) } : {}),
        ...(decision.raisedFrom === undefined ? {} : { raisedFrom: decision.raisedFrom }),
      }
    },
  }
}

function show(policy: PolicyRecord) {
  const { principal, nodeId, capability, level, setBy } = policy
  return { principal, nodeId, capability, level, setAt: iso(policy.setAt), setBy }
}
