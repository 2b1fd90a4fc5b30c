import { Consent } from '../../domain/invocations.ts'
import type { Deadlines } from '../../kernel/deadline-timer.ts'
import { Refusal } from '../../kernel/errors.ts'
import { newId } from '../../kernel/secrets.ts'
import type { InvocationResult } from '../../protocol/schemas.ts'
import type { HeldLease, Leases, QueuedLease } from '../access/leases.ts'
import type { Announcer } from '../live/announcer.ts'
import type { PacedLog } from '../live/paced-log.ts'
import type { BridgeContext } from '../settings.ts'
import type { PendingApprovals } from './approvals.ts'
import type { InvocationDecisions } from './decisions.ts'
import { checkWanted, endFromOutside } from './ending.ts'
import { LimbWaits } from './limb-waits.ts'
import { type OpenInvocation, summaryOf } from './open-invocation.ts'
import type { OpenInvocations } from './open-invocations.ts'
import type { InvocationRecorder } from './recorder.ts'
import type { AllowedTarget, TargetSelector } from './target.ts'

/**
 * A lease for one invocation outlives the invocation's own deadline by this, so that the invocation always ends
 * first.
 */
const LEASE_SLACK_MS = 5000

export interface InvocationWaitsParts {
  readonly open: OpenInvocations
  readonly targets: TargetSelector
  readonly leases: Leases
  readonly approvals: PendingApprovals
  readonly announcer: Announcer
  readonly decisions: InvocationDecisions
  readonly recorder: InvocationRecorder
  readonly deadlines: Deadlines<OpenInvocation>
  readonly lines: PacedLog
}

/** Waits for what an invocation lacks: its limb, a lease, an operator, the answer; each wait ends by itself. */
export class InvocationWaits {
  readonly #context: BridgeContext
  readonly #open: OpenInvocations
  readonly #targets: TargetSelector
  readonly #leases: Leases
  readonly #approvals: PendingApprovals
  readonly #announcer: Announcer
  readonly #decisions: InvocationDecisions
  readonly #recorder: InvocationRecorder
  readonly #deadlines: Deadlines<OpenInvocation>
  readonly #lines: PacedLog
  readonly #limbs: LimbWaits

  constructor(context: BridgeContext, parts: InvocationWaitsParts) {
    this.#context = context
    this.#open = parts.open
    this.#targets = parts.targets
    this.#leases = parts.leases
    this.#approvals = parts.approvals
    this.#announcer = parts.announcer
    this.#decisions = parts.decisions
    this.#recorder = parts.recorder
    this.#deadlines = parts.deadlines
    this.#lines = parts.lines
    this.#limbs = new LimbWaits(context.settings.invocation, (nodeId) => parts.targets.takesNow(nodeId))
  }

  /** The number of those that wait for a limb that is away. */
  get size(): number {
    return this.#limbs.size
  }

  /** Takes the next place in the order of asking: what a store is asked first may come back in another order. */
  nextPlace(): number {
    return this.#limbs.nextPlace()
  }

