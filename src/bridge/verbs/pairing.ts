import type { PairingRequestRecord } from '../../domain/records.ts'
import { iso } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { RunningMs } from '../../kernel/running-clock.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { roleReaches } from '../../protocol/names.ts'
import type { VerbResult } from '../../protocol/results.ts'
import type { Announcer } from '../live/announcer.ts'
import { pageInMemory } from '../live/pages.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import type { Registry } from '../live/registry.ts'
import type { Pairings } from '../pairing/pairings.ts'
import type { WindowKeeper } from '../pairing/window.ts'
import type { AuditRow, Page, ReadTx } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbCaller, VerbHandlersOf } from '../verb-context.ts'

/** The verbs about requests to be paired. */
export function pairingHandlers(
  context: BridgeContext,
  parts: {
    registry: Registry
    pending: PendingPairingRequests
    pairings: Pairings
    window: WindowKeeper
    announcer: Announcer
  },
): VerbHandlersOf<'pairing'> {
  const { clock, running, counters, store } = context
  const { registry, pending, pairings, window, announcer } = parts

  /** Says, of a request that is pending no more, what became of it: who decides twice is not lied to. */
  async function known(requestId: string, error: unknown): Promise<never> {
    if (!(error instanceof Refusal) || error.code !== 'not_found') throw error
    const row = await store.read((tx) => decisionOf(tx, requestId))
    if (row === undefined) throw error
    const details = {
      outcome: row.outcome,
      by: row.actor,
      at: iso(row.at),
      ...(row.nodeId === null ? {} : { nodeId: row.nodeId }),
    }
    throw new Refusal('conflict', endText(row, agoText(clock.wallMs() - row.at)), 'requestId', details)
  }

  return {
    'pairing/list': async ({ limit = LIMITS.listDefault, after = '', state }, caller) => {
      if (state === 'refused') return await refusedOf(context, caller, after, limit)
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
    'pairing/approve': async ({ requestId, revision, code, ...changes }, caller) => {
      if (code !== undefined) requireCode(pending.get(requestId), code)
      const node = await pairings
        .approve(requestId, revision, caller.name, changes)
        .catch((error) => known(requestId, error))
      counters.count('pairing_decisions', 'approved')
      const { nodeId } = node
      const status = registry.get(nodeId)?.status
      return { nodeId, requestId, ...(status === undefined ? {} : { status }) }
    },
    'pairing/reject': async ({ requestId }, caller) => {
      const rejected = await pairings.reject(requestId, caller.name).catch((error) => known(requestId, error))
      counters.count('pairing_decisions', 'rejected')
      const refusedUntil = iso(running.wallMs(rejected.until))
      return { nodeId: rejected.request.nodeId, requestId, refusedUntil }
    },
    'pairing/forgive': async ({ nodeId }, caller) => ({
      nodeId,
      forgiven: await pairings.forgive(nodeId, caller.name),
    }),
    'pairing/permit': async ({ seconds, max, nodeId, waiting }, caller) => {
      if (waiting && seconds === 0)
        throw new Refusal('invalid_request', 'closing the window approves nobody; leave it out', 'waiting')
      await window.permit(seconds, max, nodeId, caller.name)
      const approved = waiting ? await pairings.admitWaiting() : undefined
      const pairingWindow = announcer.info().pairingWindow ?? null
      return { pairingWindow, ...(approved === undefined ? {} : { approved }) }
    },
  }
}

/** However it was read aloud. What the right one is, is not told: it has to come from the device. */
function requireCode(request: PairingRequestRecord | undefined, given: string): void {
  if (!request) return
  const code = given.replaceAll(/[\s-]/g, '').toUpperCase()
  if (code === (request.code ?? 'NONE')) return
  throw new Refusal(
    'conflict',
    'this is not the code of the request: look at the device and at the list again; it may be another device',
    'code',
  )
}

/** Shows to those who decide what somebody tried and was refused. */
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
  return page.next === undefined ? { items } : { items, next: page.next }
}

/** The pages of the audit log that are searched for what became of a request. */
const MAX_PAGES = 10
const DECIDED = ['pairing.approved', 'pairing.rejected', 'pairing.expired', 'pairing.withdrawn']

/** The newest row about the end of the request; a log that was pruned, or is long, may know no more. */
async function decisionOf(tx: ReadTx, requestId: string): Promise<AuditRow | undefined> {
  let after: string | undefined
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const page: Page<AuditRow> = await tx.auditRows({ kind: 'pairing.' }, 'newest', after, LIMITS.listMax)
    const found = page.items.find(
      ({ kind, detail }) => DECIDED.includes(kind) && detail.requestId === requestId,
    )
    if (found || page.next === undefined) return found
    after = page.next
  }
  return undefined
}

/** Says how a request ended. */
function endText({ kind, outcome, nodeId, actor }: AuditRow, ago: string): string {
  const ofWhom = nodeId === null ? '' : ` of ${nodeId}`
  if (kind === 'pairing.expired')
    return `this request${ofWhom} expired ${ago}: the device gave no sign of life`
  if (kind === 'pairing.withdrawn') {
    const why =
      actor === nodeId ? 'the limb asks for no more than it has' : `${actor} replaced or revoked the limb`
    return `this request${ofWhom} was withdrawn ${ago}: ${why}`
  }
  const as = nodeId === null ? '' : ` as ${nodeId}`
  return `this request was decided already: ${outcome}${as} by ${actor} ${ago}`
}

function agoText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 120) return `${seconds} s ago`
  const minutes = Math.round(seconds / 60)
  return minutes < 120 ? `${minutes} min ago` : `${Math.round(minutes / 60)} h ago`
}
