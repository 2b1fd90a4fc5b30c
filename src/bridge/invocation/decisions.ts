import { Consent, type InvocationRecord, moved } from '../../domain/invocations.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Deadlines } from '../../kernel/deadline-timer.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { Announcer } from '../live/announcer.ts'
import { decidedAlready } from './answers.ts'
import type { PendingApprovals } from './approvals.ts'
import type { InvocationLog, InvocationLogEntry } from './log.ts'
import { durationOf, type OpenInvocation, summaryOf } from './open-invocation.ts'

/** Does what operators decide about the invocations that wait for them. */
export class InvocationDecisions {
  readonly #clock: Clock
  readonly #log: InvocationLog
  readonly #deadlines: Deadlines<OpenInvocation>
  readonly #approvals: PendingApprovals
  readonly #announcer: Announcer

  constructor(
    { clock }: { readonly clock: Clock },
    parts: {
      log: InvocationLog
      deadlines: Deadlines<OpenInvocation>
      approvals: PendingApprovals
      announcer: Announcer
    },
  ) {
    this.#clock = clock
    this.#log = parts.log
    this.#deadlines = parts.deadlines
    this.#approvals = parts.approvals
    this.#announcer = parts.announcer
  }

  /** An operator's yes. Resolves when the invocation was sent, or could not be. */
  async approve(
    invocation: OpenInvocation,
    by: string,
    reason: string | undefined,
  ): Promise<InvocationRecord> {
    const decided: InvocationRecord = { ...invocation.record, decidedBy: by, reason: reason ?? null }
    const wait = await this.#decide(invocation, decided, {
      actor: by,
      kind: 'invocation.approved',
      outcome: 'approved',
      detail: { reason: reason ?? null },
    })
    invocation.consent = new Consent(decided, by)
    const stepped = nextStep(invocation)
    this.#announcer.event('invocation_approved', { ...summaryOf(invocation), by, ...because(reason) })
    wait.resolve(undefined)
    await stepped
    return invocation.record
  }

  /** An operator's no. Resolves when the invocation has ended. */
  async deny(invocation: OpenInvocation, by: string, reason: string | undefined): Promise<InvocationRecord> {
    const { invocationId, nodeId } = invocation.record
    const message = `${by} denied it${reason === undefined ? '' : `: ${reason}`}`
    const denied = new Refusal('denied', message, undefined, { invocationId, nodeId })
    if (invocation.record.state !== 'waiting') throw decidedAlready()
    const decided = moved(invocation.record, 'denied', {
      endedAt: this.#clock.wallMs(),
      error: denied.body(),
      decidedBy: by,
      reason: reason ?? null,
    })
    const wait = await this.#decide(invocation, decided, {
      actor: by,
      kind: 'invocation.denied',
      outcome: 'denied',
      detail: { reason, durationMs: durationOf(invocation, this.#clock.monotonicMs()) },
    })
    const stepped = nextStep(invocation)
    this.#announcer.event('invocation_denied', { ...summaryOf(invocation), by, ...because(reason) })
    wait.reject(denied)
    await stepped
    return invocation.record
  }

  /**
   * Stores what an operator decided about an invocation that waits. From then on the invocation is shown to nobody as
   * waiting.
   * @throws Refusal `conflict`, or `storage_unavailable`, and then the question stays open.
   */
  async #decide(
    invocation: OpenInvocation,
    decided: InvocationRecord,
    entry: InvocationLogEntry,
  ): Promise<NonNullable<OpenInvocation['wait']>> {
    const { wait, deadline } = invocation
    if (invocation.record.state !== 'waiting' || !wait) throw decidedAlready()
    // From here on nobody else decides: neither another operator nor the clock.
    invocation.wait = undefined
    this.#deadlines.clear(invocation)
    try {
      await this.#log.step(decided, entry, true)
    } catch (error) {
      if (invocation.cancelled) wait.reject(invocation.cancelled.error)
      else this.#awaitAgain(invocation, wait, deadline)
      throw error
    }
    invocation.record = decided
    this.hide(invocation)
    return wait
  }

  /** Nothing was stored: the question stays open for what is left of its time. */
  #awaitAgain(invocation: OpenInvocation, wait: NonNullable<OpenInvocation['wait']>, deadline: number): void {
    invocation.wait = wait
    this.#deadlines.set(invocation, Math.max(0, deadline - this.#clock.monotonicMs()))
  }

  /** Shows operators that whoever asked for it has gone, or is back. */
  callerChanged(invocation: OpenInvocation): void {
    const shown = this.#approvals.callerChanged(invocation)
    if (shown) this.#announcer.approval(shown)
  }

  /** It waits for no operator any more. */
  hide({ record: { invocationId } }: OpenInvocation): void {
    if (this.#approvals.delete(invocationId)) this.#announcer.approvalGone(invocationId)
  }
}

/** Resolves when the invocation has been sent, or has begun to wait, or has ended. */
function nextStep(invocation: OpenInvocation): Promise<void> {
  return new Promise((resolve) => {
    invocation.onStep = resolve
  })
}

function because(reason: string | undefined): { reason?: string } {
  return reason === undefined ? {} : { reason }
}
