import { beats, type PolicyDecision } from '../../domain/policy.ts'
import type { PolicyRecord } from '../../domain/records.ts'
import { iso } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import type { Policies } from '../access/policies.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { Registry } from '../live/registry.ts'
import type { Page, ReadTx } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbHandlersOf } from '../verb-context.ts'

/** The verbs about who may use what how freely. */
export function policyHandlers(
  world: BridgeContext,
  registry: Registry,
  policies: Policies,
  /** Does what follows from a change, for leases and invocations. */
  look: (at: { principal: string; nodeId: string }) => Promise<void>,
  announcer: Announcer,
): VerbHandlersOf<'policy'> {
  const { clock, store, log } = world

  /** Says what the operator may not know of the entry that was just stored. */
  async function remarks(policy: PolicyRecord) {
    const found = await store.read((tx) => looserThan(tx, policy))
    const warnings = [
      ...(found.beating.length > 0 ? [beatenText(policy, found.beating)] : []),
      ...(found.whole ? [] : ['not every entry was looked at; policy/explain says what holds']),
      ...(await unknownNames(policy)),
    ]
    return {
      ...(found.beating.length > 0 ? { beatenBy: found.beating.map(show) } : {}),
      ...(warnings.length > 0 ? { warnings } : {}),
    }
  }

  async function unknownNames({ principal, nodeId, capability }: PolicyRecord): Promise<string[]> {
    const nobody = principal !== '*' && (await store.read((tx) => tx.principal(principal))) === null
    const limb = registry.get(nodeId)
    const [offered] = limb
      ? limb.record.capabilities.filter(({ cap }) => cap === capability)
      : registry.offering(capability)
    const where = limb ? nodeId : 'no approved limb'
    return [
      ...(nobody
        ? [`there is no principal ${principal}; the entry holds if one comes, and on the control socket`]
        : []),
      ...(nodeId !== '*' && !limb
        ? [`there is no approved limb ${nodeId}; the entry holds if one comes`]
        : []),
      ...(capability !== '*' && (limb || nodeId === '*') && !offered
        ? [limb ? `${where} has no capability ${capability}` : `${where} has a capability ${capability}`]
        : []),
    ]
  }

  /** Everything that the policy does not deny to the principal, in the order of limbs and capabilities. */
  async function usable({ principal, nodeId, capability, limit, after }: VerbArgs<'policy/explain'>) {
    const items: ({ nodeId: string; capability: string } & ReturnType<typeof explained>)[] = []
    const [afterNode = '', afterCap = ''] = (after ?? '').split('/')
    const max = limit ?? LIMITS.listDefault
    for (const id of nodeId === undefined ? registry.idsAfter(null) : [nodeId]) {
      if (id < afterNode) continue
      const held = [...(registry.get(id)?.record.capabilities ?? [])].sort((a, b) => (a.cap < b.cap ? -1 : 1))
      for (const entry of held) {
        if (capability !== undefined && entry.cap !== capability) continue
        if (id === afterNode && entry.cap <= afterCap) continue
        const decision = await policies.decide(principal, id, entry.cap, entry)
        if (decision.level === 'denied') continue
        const last = items.at(-1)
        if (items.length === max && last) return { items, next: `${last.nodeId}/${last.capability}` }
        items.push({ nodeId: id, capability: entry.cap, ...explained(decision) })
      }
    }
    return { items }
  }

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
      return { ...show(policy), ...(await remarks(policy)) }
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

    async 'policy/explain'(args) {
      const { principal, nodeId, capability } = args
      if (nodeId === undefined) return usable(args)
      const limb = registry.require(nodeId)
      if (capability === undefined) return usable(args)
      const held = limb.record.capabilities.find((entry) => entry.cap === capability)
      const decision = await policies.decide(principal, nodeId, capability, held)
      return explained(decision)
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

/** Entries that are read to find those that beat one. */
const MAX_PAGES = 5
const MAX_SHOWN = 20

/** The entries that win over `policy` where they hold, and are looser; not `whole` when there were too many to look at. */
async function looserThan(
  tx: ReadTx,
  policy: PolicyRecord,
): Promise<{ beating: PolicyRecord[]; whole: boolean }> {
  const beating: PolicyRecord[] = []
  let after: string | null = null
  // Those that name a limb win over all that do not: only entries of the same limb can beat one that names it.
  const filter = policy.nodeId === '*' ? {} : { nodeId: policy.nodeId }
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const page: Page<PolicyRecord> = await tx.policies(filter, after, LIMITS.listMax)
    beating.push(...page.items.filter((entry) => beats(entry, policy)).slice(0, MAX_SHOWN - beating.length))
    if (page.next === null) return { beating, whole: true }
    if (beating.length >= MAX_SHOWN) return { beating, whole: false }
    after = page.next
  }
  return { beating, whole: false }
}

function beatenText({ level }: PolicyRecord, beating: readonly PolicyRecord[]): string {
  const names = beating
    .slice(0, 3)
    .map((each) => `${each.principal} ${each.nodeId} ${each.capability} ${each.level}`)
  const more = beating.length > 3 ? ` and ${beating.length - 3} more` : ''
  return `${level} does not hold where a narrower entry is looser: ${names.join(', ')}${more}; policy/delete removes one`
}

function show(policy: PolicyRecord) {
  const { principal, nodeId, capability, level, setBy } = policy
  return { principal, nodeId, capability, level, setAt: iso(policy.setAt), setBy }
}
