import type { Clock, MonotonicMs } from '../../kernel/clock.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { BackupFile, Backups } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { Chore } from './housekeeping.ts'

const HOUR_MS = 3_600_000
/** The time between two looks whether a backup is due; one that failed is tried again after an hour. */
const LOOK_MS = 60_000
const RETRY_MS = HOUR_MS

/** Makes a backup, removes the oldest ones, and records it. That it failed is announced; one that a stop ends has not failed. */
export async function backUp(
  context: BridgeContext,
  announcer: Pick<Announcer, 'event'>,
  by: string,
): Promise<BackupFile> {
  const { log, counters, store, backups } = context
  let made: BackupFile
  try {
    made = await backups.create()
  } catch (error) {
    if (backups.isStopping) {
      log.info({ by }, `no backup: ${messageOf(error)}`)
      throw error
    }
    counters.count('backups', 'failed')
    log.warn({ error: messageOf(error), by }, `no backup: ${messageOf(error)}`)
    // One that was asked for while another is made fails nothing.
    if (!(error instanceof Refusal && error.code === 'conflict'))
      announcer.event('backup_failed', { by, error: messageOf(error) })
    throw error
  }
  counters.count('backups', 'made')
  log.info({ file: made.file, bytes: made.bytes, by }, 'a backup is made and checked')
  // The new one first: a backup that fails takes no older one with it.
  await prune(context).catch((error: unknown) => {
    log.warn({ error: messageOf(error) }, 'old backups were not removed')
  })
  await store
    .transact((tx) =>
      tx.audit(
        audit(context, 'backup.created', { actor: by, detail: { file: made.file, bytes: made.bytes } }),
      ),
    )
    // The backup is there all the same.
    .catch((error: unknown) => log.debug({ error: messageOf(error) }, 'backup not recorded in the audit log'))
  return made
}

/** Removes the oldest ones, and says when that leaves fewer than are to be kept. */
async function prune({ log, backups, settings }: BridgeContext): Promise<void> {
  const { keep, maxBytes } = settings.backup
  const { kept, bytes, beyondBytes } = await backups.prune(keep, maxBytes)
  if (beyondBytes > 0 || bytes > maxBytes)
    log.warn(
      { kept, bytes, removed: beyondBytes },
      `the newest ${kept} of the ${keep} backups of backup.keep are all that backup.maxBytes has room for`,
    )
}

/** The schedule. Each look is cheap; a restart, or a clock that was set, makes no backup come early twice. */
export function backupChore(context: BridgeContext, announcer: Pick<Announcer, 'event'>): Chore {
  const { clock, backups, settings } = context
  let triedAt: MonotonicMs | undefined
  let succeeded = false
  return {
    name: 'make a backup',
    everyMs: LOOK_MS,
    isApart: true,
    async run() {
      const { everyHours } = settings.backup
      if (everyHours === 0) return 'done'
      const everyMs = everyHours * HOUR_MS
      const due =
        triedAt === undefined
          ? await dueAtStart(clock, backups, everyMs)
          : clock.monotonicMs() - triedAt >= (succeeded ? everyMs : Math.min(everyMs, RETRY_MS))
      if (!due) return 'done'
      triedAt = clock.monotonicMs()
      succeeded = false
      try {
        await backUp(context, announcer, 'bridge')
        succeeded = true
      } catch (error) {
        if (!backups.isStopping) throw error
      }
      return 'done'
    },
  }
}

/** Nothing there, an old one, or one from a future that a wrong clock made. */
async function dueAtStart(clock: Clock, backups: Backups, everyMs: number): Promise<boolean> {
  const newest = await backups.newestAt()
  if (newest === undefined) return true
  const age = clock.wallMs() - newest
  return age >= everyMs || age < 0
}
