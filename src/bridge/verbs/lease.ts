import { LIMITS } from '../../protocol/limits.ts'
import type { Leases } from '../access/leases.ts'
import type { Leasing } from '../access/leasing.ts'
import type { VerbHandlersOf } from '../verb-context.ts'

interface Parts {
  readonly leases: Leases
  readonly leasing: Leasing
}

/** The verbs about leases. */
export function leaseHandlers({ leases, leasing }: Parts): VerbHandlersOf<'lease'> {
  return {
    async 'lease/acquire'(args, caller) {
      const { lease, warning } = await leasing.acquire(args, caller)
      return { ...leases.show(lease), ...(warning === undefined ? {} : { warning }) }
    },

    async 'lease/renew'(args, caller) {
      return leases.show(await leasing.renew(args, caller))
    },

    async 'lease/release'({ leaseId }, caller) {
      await leasing.release(leaseId, caller)
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
