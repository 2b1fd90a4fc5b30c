import { iso } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { RunningMs } from '../../kernel/running-clock.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { roleReaches } from '../../protocol/names.ts'
import type { VerbResult } from '../../protocol/results.ts'
import type { Announcer } from '../live/announcer.ts'
import { pageInMemory } from '../live/pages.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import type { Pairings } from '../pairing/pairings.ts'
import type { WindowKeeper } from '../pairing/window.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbCaller, VerbHandlersOf } from '../verb-context.ts'

/** The verbs about requests to be paired. */
export function pairingHandlers(
  world: BridgeContext,
  parts: { pending: PendingPairingRequests; pairings: Pairings; window: WindowKeeper; announcer: Announcer },
): VerbHandlersOf<'pairing'> {
  const { counters } = world
  const { pending, pairings, window, announcer } = parts
  return {
    'pairing/list': async ({ limit = LIMITS.listDefault, after = '', state }, caller) => {
      if (state === 'refused') return await refusedOf(world, caller, after, limit)
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
    'pairing/approve': async ({ requestId, revision, ...changes }, caller) => {
      const node = await pairings.approve(requestId, revision, caller.name, changes)
      counters.count('pairing_decisions', 'approved')
      return { nodeId: node.nodeId, requestId }
    },
    'pairing/reject': async ({ requestId }, caller) => {
      const request = await pairings.reject(requestId, caller.name)
      counters.count('pairing_decisions', 'rejected')
      return { nodeId: request.nodeId, requestId }
    },
    'pairing/forgive': async ({ nodeId }, caller) => ({
      nodeId,
      forgiven: await pairings.forgive(nodeId, caller.name),
    }),
    'pairing/permit': async ({ seconds, max, nodeId }, caller) => {
      await window.permit(seconds, max ?? null, nodeId ?? null, caller.name)
      return { pairingWindow: announcer.info().pairingWindow ?? null }
    },
  }
}

/** What somebody tried and was refused is for those who decide. */
async function refusedOf(
  { store, running }: BridgeContext,
  caller: VerbCaller,
  after: string,
  limit: number,
): Promise<VerbResult<'pairing/list'>> {
  if (!roleReaches(caller.role, 'operator')) {
    throw new Refusal('forbidden', 'what is refused is shown to operators', 'state')
  }
  const page = await store.read((tx) => tx.refused(running.now(), after, limit))
  const items = page.items.map(({ nodeId, why, at, until }) => ({
    nodeId,
    why,
    at: iso(at),
    until: iso(running.wallMs(until as RunningMs)),
  }))
  return page.next === null ? { items } : { items, next: page.next }
}
