import type { InvocationRecord } from '../../domain/invocations.ts'
import type { AuditEntry } from '../../domain/records.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import type { AuditKind } from '../../protocol/audit-kinds.ts'
import { audit } from '../audit.ts'
import { RefusedRequests } from '../live/refused-requests.ts'
import type { OfflineWait, Tx } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { InvokeAnswer } from './open-invocation.ts'

/** Ended invocations of the last so many hours keep their idempotency key. */
export const KEY_MS = 86_400_000

/**
 * The rows of invocations. An invocation without an idempotency key does not wait for its rows: they are committed
 * some milliseconds after it was sent, with those of other invocations, because a commit takes longer than an
 * invocation. When such a commit fails, the next invocations wait for theirs until one succeeds, so that a full disk
 * lets through one turn's invocations at most.
 */
export class InvocationLog {
  readonly #context: BridgeContext
  readonly #refused: RefusedRequests
  readonly #throttle: LogThrottle
  #trusted = true
  /** Rows of many invocations come with one promise. */
  #watching: { readonly stored: Promise<void>; begins: boolean } | undefined

  constructor(context: BridgeContext) {
    this.#context = context
    this.#refused = new RefusedRequests(context)
    this.#throttle = new LogThrottle(context.clock, DROPPED_ANSWERS)
  }