  /** The limb has come, or hears now: what waits for it goes on. Total. */
  limbIsThere(nodeId: string): void {
    if (this.#limbs.size > 0) this.#limbs.look(nodeId)
  }

  /** Its turn with the limb is over: the next one that waits for the limb may go. */
  passed(invocation: OpenInvocation): void {
    this.#limbs.passed(invocation)
    this.limbIsThere(invocation.record.nodeId)
  }

  /** Returns whether it waits for its limb before it goes on. @throws Refusal when waiting would not help */
  mustWait(invocation: OpenInvocation, { unreachable }: AllowedTarget): boolean {
    if (unreachable !== undefined && unreachable.code !== 'node_offline') throw unreachable
    return unreachable !== undefined || this.#limbs.isBehindOthers(invocation)
  }

  /** One whose limb left, or had no room, before it could be sent goes back to wait if it may. @throws the error of all others */
  mayWaitAgain(invocation: OpenInvocation, error: unknown): void {
    const { wish, record, delivery, cancelled } = invocation
    const code = error instanceof Refusal ? error.code : undefined
    const passes =
      (code === 'node_offline' && !this.#targets.takesNow(record.nodeId)) ||
      (code === 'too_many_requests' && this.#open.full(record.nodeId) !== undefined)
    const unsent = record.endedAt === null && !delivery?.sent && invocation.begun
    const mayWait = wish.offlineWaitMs > 0 && this.#context.running.now() < invocation.awayUntil
    if (!passes || !unsent || !mayWait || cancelled) throw error
    // What was approved did not run: the approval holds on.
    if (record.decidedBy !== null) invocation.consent = new Consent(record, record.decidedBy)
    this.#open.ran(invocation)
  }

  /** Waits until the limb is there, and those that came first have gone. @throws Refusal when it does not come in time */
  async awaitLimb(invocation: OpenInvocation, why: Refusal | undefined): Promise<undefined> {
    const { running } = this.#context
    const leftMs = invocation.awayUntil - running.now()
    if (leftMs <= 0) throw notBackInTime(invocation)
    const isResumed = invocation.kept && invocation.record.state !== 'running'
    this.#giveBack(invocation, [])
    await this.#recorder.begin(invocation, 'queued', invocation.wish.key !== undefined)
    checkWanted(invocation)
    const { principal, command, nodeId } = invocation.record
    this.#lines.info(
      principal,
      { ...summaryOf(invocation), seconds: Math.round(leftMs / 1000), why: why?.message },
      `${command} of ${principal} waits for ${nodeId} to come back`,
    )
    invocation.isAway = true
    this.#deadlines.set(invocation, leftMs)
    try {
      await this.#limbs.wait(invocation, isResumed)
    } finally {
      invocation.isAway = false
      this.#deadlines.clear(invocation)
    }
    if (invocation.cancelled) throw invocation.cancelled.error
  }

  /**
   * The first capability whose lease the invocation still needs. What it holds of others behind it goes back, so that
   * all take several leases in the same order.
   */
  lacking(invocation: OpenInvocation, { leases }: AllowedTarget): string | undefined {
    const kept = []
    let lacking: string | undefined
    for (const capability of leases) {
      const held = invocation.held.find(({ lease }) => lease.wish.capability === capability)
      if (held && this.#leases.holds(held)) kept.push(held)
      else {
        lacking = capability
        break
      }
    }
    if (invocation.held.length !== kept.length) this.#giveBack(invocation, kept)
    return lacking
  }

  /** Takes the lease that it lacks, or waits for its turn. @throws Refusal */
  async awaitLease(invocation: OpenInvocation, capability: string): Promise<undefined> {
    const { nodeId, principal } = invocation.record
    const waited = this.#context.clock.monotonicMs() - invocation.askedAt
    const wish = {
      leaseId: newId('ls_'),
      nodeId,
      capability,
      principal,
      single: true,
      ttlMs: invocation.timeoutMs + LEASE_SLACK_MS,
    }
    // Without a key nobody can ask for the answer later: an invocation that nobody waits for any more need not run.
    const alive = () => invocation.wish.key !== undefined || invocation.caller.alive()
    const taking = this.#leases.take(wish, Math.max(0, invocation.wish.waitMs - waited), alive)
    const held = await (taking.queued ? this.#queue(invocation, taking) : taking.held)
    invocation.held = [...invocation.held, held]
    invocation.record = { ...invocation.record, fence: fenceOf(invocation.held) }
    if (invocation.cancelled) throw invocation.cancelled.error
  }

  /** Waits for its turn, unless it is cancelled. An invocation that ends here leaves nothing in the queue. */
  async #queue(invocation: OpenInvocation, { held, leave }: QueuedLease): Promise<HeldLease> {
    invocation.wait = { resolve: () => {}, reject: leave }
    // What comes while the row is stored is heard below.
    held.catch(() => {})
    try {
      await this.#recorder.begin(
        invocation,
        'queued',
        invocation.wish.offlineWaitMs > 0 && invocation.wish.key !== undefined,
      )
      this.passed(invocation)
      checkWanted(invocation)
      return await held
    } catch (error) {
      leave(error)
      held.then(
        (got) => this.#leases.giveBack(got),
        () => {},
      )
      throw error
    } finally {
      invocation.wait = undefined
    }
  }

  /** Waits for an operator. What it asks is on disk before anybody is asked. */
  async awaitDecision(invocation: OpenInvocation): Promise<undefined> {
    this.#open.await()
    try {
      await this.#recorder.begin(invocation, 'waiting', true)
      checkWanted(invocation)
      await this.#askOperators(invocation)
    } finally {
      this.#open.awaited()
      this.#decisions.hide(invocation)
    }
  }

  /** Shows it to operators. Nothing waits here with what is shown: it has the params in it. */
  #askOperators(invocation: OpenInvocation): Promise<InvocationResult | undefined> {
    const { clock, settings } = this.#context
    const waitMs = settings.invocation.approvalSeconds * 1000
    const now = clock.wallMs()
    const shown = this.#approvals.add(invocation, now, now + waitMs)
    const answered = this.awaitAnswer(invocation, waitMs)
    this.#lines.info(
      invocation.record.principal,
      { ...summaryOf(invocation) },
      `${invocation.record.principal} asks to run ${invocation.record.command} on ${invocation.record.nodeId}: limb-bridge invocation approve ${invocation.record.invocationId}`,
    )
    this.#announcer.approval(shown)
    this.#announcer.event('invocation_waiting', { approval: shown })
    return answered
  }

