import { LIMITS } from '../../protocol/limits.ts'
import type { Announcer } from '../live/announcer.ts'
import { pageInMemory } from '../live/pages.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import type { Pairings } from '../pairing/pairings.ts'
import type { WindowKeeper } from '../pairing/window.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbHandlersOf } from '../verb-context.ts'

/** The verbs about requests to be paired. */
export function pairingHandlers(
  { counters }: BridgeContext,
  parts: { pending: PendingPairingRequests; pairings: Pairings; window: WindowKeeper; announcer: Announcer },
): VerbHandlersOf<'pairing'> {
  const { pending, pairings, window, announcer } = parts
  return {
    'pairing/list': async ({ limit = LIMITS.listDefault, after = '' }) => {
      const { items, next } = pageInMemory({
        source: [...pending.values()]
          .filter((request) => request.requestId > after)
          .sort((a, b) => (a.requestId < b.requestId ? -1 : 1)),
        limit,
        keyOf: (request) => request.requestId,
        show: (request) => pending.show(request),
      })
      return { items: [...items], ...(next === undefined ? {} : { next }) }
    },
    'pairing/approve': async ({ requestId, revision }, caller) => {
      const node = await pairings.approve(requestId, revision, caller.name)
      counters.count('pairing_decisions', 'approved')
      return { nodeId: node.nodeId, requestId }
    },
    'pairing/reject': async ({ requestId }, caller) => {
      const request = await pairings.reject(requestId, caller.name)
      counters.count('pairing_decisions', 'rejected')
      return { nodeId: request.nodeId, requestId }
    },
    'pairing/permit': async ({ seconds, max, nodeId }, caller) => {
      await window.permit(seconds, max ?? null, nodeId ?? null, caller.name)
      return { pairingWindow: announcer.info().pairingWindow ?? null }
    },
  }
}
