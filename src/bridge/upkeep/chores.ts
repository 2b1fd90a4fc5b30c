import { messageOf } from '../../kernel/errors.ts'
import type { Announcer } from '../live/announcer.ts'
import type { Registry } from '../live/registry.ts'
import type { Pruned, Upkeep } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import { logAuditEnd } from './audit-mark.ts'
import { backupChore } from './backups.ts'
import type { Chore } from './housekeeping.ts'
import type { Retries } from './retries.ts'

const DAY_MS = 86_400_000
const SECOND_MS = 1000
const MINUTE_MS = 60_000

/** Limbs looked at in one turn. */
const ORPHANS_PER_TURN = 200

interface Kept {
  readonly registry: Registry
  readonly retries: Retries
  readonly tokens: { save(): Promise<void> }
  readonly sessions: { endExpired(now: number): void }
  /** Invocations, audit rows and refused keys: some of the old ones, and of those beyond a number. */
  readonly prune: () => Promise<Pruned>
  readonly announcer: Pick<Announcer, 'event'>
  readonly webhooks: { prune(): Promise<void> }
}

/** Everything that keeps a bridge from growing for years, and what is tried again. */
export function chores(
  context: BridgeContext,
  { registry, retries, tokens, sessions, prune, announcer, webhooks }: Kept,
): readonly Chore[] {
  const { store, settings, upkeep } = context
  const more = (rows: number) => (rows > 0 ? 'more' : 'done')
  return [
    {
      name: 'finish what a full disk interrupted, and end the sessions of tokens whose time is over',
      everyMs: 5 * SECOND_MS,
      async run() {
        sessions.endExpired(context.running.now())
        await retries.retry()
        return 'done'
      },
    },
    {
      name: 'store when tokens were used',
      everyMs: MINUTE_MS,
      async run() {
        await tokens.save()
        return 'done'
      },
    },
    {
      name: 'keep how long the bridge has run',
      everyMs: MINUTE_MS,
      async run() {
        await saveRunning(context)
        return 'done'
      },
    },
    {
      name: 'forget old presence history',
      everyMs: MINUTE_MS,
      async run() {
        const { historyDays, maxHistoryRows } = settings.retention
        return more(await store.pruneHistory(context.running.now() - historyDays * DAY_MS, maxHistoryRows))
      },
    },
    pruneChore(context, prune),
    {
      name: 'forget idle sessions',
      everyMs: 5 * MINUTE_MS,
      async run() {
        return more(await upkeep.sweepSessions())
      },
    },
    {
      name: 'tell where the audit log ends',
      everyMs: DAY_MS,
      // The start has just told it.
      firstMs: DAY_MS,
      async run() {
        await logAuditEnd(context)
        return 'done'
      },
    },
    {
      name: 'give up webhook deliveries whose time is over',
      everyMs: MINUTE_MS,
      async run() {
        await webhooks.prune()
        return 'done'
      },
    },
    orphanChore(context, registry, upkeep),
    {
      name: 'keep the store small and quick',
      everyMs: 30 * SECOND_MS,
      async run() {
        await store.maintain()
        return 'done'
      },
    },
    backupChore(context, announcer),
  ]
}

/**
 * Deletes in short turns, with others between them: a million rows are minutes of work. It waits for a backup, during which
 * all that is deleted is kept in the write-ahead log too.
 */
export function pruneChore(
  { log, backups }: Pick<BridgeContext, 'log' | 'backups'>,
  prune: Kept['prune'],
): Chore {
  let gone = 0
  return {
    name: 'forget old invocations, audit rows and refused keys',
    everyMs: 10 * MINUTE_MS,
    async run() {
      if (backups.isUnderWay) return 'more'
      const { rows, more } = await prune()
      gone += rows
      if (more) return 'more'
      if (gone > 0) log.info({ rows: gone }, 'old rows are gone')
      gone = 0
      return 'done'
    },
  }
}

/** A bridge that is killed loses a minute of it: ends come that much later, never earlier. */
export async function saveRunning({ store, running, log }: BridgeContext): Promise<void> {
  try {
    await store.saveRunningMs(running.now())
  } catch (error) {
    log.debug({ error: messageOf(error) }, 'how long the bridge has run is not stored; trying again later')
  }
}

/**
 * Retained data of limbs that are no more: a bridge that was killed between the revocation and what follows it has
 * forgotten that something was left. Once after the start, and then every day.
 */
function orphanChore({ publisher }: BridgeContext, registry: Registry, upkeep: Upkeep): Chore {
  let after = ''
  return {
    name: 'remove data of limbs that are no more',
    everyMs: DAY_MS,
    firstMs: 10 * SECOND_MS,
    async run() {
      for (let i = 0; i < ORPHANS_PER_TURN; i++) {
        const nodeId = await upkeep.nextWithData(after)
        after = nodeId ?? ''
        if (nodeId === undefined) return 'done'
        if (!registry.get(nodeId)) await publisher.clearRetainedOf(nodeId)
      }
      return 'more'
    },
  }
}
