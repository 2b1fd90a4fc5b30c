import { messageOf, Refusal } from '../../kernel/errors.ts'
import { newId } from '../../kernel/secrets.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { roleReaches } from '../../protocol/names.ts'
import { type LeaseRights, mayLease } from '../access/lease-rights.ts'
import type { Leases } from '../access/leases.ts'
import { audit } from '../audit.ts'
import type { Registry } from '../live/registry.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbCaller, VerbHandlersOf } from '../verb-context.ts'

/** The verbs about leases. */
export function leaseHandlers(
  world: BridgeContext,
  registry: Registry,
  rights: LeaseRights,
  leases: Leases,
): VerbHandlersOf<'lease'> {
  const ttlMs = (seconds: number | undefined) => (seconds ?? world.settings.lease.ttlSeconds) * 1000

  /** A gated invocation is somebody else's decision. */
  async function checkAllowed(caller: VerbCaller, nodeId: string, capability: string): Promise<void> {
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
  async function freeWarning(
    caller: VerbCaller,
    nodeId: string,
    capability: string,
  ): Promise<string | undefined> {
    const entry = registry.get(nodeId)?.record.capabilities.find(({ cap }) => cap === capability)
    const { level } = await rights.decide(caller.name, nodeId, capability)
    if (level !== 'free' && entry?.authLevel !== 'free') return undefined
    return `${capability} of ${nodeId} is free: this lease keeps nobody out whose level is free; policy/set makes it leased`
  }

  /** A lease that somebody does not get is on record as one that somebody gets. */
  async function orRefused<T>(
    caller: VerbCaller,
    { nodeId, capability }: { nodeId: string; capability: string },
    take: () => Promise<T>,
  ): Promise<T> {
    try {
      return await take()
    } catch (error) {
      if (error instanceof Refusal && !NO_DECISION.has(error.code)) {
        const { store, log } = world
        const message = error.message.slice(0, LIMITS.reasonChars)
        const refused = audit(world, 'lease.refused', {
          actor: caller.name,
          nodeId,
          outcome: error.code,
          detail: { capability, message },
        })
        store
          .recordInvocation(null, refused)
          .catch((cause: unknown) =>
            log.warn({ ...refused, error: messageOf(cause) }, 'a refused lease is not in the audit log'),
          )
      }
      throw error
    }
  }

  return {
    'lease/acquire': ({ nodeId, capability, ttlSeconds, waitSeconds = 0 }, caller) =>
      orRefused(caller, { nodeId, capability }, async () => {
        await checkAllowed(caller, nodeId, capability)
        const wish = {
          leaseId: newId('ls_'),
          nodeId,
          capability,
          principal: caller.name,
          single: false,
          ttlMs: ttlMs(ttlSeconds),
        }
        const { held, queued } = leases.take(wish, waitSeconds * 1000, caller.alive)
        const { lease } = await held
        if (queued) {
          try {
            await checkAllowed(caller, nodeId, capability)
          } catch (error) {
            await leases.release(lease, 'bridge')
            throw error
          }
        }
        const warning = await freeWarning(caller, nodeId, capability)
        return { ...leases.show(lease), ...(warning === undefined ? {} : { warning }) }
      }),

    async 'lease/renew'({ leaseId, ttlSeconds }, caller) {
      const lease = leases.get(leaseId)
      if (!lease || lease.wish.principal !== caller.name || lease.wish.single) throw noLease()
      await orRefused(caller, lease.wish, () =>
        checkAllowed(caller, lease.wish.nodeId, lease.wish.capability),
      )
      if (!(await leases.renew(lease, ttlMs(ttlSeconds), caller.name))) throw noLease()
      return leases.show(lease)
    },

    async 'lease/release'({ leaseId }, caller) {
      const lease = leases.get(leaseId)
      const own = lease?.wish.principal === caller.name
      if (!lease || lease.wish.single || !(own || roleReaches(caller.role, 'operator'))) throw noLease()
      await leases.release(lease, caller.name)
      return { leaseId }
    },

    async 'lease/list'({ limit = LIMITS.listDefault, after = '', principal, nodeId }) {
      const all = [...leases.values()]
        .filter(({ wish }) => wish.leaseId > after)
        .filter(({ wish }) => principal === undefined || wish.principal === principal)
        .filter(({ wish }) => nodeId === undefined || wish.nodeId === nodeId)
        .sort((a, b) => (a.wish.leaseId < b.wish.leaseId ? -1 : 1))
      const items = all.slice(0, limit).map((lease) => leases.show(lease))
      const next = items.at(-1)?.leaseId
      return all.length > limit && next !== undefined ? { items, next } : { items }
    },
  }
}

/** The bridge could not decide: it stops, or its disk is full. */
const NO_DECISION: ReadonlySet<string> = new Set(['internal', 'storage_unavailable'])

function noLease(): Refusal {
  return new Refusal(
    'not_found',
    'you have no such lease; it may have ended by itself: acquire it again',
    'leaseId',
  )
}
