import { iso } from '../kernel/clock.ts'
import { LIMITS } from '../protocol/limits.ts'
import type { World } from './settings.ts'
import type { HandlersOf } from './verb-context.ts'

/** The verbs about what was decided. */
export function auditHandlers({ store }: World): HandlersOf<'audit'> {
  return {
    async 'audit/list'({ limit, after, order, actor, nodeId, kind, since, until }) {
      await store.settled()
      const filter = {
        actor,
        nodeId,
        kind,
        since: since === undefined ? undefined : Date.parse(since),
        until: until === undefined ? undefined : Date.parse(until),
      }
      const page = await store.read((tx) =>
        tx.auditRows(filter, order ?? 'newest', after ?? null, limit ?? LIMITS.listDefault),
      )
      const items = page.items.map((row) => ({
        seq: row.seq,
        at: iso(row.at),
        actor: row.actor,
        kind: row.kind,
        ...(row.nodeId === null ? {} : { nodeId: row.nodeId }),
        outcome: row.outcome,
        detail: row.detail,
        hash: Buffer.from(row.hash).toString('hex'),
      }))
      return { items, ...(page.next === null ? {} : { next: page.next }) }
    },

    async 'audit/verify'() {
      await store.settled()
      return await store.verifyAudit()
    },
  }
}
