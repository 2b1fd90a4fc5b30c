import { moved } from '../../domain/invocations.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { InvocationState } from '../../protocol/names.ts'
import type { Announcer } from '../live/announcer.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbCaller } from '../verb-context.ts'
import { keptOf } from './kept-wish.ts'
import type { InvocationLog } from './log.ts'
import {
  durationOf,
  type InvocationWish,
  type InvokeAnswer,
  type OpenInvocation,
  summaryOf,
} from './open-invocation.ts'

/** The row of the audit log that each step writes. */
const BEGUN = {
  queued: 'invocation.queued',
  waiting: 'invocation.waiting',
  running: 'invocation.started',
} as const

/** Puts the steps of invocations on record, and publishes and counts their ends. */
export class InvocationRecorder {
  readonly #context: BridgeContext
  readonly #log: InvocationLog
  readonly #announcer: Announcer

  constructor(context: BridgeContext, log: InvocationLog, announcer: Announcer) {
    this.#context = context
    this.#log = log
    this.#announcer = announcer
  }

  /**
   * Puts on record that it waits, or runs. Resolves at once unless `wait`, or a key, makes it wait for the disk.
   * @throws Refusal when it cannot be stored, or has used too many keys
   */
  async begin(
    invocation: OpenInvocation,
    state: 'queued' | 'waiting' | 'running',
    wait: boolean,
  ): Promise<void> {
    if (!invocation.begun && invocation.wish.key !== undefined) {
      await this.#checkKeys(invocation.record.principal)
      if (invocation.cancelled) throw invocation.cancelled.error
    }
    // An invocation that waits twice, first for one lease and then for another, is queued all the while.
    if (invocation.begun && invocation.record.state === state) return
    const isFirst = !invocation.begun
    invocation.record = isFirst ? { ...invocation.record, state } : moved(invocation.record, state)
    invocation.begun = true
    const entry = {
      actor: invocation.record.principal,
      kind: BEGUN[state],
      outcome: invocation.record.level,
      detail: invocation.record.decidedBy === null ? {} : { approvedBy: invocation.record.decidedBy },
    }
    const keeps = state !== 'running' && wait && !invocation.kept && invocation.wish.offlineWaitMs > 0
    const kept = keeps && invocation.wish.key !== undefined
    const stored = this.#log.step(invocation.record, entry, wait, kept ? keptOf(invocation) : undefined)
    invocation.kept = state !== 'running' && (kept || invocation.kept)
    try {
      if (stored) await stored
    } catch (error) {
      // Nothing of it is on disk, and nothing was sent: an end of it would take room that there is not.
      if (isFirst) invocation.begun = false
      if (kept) invocation.kept = false
      throw error
    }
    this.#stepped(invocation)
  }

  /** Keys are kept for a day, with their answers: one principal must not fill the disk with them. */
  async #checkKeys(principal: string): Promise<void> {
    const { maxKeysPerPrincipal } = this.#context.settings.invocation
    const kept = await this.#context.store.read((tx) => tx.countKeys(principal, maxKeysPerPrincipal))
    if (kept < maxKeysPerPrincipal) return
    throw new Refusal(
      'too_many_requests',
      `${principal} used ${maxKeysPerPrincipal} idempotency keys or more in the last day; invoke without one, or raise invocation.maxKeysPerPrincipal`,
    )
  }

  /** Puts its end on record. `leaveNothing` gives back what it holds, after the end is under way to the disk. */
  async ended(
    invocation: OpenInvocation,
    state: InvocationState,
    answer: InvokeAnswer | undefined,
    error: Refusal | undefined,
    leaveNothing: () => void,
  ): Promise<void> {
    const { counters } = this.#context
    const durationMs = durationOf(invocation, this.#context.clock.monotonicMs())
    // What an operator denied has ended in the transaction of that decision.
    const stored =
      invocation.record.endedAt === null
        ? this.#storeEnd(invocation, state, answer, error, durationMs)
        : undefined
    leaveNothing()
    counters.count('invocations', state)
    counters.took('invocation', state, durationMs)
    if (stored) await stored
    this.#announcer.eventSoon('invocation_ended', {
      ...summaryOf(invocation),
      state,
      ...(error === undefined ? {} : { error: error.code }),
      durationMs,
    })
    this.#stepped(invocation)
  }

  #storeEnd(
    invocation: OpenInvocation,
    state: InvocationState,
    answer: InvokeAnswer | undefined,
    error: Refusal | undefined,
    durationMs: number,
  ): Promise<void> | undefined {
    // What was never sent may be tried again with the same key; what the bridge's end interrupted must not be.
    const keepKey = invocation.delivery?.sent || state === 'interrupted'
    const cancelled = state === 'cancelled' ? invocation.cancelled : undefined
    invocation.record = {
      ...moved(invocation.record, state, {
        endedAt: this.#context.clock.wallMs(),
        error: error?.body() ?? null,
      }),
      ...(cancelled?.reason === undefined ? {} : { reason: cancelled.reason }),
      ...(keepKey ? {} : { idempotencyKey: null }),
    }
    const byNode = state === 'done' || error?.code === 'node_error'
    const entry = {
      actor: byNode ? invocation.record.nodeId : (cancelled?.by ?? 'bridge'),
      kind: 'invocation.ended' as const,
      outcome: state,
      detail: {
        durationMs,
        ...(error === undefined ? {} : { code: error.code }),
        ...(cancelled?.reason === undefined ? {} : { reason: cancelled.reason }),
      },
    }
    const isKept = invocation.record.idempotencyKey !== null
    return this.#log.end(
      invocation.record,
      isKept ? answer : undefined,
      entry,
      invocation.wish.key !== undefined,
    )
  }

  /** Puts an invocation that never began on record. */
  refused<E>(wish: InvocationWish, caller: VerbCaller, invocation: OpenInvocation | undefined, error: E): E {
    const nodeId = wish.nodeId ?? invocation?.record.nodeId
    const code = error instanceof Refusal ? error.code : 'internal'
    const { command, paramsHash, capability } = wish
    this.#context.counters.count('invocations', 'refused')
    const detail = {
      command,
      paramsHash,
      ...(capability === undefined ? {} : { capability }),
      message: messageOf(error).slice(0, LIMITS.reasonChars),
    }
    this.#log.refused(caller.name, nodeId, code, detail, (count) =>
      this.#announcer.event('invocation_refused', {
        principal: caller.name,
        ...(nodeId === undefined ? {} : { nodeId }),
        command,
        error: code,
        ...(count > 1 ? { count } : {}),
      }),
    )
    return error
  }

  /** Makes the refusal for the caller: always with the invocationId once there is a row. */
  refusalOf(error: unknown, invocation: OpenInvocation | undefined): Refusal {
    if (!(error instanceof Refusal)) {
      this.#context.log.error(
        { error: messageOf(error), stack: (error as Error).stack },
        'an invocation failed',
      )
      return this.refusalOf(new Refusal('internal', 'the bridge failed; its log says why'), invocation)
    }
    if (!invocation?.begun) return error
    const { invocationId, nodeId } = invocation.record
    return new Refusal(error.code, error.message, error.path, { invocationId, nodeId, ...error.details })
  }

  #stepped(invocation: OpenInvocation): void {
    const { onStep } = invocation
    invocation.onStep = undefined
    onStep?.()
  }
}
