import { iso } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { auditKindHint, matchesAuditKind } from '../../protocol/audit-kinds.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import type { AuditPair } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbHandlersOf } from '../verb-context.ts'

/** The verbs about what was decided. */
export function auditHandlers({ store }: BridgeContext): VerbHandlersOf<'audit'> {
  return {
    async 'audit/list'({ limit, after, order, actor, nodeId, kind, since, until }) {
      checkKind(kind)
      await store.settled()
      const filter = {
        actor,
        nodeId,
        kind,
        since: since === undefined ? undefined : Date.parse(since),
        until: until === undefined ? undefined : Date.parse(until),
      }
      const page = await store.read((tx) =>
        tx.auditRows(filter, order ?? 'newest', after, limit ?? LIMITS.listDefault),
      )
      const items = page.items.map((row) => ({
        seq: row.seq,
        at: iso(row.at),
        actor: row.actor,
        kind: row.kind,
        ...(row.nodeId === null ? {} : { nodeId: row.nodeId }),
        outcome: row.outcome,
        detail: row.detail,
        hash: hex(row.hash),
      }))
      return { items, ...(page.next === undefined ? {} : { next: page.next }) }
    },

    async 'audit/verify'(args) {
      const known = pairOf(args)
      await store.settled()
      const { lastHash, ends, ...verdict } = await store.verifyAudit(known)
      return {
        ...verdict,
        ...(lastHash === undefined ? {} : { lastHash: hex(lastHash) }),
        ends: ends.map((end) => ({ ...end, hash: hex(end.hash) })),
      }
    },
  }
}

/** A slip would otherwise look like a log in which nothing happened. */
function checkKind(kind: string | undefined): void {
  if (kind === undefined || matchesAuditKind(kind)) return
  const message = `kind: no row is ever of the kind ${JSON.stringify(kind)}; ${auditKindHint(kind)}`
  throw new Refusal('invalid_request', message, 'kind')
}

function pairOf({ seq, hash }: VerbArgs<'audit/verify'>): AuditPair | undefined {
  if (seq === undefined && hash === undefined) return undefined
  if (seq !== undefined && hash !== undefined) return { seq, hash: Buffer.from(hash, 'hex') }
  const missing = seq === undefined ? 'seq' : 'hash'
  throw new Refusal('invalid_request', `${missing}: give seq and hash of one row together`, missing)
}

function hex(hash: Uint8Array): string {
  return Buffer.from(hash).toString('hex')
}
