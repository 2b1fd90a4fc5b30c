import { messageOf } from '../../kernel/errors.ts'
import type { BridgeContext } from '../settings.ts'

/**
 * Tells in the bridge's log where the audit log ends: a hash outside the database, which whoever cuts the audit log's
 * end, or writes a new one, would have to change too. Total: a log line is no reason to fail.
 */
export async function logAuditEnd({ store, log }: Pick<BridgeContext, 'store' | 'log'>): Promise<void> {
  try {
    await store.settled()
    const [first, last] = await store.read(async (tx) => [
      (await tx.auditRows({}, 'oldest', null, 1)).items[0],
      (await tx.auditRows({}, 'newest', null, 1)).items[0],
    ])
    if (!first || !last) return
    const rows = last.seq - first.seq + 1
    const hash = Buffer.from(last.hash).toString('hex')
    log.info({ rows, seq: last.seq, hash }, `audit log: ${rows} rows up to seq ${last.seq}, hash ${hash}`)
  } catch (error) {
    log.warn({ error: messageOf(error) }, 'the end of the audit log could not be read')
  }
}
