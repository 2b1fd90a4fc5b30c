import { type HistoryRow, onlineMs, percentOf, type StatusChange } from '../../domain/history.ts'
import { iso } from '../../kernel/clock.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import type { SteadyClock, SteadyMs } from '../../kernel/steady-clock.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { VerbResult } from '../../protocol/results.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import type { LiveLimb, Registry } from '../live/registry.ts'
import type { BridgeContext } from '../settings.ts'

/** Changes in one write, so that no write stalls the event loop. */
const SAVE_BATCH = 2000
/** Changes that wait while the store is broken; beyond, the older half is given up. */
const MAX_WAITING = 100_000
/** The time that `node/history` looks back unless it is asked for another. */
const DEFAULT_WINDOW_MS = 30 * 86_400_000
const DAY_MS = 86_400_000

/**
 * Keeps when each limb came and went. Nothing of it is on the way of a heartbeat: a change waits in memory for the
 * next batch, and a crash loses at most `presence.saveSeconds` of it.
 */
export class History {
  readonly #context: BridgeContext
  readonly #registry: Registry
  #waiting: StatusChange[] = []
  #saving: Promise<void> | undefined
  #cancelSave: (() => void) | undefined
  #stopped = false
  /** The time since which history is kept. */
  #since: SteadyMs

  constructor(context: BridgeContext, registry: Registry) {
    this.#context = context
    this.#registry = registry
    this.#since = context.running.steady.now()
  }

  /**
   * Takes up the history before anything is recorded. A full disk keeps no bridge from starting: then history begins
   * now.
   */
  async resume(): Promise<void> {
    const { store, running, log } = this.#context
    try {
      this.#since = (await store.resumeHistory(running.steady.now())) as SteadyMs
    } catch (error) {
      log.debug({ error: messageOf(error) }, 'the presence history was not resumed')
    }
  }

  /** A limb that was offline is not any more, or the other way round. */
  record(limb: LiveLimb): void {
    this.#waiting.push({
      nodeId: limb.record.nodeId,
      at: limb.since,
      status: limb.status === 'offline' ? 'offline' : 'online',
      reason: limb.reason,
    })
    if (this.#waiting.length > MAX_WAITING) {
      this.#waiting.splice(0, MAX_WAITING / 2)
      this.#context.log.warn(
        { lost: MAX_WAITING / 2 },
        'presence history is lost: it could not be stored for too long',
      )
    }
    this.#saveLater()
  }

  /** Stores what waits. A failure keeps it for the next time. */
  async save(): Promise<void> {
    this.#cancelSave?.()
    this.#cancelSave = undefined
    this.#saving ??= this.#saveAll().finally(() => {
      this.#saving = undefined
    })
    await this.#saving
  }

  /** The last words. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.save()
    await this.save()
  }

  async #saveAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, SAVE_BATCH)
      try {
        await this.#context.store.saveHistory(batch)
      } catch (error) {
        // A store that is unavailable has said so itself; anything else is a bug that must not hide.
        const { log } = this.#context
        const level = error instanceof Refusal ? 'debug' : 'error'
        log[level]({ error: messageOf(error) }, 'presence history not stored, trying again later')
        this.#waiting = [...batch, ...this.#waiting]
        this.#saveLater()
        return
      }
    }
  }

  #saveLater(): void {
    if (this.#stopped) return
    const { clock, settings } = this.#context
    this.#cancelSave ??= clock.after(settings.presence.saveSeconds * 1000, () => {
      this.#cancelSave = undefined
      void this.save()
    })
  }

  /** `node/history`: the newest changes first, and how much of the time since then the limb was online. */
  async of(args: VerbArgs<'node/history'>): Promise<VerbResult<'node/history'>> {
    const limb = this.#registry.require(args.nodeId)
    const after = cursorOf(args.after)
    await this.save()
    const stored = await this.#context.store.history(args.nodeId)
    // What a broken store has not taken yet.
    const waiting = this.#waiting.filter((change) => change.nodeId === args.nodeId)
    const { from, until } = this.#window(limb, args.since, stored)
    const online = onlineMs([...stored, ...waiting], from, until, limb.status !== 'offline')
    const items = [
      ...stored.filter((row) => after === undefined || row.seq < after),
      ...(after === undefined ? waiting : []),
    ]
      .filter((change) => change.at >= from)
      .reverse()
    const limit = args.limit ?? LIMITS.listDefault
    const page = items.slice(0, limit)
    const last = page.findLast((item): item is HistoryRow => 'seq' in item)
    const shown = (at: number) => iso(this.#context.running.steady.wallMs(at as SteadyMs))
    const uptimePercent = percentOf(online, until - from)
    return {
      nodeId: args.nodeId,
      since: shown(from),
      until: shown(until),
      onlineSeconds: Math.round(online / 1000),
      ...(uptimePercent === undefined ? {} : { uptimePercent }),
      items: page.map(({ at, status, reason }) => ({ at: shown(at), status, reason })),
      ...(items.length > limit && last !== undefined ? { next: String(last.seq) } : {}),
    }
  }

  /** Returns the window that was asked for, but not from before anything was kept of this limb. */
  #window(
    limb: LiveLimb,
    asked: string | undefined,
    stored: readonly HistoryRow[],
  ): { from: number; until: number } {
    const { running, settings } = this.#context
    const { steady } = running
    const until = steady.now()
    const kept = until - settings.retention.historyDays * DAY_MS
    const full = stored.length >= LIMITS.historyRowsPerNode ? (stored[0]?.at ?? 0) : 0
    const wanted = asked === undefined ? until - DEFAULT_WINDOW_MS : steady.ofWall(Date.parse(asked))
    const from = Math.max(wanted, this.#since, approvedAt(limb, steady), kept, full)
    return { from: Math.min(from, until), until }
  }
}

/** An approval is stored by the wall clock, which may have leapt since; of what it can mean, the later time. */
function approvedAt({ record }: LiveLimb, steady: SteadyClock): number {
  const { approvedAt: at } = record
  return Math.max(...[at, steady.ofWall(at)].filter((each) => each <= steady.now()), 0)
}

function cursorOf(after: string | undefined): number | undefined {
  if (after === undefined) return undefined
  const seq = Number(after)
  if (Number.isSafeInteger(seq) && seq > 0) return seq
  throw new Refusal('invalid_request', 'give the `next` of the page before', 'after')
}
