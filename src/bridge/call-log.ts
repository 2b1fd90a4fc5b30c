import type { InvocationRecord } from '../domain/invocations.ts'
import type { AuditEntry } from '../domain/records.ts'
import { messageOf, Refusal } from '../kernel/errors.ts'
import type { InvokeAnswer } from './call.ts'
import type { World } from './settings.ts'
import { SteadyClock } from './steady-clock.ts'

/** Ended calls of the last so many hours keep their idempotency key. */
export const KEY_MS = 86_400_000

/**
 * The rows of calls. A call without an idempotency key does not wait for its rows: they are committed some
 * milliseconds after it was sent, with those of other calls, because a commit takes longer than a call. When such a commit fails, the
 * next calls wait for theirs until one succeeds, so that a full disk lets through one turn's calls at most.
 */
export class CallLog {
  readonly #world: World
  readonly #steady: SteadyClock
  #trusted = true
  /** Rows of many calls come with one promise. */
  #watching: Promise<void> | null = null

  constructor(world: World) {
    this.#world = world
    this.#steady = new SteadyClock(world.clock)
  }

  /**
   * Stores the call's row and an audit row about it. Resolves when both are on disk; undefined when nobody needs to
   * wait for that. @throws Refusal `storage_unavailable`
   */
  step(record: InvocationRecord, entry: Entry, wait: boolean): Promise<void> | undefined {
    if (wait) return this.#watched(this.#onDisk(record, null, entry))
    const recorded = this.#watched(this.#world.store.recordCall(record, this.#entry(record, entry)))
    return this.#trusted ? undefined : recorded
  }

  /** The last row. Never rejects: what the limb did is done, and the caller is told of it in any case. */
  end(
    record: InvocationRecord,
    answer: InvokeAnswer | null,
    entry: Entry,
    wait: boolean,
  ): Promise<void> | undefined {
    if (wait) return this.#watched(this.#onDisk(record, answer, entry)).catch(() => {})
    void this.#watched(this.#world.store.recordCall(record, this.#entry(record, entry)))
    return undefined
  }

  /** A call that never began. */
  refused(actor: string, nodeId: string | null, outcome: string, detail: Record<string, unknown>): void {
    const { clock, store } = this.#world
    const entry = { at: clock.wallMs(), actor, kind: 'invocation.refused', nodeId, outcome, detail }
    void this.#watched(store.recordCall(null, entry))
  }

  /** What was under way when the bridge stopped. Before any listener opens. */
  async interruptAll(): Promise<number> {
    const { clock, store } = this.#world
    let count = 0
    for (;;) {
      const ended = await store.transact(async (tx) => {
        const open = await tx.openInvocations(INTERRUPT_BATCH)
        for (const record of open) {
          const error = new Refusal('internal', 'bridge restarted').body()
          const now = clock.wallMs()
          const next: InvocationRecord = { ...record, state: 'interrupted', endedAt: now, error }
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
        return open.length
      })
      count += ended
      if (ended < INTERRUPT_BATCH) return count
    }
  }

  /**
   * The call that a principal made with this key in the last day, and its answer. One that is older only by a clock
   * that was just set is none of yesterday: its command would be run twice.
   */
  async byKey(
    principal: string,
    key: string,
  ): Promise<{ record: InvocationRecord; answer: string | null } | null> {
    const { clock, store } = this.#world
    const found = await store.read(async (tx) => {
      const record = await tx.invocationByKey(principal, key)
      return record && { record, answer: await tx.answer(record.invocationId) }
    })
    const steady = this.#steady.isSteady()
    if (!found || !steady || found.record.createdAt + KEY_MS > clock.wallMs()) return found
    await store.transact((tx) => tx.putInvocation({ ...found.record, idempotencyKey: null }))
    return null
  }

  #entry(record: InvocationRecord, entry: Entry): AuditEntry {
    const { invocationId, principal, capability, command, paramsHash, level } = record
    return {
      at: this.#world.clock.wallMs(),
      actor: entry.actor,
      kind: entry.kind,
      nodeId: record.nodeId,
      outcome: entry.outcome,
      detail: { invocationId, principal, capability, command, paramsHash, level, ...entry.detail },
    }
  }

  #onDisk(record: InvocationRecord, answer: InvokeAnswer | null, entry: Entry): Promise<void> {
    return this.#world.store.transact(async (tx) => {
      await tx.putInvocation(record)
      if (answer !== null && record.idempotencyKey !== null) {
        await tx.putAnswer(record.invocationId, JSON.stringify(answer))
      }
      await tx.audit(this.#entry(record, entry))
    })
  }

  /** Remembers whether the store records; says so once when it does not. */
  #watched(stored: Promise<void>): Promise<void> {
    if (stored === this.#watching) return stored
    this.#watching = stored
    stored.then(
      () => {
        this.#trusted = true
      },
      (error: unknown) => {
        if (this.#trusted) {
          this.#world.log.error(
            { error: messageOf(error) },
            'calls cannot be recorded; further ones wait until they can',
          )
        }
        this.#trusted = false
      },
    )
    return stored
  }
}

const INTERRUPT_BATCH = 1000

export interface Entry {
  readonly actor: string
  readonly kind: string
  readonly outcome: string
  readonly detail?: Record<string, unknown>
}
