import { iso } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { PendingApprovals } from '../invocation/approvals.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbHandlers } from '../verb-context.ts'

export function healthHandlers(
  world: BridgeContext,
  { pending, approvals }: { pending: PendingPairingRequests; approvals: PendingApprovals },
): Pick<VerbHandlers, 'bridge/health'> {
  return {
    async 'bridge/health'(_args, { name, role }) {
      const { ready, reasons, uplinks, warnings } = world.health()
      return {
        ready,
        reasons: [...reasons],
        warnings: [...warnings],
        pendingRequests: pending.size,
        waitingCalls: approvals.size,
        uplinks: uplinks.map(({ name, connected }) => ({ name, connected })),
        lastBackupAt: await lastBackupAt(world),
        you: { name, role },
      }
    },
  }
}

/** Asked most when the disk is in trouble: a folder that cannot be read must not take the rest of the answer along. */
async function lastBackupAt({ backups, log }: BridgeContext): Promise<string | null> {
  try {
    const at = await backups.newestAt()
    return at === null ? null : iso(at)
  } catch (error) {
    log.debug({ error: messageOf(error) }, 'the folder of the backups cannot be read')
    return null
  }
}
