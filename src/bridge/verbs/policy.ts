import type { PolicyDecision } from '../../domain/policy.ts'
import type { PolicyRecord } from '../../domain/records.ts'
import { iso } from '../../kernel/clock.ts'
import type { PolicyEntries } from '../access/policy-entries.ts'
import type { VerbHandlersOf } from '../verb-context.ts'

/** The verbs about who may use what how freely. */
export function policyHandlers(entries: PolicyEntries): VerbHandlersOf<'policy'> {
  return {
    async 'policy/list'(args) {
      const page = await entries.page(args)
      return { items: page.items.map(show), ...(page.next === undefined ? {} : { next: page.next }) }
    },

    async 'policy/set'(args, caller) {
      const { policy, beatenBy, warnings } = await entries.set(args, caller.name)
      return {
        ...show(policy),
        ...(beatenBy.length > 0 ? { beatenBy: beatenBy.map(show) } : {}),
        ...(warnings.length > 0 ? { warnings: [...warnings] } : {}),
      }
    },

    async 'policy/delete'(args, caller) {
      await entries.delete(args, caller.name)
      return args
    },

    async 'policy/explain'(args) {
      const { principal, nodeId, capability } = args
      if (nodeId !== undefined && capability !== undefined)
        return explained(await entries.explain(principal, nodeId, capability))
      const { items, next } = await entries.usable(args)
      return {
        items: items.map(({ decision, ...place }) => ({ ...place, ...explained(decision) })),
        ...(next === undefined ? {} : { next }),
      }
    },
  }
}

function explained(decision: PolicyDecision) {
  return {
    level: decision.level,
    decidedBy: decision.decidedBy,
    ...(decision.decidedBy === 'policy' ? { entry: show(decision.entry) } : {}),
    ...(decision.raisedFrom === undefined ? {} : { raisedFrom: decision.raisedFrom }),
  }
}

function show(policy: PolicyRecord) {
  const { principal, nodeId, capability, level, setBy } = policy
  return { principal, nodeId, capability, level, setAt: iso(policy.setAt), setBy }
}
