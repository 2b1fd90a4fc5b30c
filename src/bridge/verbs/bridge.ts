import { iso } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { Approvals } from '../invocation/approvals.ts'
import type { PendingRequests } from '../live/pending.ts'
import type { World } from '../settings.ts'
import type { HandlersOf } from '../verb-context.ts'

/** What the adapters say of themselves; the same readiness that `/readyz` tells. */
export interface Health {
  readonly ready: boolean
  /** Why not, each a sentence; empty when ready. */
  readonly reasons: readonly string[]
  readonly uplinks: readonly { readonly name: string; readonly connected: boolean }[]
}

export function healthHandlers(
  world: World,
  { pending, approvals }: { pending: PendingRequests; approvals: Approvals },
): HandlersOf<'bridge'> {
  return {
    async 'bridge/health'() {
      const { ready, reasons, uplinks } = world.health()
      return {
        ready,
        reasons: [...reasons],
        pendingRequests: pending.size,
        waitingCalls: approvals.size,
        uplinks: uplinks.map(({ name, connected }) => ({ name, connected })),
        lastBackupAt: await lastBackupAt(world),
      }
    },
  }
}

/** Asked most when the disk is in trouble: a folder that cannot be read must not take the rest of the answer along. */
async function lastBackupAt({ backups, log }: World): Promise<string | null> {
  try {
    const at = await backups.newestAt()
    return at === null ? null : iso(at)
  } catch (error) {
    log.debug({ error: messageOf(error) }, 'the folder of the backups cannot be read')
    return null
  }
}
