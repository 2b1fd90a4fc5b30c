import { iso } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { LOG_LEVELS } from '../../protocol/names.ts'
import type { VerbResult } from '../../protocol/results.ts'
import type { PendingApprovals } from '../invocation/approvals.ts'
import type { LimbTroubles } from '../live/limb-troubles.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbHandlersOf } from '../verb-context.ts'

type LogItem = VerbResult<'bridge/log'>['items'][number]

/** Is asked what waits, and which limbs are in trouble. */
interface Waiting {
  readonly pending: PendingPairingRequests
  readonly approvals: PendingApprovals
  readonly troubles: LimbTroubles
}

/** Makes the verbs about the bridge itself: its health, its machine, and the newest lines of its log. */
export function bridgeHandlers(
  context: BridgeContext,
  { pending, approvals, troubles }: Waiting,
): VerbHandlersOf<'bridge'> {
  return {
    async 'bridge/health'(_args, { name, role }) {
      const { ready, reasons, uplinks, warnings, lead } = context.health()
      return {
        ready,
        reasons: [...reasons],
        warnings: [...warnings],
        pendingRequests: pending.size,
        waitingCalls: approvals.size,
        uplinks: uplinks.map(({ name, connected }) => ({ name, connected })),
        ...(lead?.since !== undefined && { lead: { name: lead.name, since: iso(lead.since) } }),
        lastBackupAt: await lastBackupAt(context),
        troubles: troubles.lately().map(({ nodeId, kind, at }) => ({ nodeId, kind, at: iso(at) })),
        you: { name, role },
      }
    },

    async 'bridge/doctor'() {
      const checks = await context.system.checks()
      return { items: checks.map(({ what, level, message }) => ({ what, level, message })) }
    },

    async 'bridge/log'({ nodeId, level, limit }) {
      const least = LOG_LEVELS.indexOf(level ?? 'debug')
      const items = context.system
        .logLines()
        .map(itemOf)
        .filter((item) => LOG_LEVELS.indexOf(item.level) >= least)
        .filter(({ fields }) => nodeId === undefined || fields.nodeId === nodeId || fields.name === nodeId)
      return { items: items.slice(-(limit ?? LIMITS.listDefault)).reverse() }
    },
  }
}

function itemOf(line: Readonly<Record<string, unknown>>): LogItem {
  const { time, level, msg, ...fields } = line
  const known = LOG_LEVELS.find((each) => each === level) ?? 'debug'
  return { at: String(time), level: known, message: String(msg), fields }
}

/** Asked most when the disk is in trouble: a folder that cannot be read must not take the rest of the answer along. */
async function lastBackupAt({ backups, log }: BridgeContext): Promise<string | null> {
  try {
    const at = await backups.newestAt()
    return at === undefined ? null : iso(at)
  } catch (error) {
    log.debug({ error: messageOf(error) }, 'the folder of the backups cannot be read')
    return null
  }
}