  /**
   * Stores the invocation's row and an audit row about it. Resolves when both are on disk; undefined when nobody
   * needs to wait for that. @throws Refusal `storage_unavailable`
   */
  step(
    record: InvocationRecord,
    entry: InvocationLogEntry,
    wait: boolean,
    kept?: OfflineWait,
  ): Promise<void> | undefined {
    if (wait) return this.#watched(this.#onDisk(record, undefined, entry, kept), true)
    const recorded = this.#watched(
      this.#context.store.recordInvocation(record, this.#entry(record, entry)),
      true,
    )
    return this.#trusted ? undefined : recorded
  }

  /** The last row. Never rejects: what the limb did is done, and the caller is told of it in any case. */
  end(
    record: InvocationRecord,
    answer: InvokeAnswer | undefined,
    entry: InvocationLogEntry,
    wait: boolean,
  ): Promise<void> | undefined {
    if (wait) return this.#watched(this.#onDisk(record, answer, entry), false).catch(() => {})
    void this.#watched(this.#context.store.recordInvocation(record, this.#entry(record, entry)), false)
    return undefined
  }

  /** An invocation that never began. `told`: calls it with how many refusals a row stands for. */
  refused(
    actor: string,
    nodeId: string | undefined,
    outcome: string,
    detail: Record<string, unknown>,
    told: (count: number) => void,
  ): void {
    const { command, capability } = detail
    this.#refused.record({
      principal: actor,
      what: JSON.stringify([nodeId ?? null, capability, command, outcome]),
      row: { kind: 'invocation.refused', nodeId, outcome, detail },
      told,
    })
  }

  stop(): void {
    this.#refused.stop()
    this.#throttle.stop()
  }

  /**
   * Invocations that have not ended on record. Before any listener opens: those that were cut off when the bridge
   * stopped.
   */
  underWay(): Promise<readonly InvocationRecord[]> {
    return this.#context.store.read((tx) => tx.openInvocations(MAX_UNDER_WAY))
  }

  /** Reads what was stored of those that wait for their limb, in the order of `records`. */
  async *kept(records: readonly InvocationRecord[]): AsyncGenerator<KeptInvocation> {
    for (let first = 0; first < records.length; first += KEPT_AT_ONCE) {
      const some = records.slice(first, first + KEPT_AT_ONCE)
      const ids = some.map(({ invocationId }) => invocationId)
      const waits = await this.#context.store.read((tx) => tx.offlineWaits(ids))
      for (const record of some) {
        const wait = waits.find(({ invocationId }) => invocationId === record.invocationId)
        if (wait !== undefined) yield { record, wait }
      }
    }
  }

  /** Ends them on record. After a failure it may be called again. @throws Refusal `storage_unavailable` */
  async interrupt(invocations: readonly InvocationRecord[]): Promise<void> {
    for (let i = 0; i < invocations.length; i += INTERRUPT_BATCH) {
      const batch = invocations.slice(i, i + INTERRUPT_BATCH)
      await this.#context.store.transact(async (tx) => {
        for (const { invocationId } of batch) await this.#interrupt(tx, invocationId)
      })
    }
  }

  async #interrupt(tx: Tx, invocationId: string): Promise<void> {
    // As it is now: it has ended if this is tried once more.
    const record = await tx.invocation(invocationId)
    if (record === null || record.endedAt !== null) return
    const error = new Refusal('internal', 'bridge restarted').body()
    const next: InvocationRecord = {
      ...record,
      state: 'interrupted',
      endedAt: this.#context.clock.wallMs(),
      error,
    }
    await tx.putInvocation(next)
    await tx.audit(
      this.#entry(next, {
        kind: 'invocation.ended',
        actor: 'bridge',
        outcome: 'interrupted',
        detail: { error: error.message, was: record.state },
      }),
    )
  }

  /**
   * The invocation that a principal made with this key in the last day of running, and its answer: a wall clock that is
   * set frees no key, or its command would be run twice.
   */
  async byKey(
    principal: string,
    key: string,
  ): Promise<{ record: InvocationRecord; answer: string | undefined } | undefined> {
    const { running, store } = this.#context
    const found = await store.read(async (tx) => {
      const record = await tx.invocationByKey(principal, key)
      if (record === null) return undefined
      const { invocationId } = record
      const bornAt = record.endedAt === null ? null : await tx.invocationBornAt(invocationId)
      return { record, answer: (await tx.answer(invocationId)) ?? undefined, bornAt }
    })
    if (!found || found.bornAt === null || found.bornAt + KEY_MS > running.now()) return found
    await store.transact((tx) => tx.putInvocation({ ...found.record, idempotencyKey: null }))
    return undefined
  }

  /**
   * Puts on record that a limb answered an invocation whose time was up. The record as it is then; undefined when it is none
   * of that limb that ended so, or has its late result already.
   */
  async late(nodeId: string, invocationId: string, success: boolean): Promise<InvocationRecord | undefined> {
    const { clock, store } = this.#context
    await store.settled()
    return store.transact(async (tx) => {
      const record = await tx.invocation(invocationId)
      if (record?.nodeId !== nodeId || record.state !== 'timeout' || record.late) return undefined
      const late: InvocationRecord = { ...record, late: { at: clock.wallMs(), success } }
      await tx.putInvocation(late)
      const outcome = success ? 'done' : 'failed'
      await tx.audit(this.#entry(late, { actor: nodeId, kind: 'invocation.late', outcome }))
      return late
    })
  }

  #entry(record: InvocationRecord, entry: InvocationLogEntry): AuditEntry {
    const { invocationId, principal, capability, command, paramsHash, level } = record
    const { actor, kind, outcome } = entry
    const detail = { invocationId, principal, capability, command, paramsHash, level, ...entry.detail }
    return audit(this.#context, kind, { actor, nodeId: record.nodeId, outcome, detail })
  }

  async #onDisk(
    record: InvocationRecord,
    answer: InvokeAnswer | undefined,
    entry: InvocationLogEntry,
    waits?: OfflineWait,
  ): Promise<void> {
    const { store, settings } = this.#context
    const { maxAnswerBytes: total, maxAnswerBytesPerPrincipal: perPrincipal } = settings.invocation
    const kept = answer !== undefined && record.idempotencyKey !== null ? JSON.stringify(answer) : undefined
    const dropped = await store.transact(async (tx) => {
      await tx.putInvocation(record)
      if (waits) await tx.putOfflineWait(waits)
      await tx.audit(this.#entry(record, entry))
      return kept === undefined ? 0 : await tx.putAnswer(record.invocationId, kept, { perPrincipal, total })
    })
    for (let i = 0; i < dropped; i++) this.#dropped(record.principal)
  }

  /** An answer that was kept for an idempotency key is not kept any more. */
  #dropped(principal: string): void {
    const { counters, log } = this.#context
    counters.count('answers_dropped')
    this.#throttle.write(principal, (suppressed) =>
      log.warn(
        { principal, suppressed },
        `an answer is not kept for its idempotency key: the answers kept for ${principal}, or for all, have ` +
          'reached invocation.maxAnswerBytesPerPrincipal, invocation.maxAnswerBytes or store.maxBytes',
      ),
    )
  }

  /**
   * Remembers whether the store records; says so once when it does not. That it keeps an end does not say that it keeps
   * a beginning: without room it takes ends alone.
   */
  #watched(stored: Promise<void>, begins: boolean): Promise<void> {
    if (stored === this.#watching?.stored) {
      this.#watching.begins ||= begins
      return stored
    }
    const watching = { stored, begins }
    this.#watching = watching
    stored.then(
      () => {
        if (watching.begins) this.#trusted = true
      },
      (error: unknown) => {
        if (this.#trusted) {
          this.#context.log.error(
            { error: messageOf(error) },
            'invocations cannot be recorded; further ones wait until they can',
          )
        }
        this.#trusted = false
      },
    )
    return stored
  }
}

/** Answers that are given up are told of each principal so often. */
const DROPPED_ANSWERS = { quietMs: 60_000, lines: 1, maxKeys: 100, maxLines: 100 } as const
const INTERRUPT_BATCH = 1000
/** A number that is more than the settings let be under way at once. */
const MAX_UNDER_WAY = 1_000_000
/** Params of so many are read at once: a start takes no more memory than the params of all take afterwards. */
const KEPT_AT_ONCE = 8

/** An invocation that waits for its limb, and what it needs to go on. */
export interface KeptInvocation {
  readonly record: InvocationRecord
  readonly wait: OfflineWait
}

export interface InvocationLogEntry {
  readonly actor: string
  readonly kind: AuditKind
  readonly outcome: string
  readonly detail?: Record<string, unknown>
}
