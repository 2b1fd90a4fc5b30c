import { messageOf } from '../../kernel/errors.ts'
import type { BridgeContext } from '../settings.ts'

/**
 * Writes to the bridge's log where the audit log ends: hashes outside the database, which whoever cuts the audit log's
 * end, or writes a new one, would have to change too. Total: a log line is no reason to fail.
 */
export async function logAuditEnd({ store, log }: Pick<BridgeContext, 'store' | 'log'>): Promise<void> {
  try {
    await store.settled()
    const ends = (await store.auditEnds()).map((end) => ({
      ...end,
      hash: Buffer.from(end.hash).toString('hex'),
    }))
    const decisions = ends.find((end) => end.log === 'decisions')
    if (!decisions) return
    const { seq, hash } = decisions
    const rows = ends.reduce((sum, end) => sum + end.rows, 0)
    const others = ends.filter((end) => end !== decisions)
    log.info({ rows, seq, hash, others }, `audit log: ${rows} rows; decisions up to seq ${seq}, hash ${hash}`)
  } catch (error) {
    log.warn({ error: messageOf(error) }, 'the end of the audit log could not be read')
  }
}
