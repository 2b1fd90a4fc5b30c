import { beats, type PolicyDecision } from '../../domain/policy.ts'
import type { PolicyRecord } from '../../domain/records.ts'
import { Refusal } from '../../kernel/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Capability } from '../../protocol/schemas.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { Registry } from '../live/registry.ts'
import type { Page, ReadTx } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { Policies } from './policies.ts'

interface Parts {
  readonly registry: Registry
  readonly policies: Policies
  readonly announcer: Announcer
  /** Does what follows from a change, for leases and invocations. */
  readonly look: (at: { principal: string; nodeId: string }) => Promise<void>
}

/** An entry that was just stored, and what its author may not know of it. */
export interface StoredPolicy {
  readonly policy: PolicyRecord
  /** Narrower entries that are looser: the first of them. */
  readonly beatenBy: readonly PolicyRecord[]
  readonly warnings: readonly string[]
}

/** A capability that a principal may use, and why. */
export interface UsableCapability {
  readonly nodeId: string
  readonly capability: string
  readonly decision: PolicyDecision
}

/** Operators set and delete the entries of the policy, and ask what holds. */
export class PolicyEntries {
  readonly #context: BridgeContext
  readonly #parts: Parts

  constructor(context: BridgeContext, parts: Parts) {
    this.#context = context
    this.#parts = parts
  }

  page({ limit, after, principal, nodeId }: VerbArgs<'policy/list'>): Promise<Page<PolicyRecord>> {
    return this.#context.store.read((tx) =>
      tx.policies({ principal, nodeId }, after, limit ?? LIMITS.listDefault),
    )
  }

  async set(args: VerbArgs<'policy/set'>, by: string): Promise<StoredPolicy> {
    const { clock, store, log } = this.#context
    const policy: PolicyRecord = { ...args, setAt: clock.wallMs(), setBy: by }
    await store.transact(async (tx) => {
      await tx.putPolicy(policy)
      await tx.audit(
        audit(this.#context, 'policy.set', {
          actor: by,
          nodeId: args.nodeId === '*' ? undefined : args.nodeId,
          outcome: args.level,
          detail: { ...args },
        }),
      )
    })
    await this.#changed(args)
    const { level: policyLevel, ...about } = args
    log.info({ ...about, policyLevel, by }, 'a policy is set')
    this.#parts.announcer.eventSoon('policy_set', { ...args, by })
    return { policy, ...(await this.#remarks(policy)) }
  }

  /** @throws Refusal `not_found` */
  async delete(args: VerbArgs<'policy/delete'>, by: string): Promise<void> {
    const { store, log } = this.#context
    await store.transact(async (tx) => {
      const existed = await tx.deletePolicy(args.principal, args.nodeId, args.capability)
      if (!existed) throw new Refusal('not_found', 'there is no such policy; see policy/list')
      await tx.audit(
        audit(this.#context, 'policy.deleted', {
          actor: by,
          nodeId: args.nodeId === '*' ? undefined : args.nodeId,
          outcome: 'deleted',
          detail: { ...args },
        }),
      )
    })
    await this.#changed(args)
    log.info({ ...args, by }, 'a policy is deleted')
    this.#parts.announcer.eventSoon('policy_deleted', { ...args, by })
  }

  /** Decides about one capability of one limb. @throws Refusal `not_found` */
  explain(principal: string, nodeId: string, capability: string): Promise<PolicyDecision> {
    const { registry, policies } = this.#parts
    const limb = registry.require(nodeId)
    const held = limb.record.capabilities.find((entry) => entry.cap === capability)
    return policies.decide(principal, nodeId, capability, held)
  }

  /** Everything that the policy does not deny to the principal, in the order of limbs and capabilities. @throws Refusal `not_found` */
  async usable({
    principal,
    nodeId,
    capability,
    limit,
    after,
  }: VerbArgs<'policy/explain'>): Promise<Page<UsableCapability>> {
    const { registry, policies } = this.#parts
    if (nodeId !== undefined) registry.require(nodeId)
    const items: UsableCapability[] = []
    const max = limit ?? LIMITS.listDefault
    let last = after ?? ''
    let looked = 0
    for (const { id, held } of heldAfter(registry, nodeId, last)) {
      if (looked >= MAX_LOOKED_AT) return { items, next: last }
      looked += LOOK
      if (held.length === 0) last = `${id}/`
      for (const entry of held) {
        if (looked >= MAX_LOOKED_AT) return { items, next: last }
        const isAsked = capability === undefined || entry.cap === capability
        if (isAsked && policies.decideNow(principal, id, entry) === undefined) looked += READ
        const decision = isAsked ? await policies.decide(principal, id, entry.cap, entry) : undefined
        const isUsable = decision !== undefined && decision.level !== 'denied'
        if (isUsable && items.length === max) return { items, next: last }
        if (isUsable) items.push({ nodeId: id, capability: entry.cap, decision })
        last = `${id}/${entry.cap}`
        looked += LOOK
      }
    }
    return { items, next: undefined }
  }

  async #changed(at: { principal: string; nodeId: string; capability: string }): Promise<void> {
    this.#parts.policies.changed(at)
    await this.#parts.look(at)
  }

  /** Says what the operator may not know of the entry that was just stored. */
  async #remarks(policy: PolicyRecord): Promise<Omit<StoredPolicy, 'policy'>> {
    const found = await this.#context.store.read((tx) => looserThan(tx, policy))
    const warnings = [
      ...(found.beating.length > 0 ? [beatenText(policy, found.beating)] : []),
      ...(found.whole ? [] : ['not every entry was looked at; policy/explain says what holds']),
      ...(await this.#unknownNames(policy)),
    ]
    return { beatenBy: found.beating, warnings }
  }

  async #unknownNames({ principal, nodeId, capability }: PolicyRecord): Promise<string[]> {
    const { registry } = this.#parts
    const nobody =
      principal !== '*' && (await this.#context.store.read((tx) => tx.principal(principal))) === null
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
}

/** The work of one page about what a principal can use, in looks at a limb or a capability; a decision that is read costs more. */
const MAX_LOOKED_AT = 5000
const LOOK = 1
const READ = 10

interface Held {
  readonly id: string
  readonly held: readonly Capability[]
}

/** Yields the capabilities of one limb, or of all, in their order: those behind `after`, which is a limb and a capability. */
function* heldAfter(registry: Registry, nodeId: string | undefined, after: string): Iterable<Held> {
  const [afterNode = '', afterCap = ''] = after.split('/')
  const ids = function* () {
    if (registry.get(afterNode)) yield afterNode
    yield* registry.idsAfter(afterNode)
  }
  for (const id of nodeId === undefined ? ids() : [nodeId]) {
    if (id < afterNode) continue
    const held = (registry.get(id)?.record.capabilities ?? []).filter(
      ({ cap }) => id !== afterNode || cap > afterCap,
    )
    yield { id, held: held.sort((a, b) => (a.cap < b.cap ? -1 : 1)) }
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
  let after: string | undefined
  // Those that name a limb win over all that do not: only entries of the same limb can beat one that names it.
  const filter = policy.nodeId === '*' ? {} : { nodeId: policy.nodeId }
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const page: Page<PolicyRecord> = await tx.policies(filter, after, LIMITS.listMax)
    beating.push(...page.items.filter((entry) => beats(entry, policy)).slice(0, MAX_SHOWN - beating.length))
    if (page.next === undefined) return { beating, whole: true }
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
