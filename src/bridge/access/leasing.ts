import type { Lease } from '../../domain/leases.ts'
import { Refusal } from '../../kernel/errors.ts'
import { newId } from '../../kernel/secrets.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { roleReaches } from '../../protocol/names.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import type { RefusedRequests } from '../live/refused-requests.ts'
import type { Registry } from '../live/registry.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbCaller } from '../verb-context.ts'
import { type LeaseRights, mayLease } from './lease-rights.ts'
import type { Leases } from './leases.ts'

interface Parts {
  readonly registry: Registry
  readonly rights: LeaseRights
  readonly leases: Leases
  readonly refused: RefusedRequests
}

/** A lease that a principal has got by asking for it. */
export interface AcquiredLease {
  readonly lease: Lease
  /** The reason why the lease keeps nobody out; undefined when it does. */
  readonly warning: string | undefined
}

type LeaseSubject = Pick<VerbArgs<'lease/acquire'>, 'nodeId' | 'capability'>

/** The bridge could not decide: it stops, or its disk is full. */
const NO_DECISION: ReadonlySet<string> = new Set(['internal', 'storage_unavailable'])

/** Principals acquire, renew and release leases by name; those of a single invocation are none of theirs. */
export class Leasing {
  readonly #context: BridgeContext
  readonly #parts: Parts

  constructor(context: BridgeContext, parts: Parts) {
    this.#context = context
    this.#parts = parts
  }

  /** @throws Refusal `not_found`, `denied`, and those of `Leases.take`. */
  acquire(wish: VerbArgs<'lease/acquire'>, caller: VerbCaller): Promise<AcquiredLease> {
    return this.#orRecorded(caller, wish, async () => {
      const lease = await this.#take(wish, caller)
      return { lease, warning: await this.#freeWarning(caller, wish) }
    })
  }

  /** @throws Refusal `not_found` when the caller has no such lease, `denied` when it may have it no more. */
  async renew({ leaseId, ttlSeconds }: VerbArgs<'lease/renew'>, caller: VerbCaller): Promise<Lease> {
    const { leases } = this.#parts
    const lease = leases.get(leaseId)
    if (!lease || lease.wish.principal !== caller.name || lease.wish.single) throw noLease()
    await this.#orRecorded(caller, lease.wish, () => this.#refuseForbidden(caller, lease.wish))
    if (!(await leases.renew(lease, this.#ttlMs(ttlSeconds), caller.name))) throw noLease()
    return lease
  }

  /** @throws Refusal `not_found` when the lease is neither the caller's, nor the caller an operator. */
  async release(leaseId: string, caller: VerbCaller): Promise<void> {
    const { leases } = this.#parts
    const lease = leases.get(leaseId)
    const own = lease?.wish.principal === caller.name
    if (!lease || lease.wish.single || !(own || roleReaches(caller.role, 'operator'))) throw noLease()
    await leases.release(lease, caller.name)
  }

  #ttlMs(seconds: number | undefined): number {
    return (seconds ?? this.#context.settings.lease.ttlSeconds) * 1000
  }

  async #take(wish: VerbArgs<'lease/acquire'>, caller: VerbCaller): Promise<Lease> {
    const { leases } = this.#parts
    const { nodeId, capability, ttlSeconds, waitSeconds = 0 } = wish
    await this.#refuseForbidden(caller, wish)
    const wanted = {
      leaseId: newId('ls_'),
      nodeId,
      capability,
      principal: caller.name,
      single: false,
      ttlMs: this.#ttlMs(ttlSeconds),
    }
    const { held, queued } = leases.take(wanted, waitSeconds * 1000, caller.alive)
    const { lease } = await held
    if (!queued) return lease
    try {
      // The policy may have changed during the wait.
      await this.#refuseForbidden(caller, wish)
    } catch (error) {
      await leases.release(lease, 'bridge')
      throw error
    }
    return lease
  }

  /** A gated invocation is somebody else's decision. */
  async #refuseForbidden(caller: VerbCaller, { nodeId, capability }: LeaseSubject): Promise<void> {
    const { registry, rights } = this.#parts
    const limb = registry.require(nodeId)
    if (!limb.record.capabilities.some((entry) => entry.cap === capability)) {
      throw new Refusal('not_found', `${nodeId} has no approved capability ${capability}`, 'capability')
    }
    const { level } = await rights.decide(caller.name, nodeId, capability)
    if (mayLease(level)) return
    throw new Refusal(
      'denied',
      level === 'gated'
        ? `every invocation of ${capability} by ${caller.name} is approved by an operator, so there is nothing to lease; just invoke`
        : `the policy denies ${capability} of ${nodeId} to ${caller.name}; policy/explain says which entry does`,
    )
  }

  /** A lease of what others may use freely looks like a lock, and is none. */
  async #freeWarning(caller: VerbCaller, { nodeId, capability }: LeaseSubject): Promise<string | undefined> {
    const { registry, rights } = this.#parts
    const entry = registry.get(nodeId)?.record.capabilities.find(({ cap }) => cap === capability)
    const { level } = await rights.decide(caller.name, nodeId, capability)
    if (level !== 'free' && entry?.authLevel !== 'free') return undefined
    return `${capability} of ${nodeId} is free: this lease keeps nobody out whose level is free; policy/set makes it leased`
  }

  /** A lease that somebody does not get is on record as one that somebody gets. */
  async #orRecorded<T>(caller: VerbCaller, subject: LeaseSubject, take: () => Promise<T>): Promise<T> {
    try {
      return await take()
    } catch (error) {
      if (error instanceof Refusal && !NO_DECISION.has(error.code)) this.#record(caller, subject, error)
      throw error
    }
  }

  /** Refusals cost a principal nothing: their rows have a pace, so that nobody pushes others out of the audit log. */
  #record(caller: VerbCaller, { nodeId, capability }: LeaseSubject, refusal: Refusal): void {
    const message = refusal.message.slice(0, LIMITS.reasonChars)
    this.#parts.refused.record({
      principal: caller.name,
      what: `${refusal.code} ${nodeId} ${capability}`,
      row: { kind: 'lease.refused', nodeId, outcome: refusal.code, detail: { capability, message } },
    })
  }
}

function noLease(): Refusal {
  return new Refusal(
    'not_found',
    'you have no such lease; it may have ended by itself: acquire it again',
    'leaseId',
  )
}