  /** Waits for an operator (undefined) or the limb (its result), for so long at most. */
  awaitAnswer(invocation: OpenInvocation, waitMs: number): Promise<InvocationResult | undefined> {
    const answered = new Promise<InvocationResult | undefined>((resolve, reject) => {
      invocation.wait = { resolve, reject }
    })
    this.#deadlines.set(invocation, waitMs)
    return answered.finally(() => {
      invocation.wait = undefined
      this.#deadlines.clear(invocation)
    })
  }

  /** Ends the wait of an invocation whose deadline has come. */
  timeIsUp(invocation: OpenInvocation): void {
    const { approvalSeconds } = this.#context.settings.invocation
    if (invocation.isAway) {
      endFromOutside(invocation, { error: notBackInTime(invocation), state: 'expired' })
      return
    }
    invocation.wait?.reject(
      invocation.record.state === 'waiting'
        ? new Refusal('expired', `no operator decided within ${approvalSeconds} s; ask again`)
        : notInTime(invocation),
    )
  }

  /**
   * Keeps its leases: the wait since it took the first one, for another lease or the disk, is no part of its time.
   */
  keepLeases({ held, timeoutMs }: OpenInvocation): void {
    for (const each of held) this.#leases.use(each, timeoutMs)
    for (const each of held) this.#leases.keep(each, timeoutMs + LEASE_SLACK_MS)
  }

  /** All leases but the `kept` ones. */
  #giveBack(invocation: OpenInvocation, kept: readonly HeldLease[]): void {
    for (const held of invocation.held) if (!kept.includes(held)) this.#leases.giveBack(held)
    invocation.held = kept
    invocation.record = { ...invocation.record, fence: fenceOf(kept) }
  }

  /** Leaves nothing of an invocation, whatever way it ended: no lease, no place among the running, no timer. */
  leaveNothing(invocation: OpenInvocation): void {
    for (const held of invocation.held) this.#leases.giveBack(held)
    invocation.held = []
    invocation.delivery?.giveUp()
    invocation.delivery = undefined
    this.#open.ran(invocation)
    this.#open.delete(invocation)
    this.#deadlines.clear(invocation)
    this.passed(invocation)
  }
}

function notInTime({ record: { nodeId }, timeoutMs, delivery }: OpenInvocation): Refusal {
  const seconds = timeoutMs / 1000
  return new Refusal(
    'timeout',
    delivery?.sent
      ? `${nodeId} did not answer within ${seconds} s; whether it ran the command is not known`
      : `${nodeId} could not be connected to within ${seconds} s; the command was not sent`,
  )
}

function notBackInTime({ record: { nodeId }, wish }: OpenInvocation): Refusal {
  const seconds = wish.offlineWaitMs / 1000
  return new Refusal(
    'node_offline',
    `${nodeId} did not come back within ${seconds} s (offlineWaitSeconds); the command did not run`,
  )
}

/**
 * Returns the fence of the first capability that has the command, in the limb's order: a limb counts it there too.
 */
function fenceOf(held: readonly HeldLease[]): number | null {
  return held[0]?.fence ?? null
}
