import { Consent, endStateOf, type InvocationRecord, moved } from '../../domain/invocations.ts'
import { iso } from '../../kernel/clock.ts'
import { Deadlines } from '../../kernel/deadline-timer.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import type { RunningMs } from '../../kernel/running-clock.ts'
import { newId } from '../../kernel/secrets.ts'
import type { CommandDescription } from '../../protocol/descriptions.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { InvocationState } from '../../protocol/names.ts'
import type { InvocationResult } from '../../protocol/schemas.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import type { HeldLease, Leases, QueuedLease } from '../access/leases.ts'
import type { Announcer } from '../live/announcer.ts'
import { PacedLog } from '../live/paced-log.ts'
import type { OfflineWait, Session } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbCaller } from '../verb-context.ts'
import { answerOf, askerGone, otherInvocation, takenBack } from './answers.ts'
import type { PendingApprovals } from './approvals.ts'
import { InvocationDecisions } from './decisions.ts'
import { KeyedInvocations } from './idempotency.ts'
import { keptOf, wishOf } from './kept-wish.ts'
import { LimbWaits } from './limb-waits.ts'
import { InvocationLog } from './log.ts'
import {
  type Cancelled,
  durationOf,
  type InvocationTarget,
  type InvocationWish,
  type InvokeAnswer,
  isTakenBackEasily,
  isUnwanted,
  newInvocation,
  type OpenInvocation,
  readWish,
  summaryOf,
} from './open-invocation.ts'
import type { OpenInvocations } from './open-invocations.ts'
import type { AllowedTarget, TargetSelector } from './target.ts'

/** Lines about what an agent asks for, takes back and asks for again, and about a limb that answers late. */
const LINES = { quietMs: 10_000, lines: 10, maxKeys: 200, maxLines: 100 } as const

/**
 * Invocations, from the request to the answer: may it, can it, lease, consent, dispatch, result. An invocation is one
 * run of `#steps`; every wait in it ends by itself, or by `cancel`.
 *
 * A limb whose connection ends while it works is waited for until the deadline: what it did may be done, and a
 * result that it sends after it has come back still answers the invocation.
 */
export class Invocations {
  readonly open: OpenInvocations
  readonly log: InvocationLog
  readonly decisions: InvocationDecisions
  readonly #world: BridgeContext
  readonly #lines: PacedLog
  readonly #reach: TargetSelector
  readonly #leases: Leases
  readonly #approvals: PendingApprovals
  readonly #announcer: Announcer
  readonly #deadlines: Deadlines<OpenInvocation>
  readonly #keyed: KeyedInvocations
  readonly #waits: LimbWaits
  readonly #underWay = new Set<Promise<unknown>>()
  #stopping: Refusal | null = null

  constructor(
    world: BridgeContext,
    parts: {
      open: OpenInvocations
      reach: TargetSelector
      leases: Leases
      approvals: PendingApprovals
      announcer: Announcer
    },
  ) {
    this.#world = world
    this.#lines = new PacedLog(world, LINES)
    this.open = parts.open
    this.log = new InvocationLog(world)
    this.#keyed = new KeyedInvocations(this.log)
    this.#reach = parts.reach
    this.#waits = new LimbWaits(world.settings.invocation, (nodeId) => parts.reach.takesNow(nodeId))
    this.#leases = parts.leases
    this.#approvals = parts.approvals
    this.#announcer = parts.announcer
    this.#deadlines = new Deadlines(world.clock, (invocation) => this.#timeIsUp(invocation))
    const { approvals, announcer } = parts
    this.decisions = new InvocationDecisions(world, {
      log: this.log,
      deadlines: this.#deadlines,
      approvals,
      announcer,
    })
  }

  async invoke(args: VerbArgs<'invoke'>, caller: VerbCaller): Promise<InvokeAnswer> {
    const wish = readWish(args)
    if (this.#stopping) throw this.#stopping
    const run = () => this.#run(wish, caller)
    const answer =
      wish.key === null
        ? run()
        : this.#keyed.once(wish, wish.key, caller.name, {
            run,
            otherInvocation: () => this.#refused(wish, caller, undefined, otherInvocation()),
            again: () => this.#askedAgain(wish, caller),
          })
    this.#underWay.add(answer)
    try {
      return await answer
    } finally {
      this.#underWay.delete(answer)
    }
  }

  /** Counts those that have not ended, by state. */
  get byState(): ReturnType<OpenInvocations['byState']> {
    return this.open.byState(this.#waits.size)
  }

  /** The limb has come, or hears now: what waits for it goes on. Total. */
  limbIsThere(nodeId: string): void {
    if (this.#waits.size > 0) this.#waits.look(nodeId)
  }

  /** Goes on with those that waited for their limb when the bridge stopped. Returns their ids. */
  resume(records: readonly InvocationRecord[], kept: readonly OfflineWait[]): ReadonlySet<string> {
    const waits = new Map(kept.map((each) => [each.invocationId, each]))
    const resumed = new Set<string>()
    for (const record of records) {
      const wait = waits.get(record.invocationId)
      const wish = wait === undefined ? undefined : wishOf(record, wait)
      if (wait === undefined || wish?.key == null) continue
      const invocation = this.#resumed(record, wish, wait)
      resumed.add(record.invocationId)
      const answer = this.#keyed.goesOn(wish, wish.key, record.principal, this.#goOn(invocation))
      this.#underWay.add(answer)
      // Whoever asks again with its key gets the answer, or the error.
      answer.catch(() => {}).finally(() => this.#underWay.delete(answer))
    }
    return resumed
  }

  #resumed(record: InvocationRecord, wish: InvocationWish, { endsAt }: OfflineWait): OpenInvocation {
    const { clock, running } = this.#world
    const now = { wallMs: record.createdAt, monotonicMs: clock.monotonicMs(), runningMs: running.now() }
    const caller = callerOfBefore(record.principal)
    const invocation: OpenInvocation = {
      ...newInvocation(wish, caller, { nodeId: record.nodeId, capability: record.capability }, now),
      record,
      awayUntil: endsAt as RunningMs,
      begun: true,
      kept: true,
      consent: record.decidedBy === null ? null : new Consent(record, record.decidedBy),
    }
    this.open.add(invocation)
    this.open.resume(record.principal, wish)
    return invocation
  }

  /** Ends the invocations that `which` accepts, in the state that `error` leads to unless told. */
  cancel(
    which: (invocation: OpenInvocation) => boolean,
    error: Refusal,
    state: InvocationState | null = null,
  ): void {
    for (const invocation of this.open.values()) {
      if (which(invocation)) this.#end(invocation, { error, state })
    }
  }

  /**
   * Takes an invocation back that waits for its turn or for an operator. Resolves when it has ended.
   * @throws Refusal `conflict` when it runs, or has ended in another way meanwhile.
   */
  async takeBack(invocation: OpenInvocation, by: string, reason: string | null): Promise<void> {
    if (invocation.record.state === 'running') throw runsAlready(invocation.record)
    const ended = new Promise<void>((resolve) => invocation.onEnd.push(resolve))
    this.#end(invocation, { error: takenBack(by, reason), state: 'cancelled', by, reason })
    await ended
    if (invocation.begun && invocation.record.state !== 'cancelled') throw endedAlready(invocation.record)
  }

  /**
   * Ends before it is sent what nobody can be given the answer of; an invocation with a key is shown as its caller
   * being away.
   */
  callerGone(session: Session): void {
    for (const invocation of this.open.values()) {
      if (!invocation.askers.delete(session) || invocation.askers.size > 0) continue
      if (invocation.wish.key !== null) this.decisions.callerChanged(invocation)
      else if (isTakenBackEasily(invocation)) this.#end(invocation, ASKER_GONE())
    }
  }

  #askedAgain({ key }: InvocationWish, { name, session }: VerbCaller): void {
    const invocation = this.open
      .values()
      .find(({ record, wish }) => record.principal === name && wish.key === key)
    if (!invocation || !session.alive) return
    const away = invocation.askers.size === 0
    invocation.askers.add(session)
    if (away) this.decisions.callerChanged(invocation)
  }

  #end(invocation: OpenInvocation, why: Cancelled): void {
    if (invocation.cancelled) return
    invocation.cancelled = why
    invocation.wait?.reject(why.error)
  }

  /** @throws Refusal when it was cancelled, or has come to wait with nobody to wait for it. */
  #checkWanted(invocation: OpenInvocation): void {
    if (isUnwanted(invocation)) this.#end(invocation, ASKER_GONE())
    if (invocation.cancelled) throw invocation.cancelled.error
  }

  /** Answers every caller and stores how each invocation ended. */
  async stop(): Promise<void> {
    this.#stopping = new Refusal('internal', 'bridge restarted: it is stopping; ask again when it is back')
    const sent = new Refusal(
      'internal',
      'bridge restarted: it is stopping; whether the command ran is not known, look with invocation/get when it is back',
    )
    const unsent = new Refusal(
      'internal',
      'bridge restarted: it is stopping; the command did not run, invoke it again when it is back, with a new key if it had one',
    )
    this.cancel(({ record }) => record.state === 'running', sent, 'interrupted')
    this.#park()
    this.cancel(() => true, unsent, 'interrupted')
    await Promise.allSettled([...this.#underWay])
    this.#deadlines.stop()
    this.log.stop()
    this.#lines.stop()
  }

  /** Leaves those that are kept for the next start of the bridge, and tells who waits to ask again. */
  #park(): void {
    const later = new Refusal(
      'internal',
      'bridge restarted: it is stopping; the invocation goes on waiting for its limb when it is back, ask again with the same key for its answer',
    )
    for (const invocation of this.open.values()) {
      if (!invocation.kept || invocation.cancelled) continue
      invocation.parked = true
      this.#end(invocation, { error: later, state: null })
    }
  }

  /** The answer of a limb, whichever way it came. False when no invocation of this limb waits for it. */
  settle(nodeId: string, result: InvocationResult): boolean {
    const invocation = this.open.get(result.invocationId)
    if (!invocation?.wait || invocation.record.nodeId !== nodeId || invocation.record.state !== 'running')
      return false
    invocation.wait.resolve(result)
    return true
  }

  /** A limb answered what waits no more. On record, and told, when its time was up. */
  async late(nodeId: string, invocationId: string, success: boolean): Promise<void> {
    const record = await this.log.late(nodeId, invocationId, success)
    if (record === null) return
    const { principal, command } = record
    const how = success ? 'it did it' : 'it failed'
    this.#lines.info(
      nodeId,
      { invocationId, principal, nodeId, command, success },
      `${nodeId} answered ${invocationId} after its time was up: ${how}`,
    )
    this.#announcer.event('invocation_late', { invocationId, principal, nodeId, command, success })
  }

  /** The limb answered, but not as the protocol says. */
  settleWrong(nodeId: string, invocationId: string, why: string): boolean {
    const invocation = this.open.get(invocationId)
    if (!invocation?.wait || invocation.record.nodeId !== nodeId || invocation.record.state !== 'running')
      return false
    invocation.wait.reject(new Refusal('node_error', `${nodeId} sent a wrong result: ${why}`))
    return true
  }

  async #run(wish: InvocationWish, caller: VerbCaller): Promise<InvokeAnswer> {
    try {
      this.open.enter(caller.name, wish)
    } catch (error) {
      throw this.#refused(wish, caller, undefined, error)
    }
    return this.#toItsEnd(wish, caller, () => this.#aim(wish, caller))
  }

  #goOn(invocation: OpenInvocation): Promise<InvokeAnswer> {
    return this.#toItsEnd(invocation.wish, invocation.caller, () => invocation)
  }

  async #toItsEnd(
    wish: InvocationWish,
    caller: VerbCaller,
    aim: () => OpenInvocation | Promise<OpenInvocation>,
  ): Promise<InvokeAnswer> {
    let invocation: OpenInvocation | undefined
    try {
      invocation = await aim()
      const answer = await this.#steps(invocation)
      await this.#ended(invocation, 'done', answer, null)
      return answer
    } catch (error) {
      const refusal = this.#refusalOf(causeOf(error, invocation), invocation)
      if (invocation?.parked) {
        // Its row stays as it is.
      } else if (invocation?.begun) {
        await this.#ended(invocation, endedAs(invocation, refusal), null, refusal)
      } else this.#refused(wish, caller, invocation, refusal)
      throw refusal
    } finally {
      if (invocation) this.#leaveNothing(invocation)
      this.open.leave(caller.name, wish)
      for (const ended of invocation?.onEnd ?? []) ended()
    }
  }

  /** The invocation, counted as one that is meant for its limb from the turn on in which the limb was picked. */
  #aim(wish: InvocationWish, caller: VerbCaller): OpenInvocation | Promise<OpenInvocation> {
    const { clock, running } = this.#world
    const { nodeId, capability = '' } = wish
    const open = (target: InvocationTarget) => {
      // Its key or its limb was looked for meanwhile.
      if (this.#stopping) throw this.#stopping
      const invocation = newInvocation(wish, caller, target, {
        wallMs: clock.wallMs(),
        monotonicMs: clock.monotonicMs(),
        runningMs: running.now(),
      })
      this.open.add(invocation)
      return invocation
    }
    if (nodeId !== undefined) return open({ nodeId, capability })
    return this.#reach.select(caller.name, capability, wish, open)
  }

  /** Everything is checked anew after each wait: what held before it need not hold after. */
  async #steps(invocation: OpenInvocation): Promise<InvokeAnswer> {
    for (;;) {
      const checked = this.#reach.check(
        invocation.record.principal,
        invocation.record.nodeId,
        invocation.wish,
      )
      const allowed = checked instanceof Promise ? await checked : checked
      invocation.timeoutMs = this.#timeoutMs(invocation.wish, allowed.described)
      this.#goesOn(invocation, allowed)
      try {
        const answer = await this.#step(invocation, allowed)
        if (answer !== undefined) return answer
      } catch (error) {
        this.#mayWaitAgain(invocation, error)
      }
    }
  }

  /** Waits for what it lacks, and resolves to nothing; or sends it, and resolves to the answer. */
  #step(invocation: OpenInvocation, allowed: AllowedTarget): Promise<InvokeAnswer | undefined> {
    const patient = invocation.wish.offlineWaitMs > 0
    const asks = allowed.level === 'gated' && !invocation.consent
    if (allowed.unreachable && !patient) throw allowed.unreachable
    // An operator is asked while the limb sleeps: on its next visit it is too late.
    if (patient && !asks && this.#mustWait(invocation, allowed)) {
      return this.#awaitLimb(invocation, allowed.unreachable)
    }
    const lacking = this.#lacking(invocation, allowed)
    if (lacking !== undefined) return this.#lease(invocation, lacking)
    return asks ? this.#ask(invocation) : this.#dispatch(invocation, allowed)
  }

  #mustWait(invocation: OpenInvocation, { unreachable }: AllowedTarget): boolean {
    if (unreachable !== null && unreachable.code !== 'node_offline') throw unreachable
    return unreachable !== null || this.#waits.isBehindOthers(invocation)
  }

  /** One whose limb left, or had no room, before it could be sent goes back to wait if it may. @throws the error of all others */
  #mayWaitAgain(invocation: OpenInvocation, error: unknown): void {
    const { wish, record, delivery, cancelled } = invocation
    const code = error instanceof Refusal ? error.code : undefined
    const passes =
      (code === 'node_offline' && !this.#reach.takesNow(record.nodeId)) ||
      (code === 'too_many_requests' && this.open.full(record.nodeId) !== null)
    const unsent = record.endedAt === null && !delivery?.sent && invocation.begun
    const mayWait = wish.offlineWaitMs > 0 && this.#world.running.now() < invocation.awayUntil
    if (!passes || !unsent || !mayWait || cancelled) throw error
    // What was approved did not run: the approval holds on.
    if (record.decidedBy !== null) invocation.consent = new Consent(record, record.decidedBy)
    this.open.ran(invocation)
  }

  /** Waits until the limb is there, and those that came first have gone. @throws Refusal when it does not come in time */
  async #awaitLimb(invocation: OpenInvocation, why: Refusal | null): Promise<undefined> {
    const { running } = this.#world
    const leftMs = invocation.awayUntil - running.now()
    if (leftMs <= 0) throw notBackInTime(invocation)
    const isResumed = invocation.kept && invocation.record.state !== 'running'
    this.#giveBack(invocation, [])
    await this.#begin(invocation, 'queued', invocation.wish.key !== null)
    this.#checkWanted(invocation)
    const { principal, command, nodeId } = invocation.record
    this.#lines.info(
      principal,
      { ...summaryOf(invocation), seconds: Math.round(leftMs / 1000), why: why?.message },
      `${command} of ${principal} waits for ${nodeId} to come back`,
    )
    invocation.isAway = true
    this.#deadlines.set(invocation, leftMs)
    try {
      await this.#waits.wait(invocation, isResumed)
    } finally {
      invocation.isAway = false
      this.#deadlines.clear(invocation)
    }
    if (invocation.cancelled) throw invocation.cancelled.error
  }

  /** @throws Refusal when it was cancelled, or an operator approved something else. */
  #goesOn(invocation: OpenInvocation, { capability, level }: AllowedTarget): void {
    if (invocation.cancelled) throw invocation.cancelled.error
    if (invocation.consent && capability !== invocation.record.capability) {
      throw new Refusal('conflict', 'the limb moved the command to another capability; ask for approval anew')
    }
    invocation.record = { ...invocation.record, capability, level }
  }

  /**
   * The first capability whose lease the invocation still needs. What it holds of others behind it goes back, so that
   * all take several leases in the same order.
   */
  #lacking(invocation: OpenInvocation, { leases }: AllowedTarget): string | undefined {
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

  /** Returns the time that the caller gives, else that which the description of the command asks for. */
  #timeoutMs({ timeoutMs }: InvocationWish, described: CommandDescription | undefined): number {
    return timeoutMs ?? (described?.timeoutSeconds ?? this.#world.settings.invocation.timeoutSeconds) * 1000
  }

  async #lease(invocation: OpenInvocation, capability: string): Promise<undefined> {
    const { nodeId, principal } = invocation.record
    const waited = this.#world.clock.monotonicMs() - invocation.askedAt
    const wish = {
      leaseId: newId('ls_'),
      nodeId,
      capability,
      principal,
      single: true,
      ttlMs: invocation.timeoutMs + LEASE_SLACK_MS,
    }
    // Without a key nobody can ask for the answer later: an invocation that nobody waits for any more need not run.
    const alive = () => invocation.wish.key !== null || invocation.caller.alive()
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
      await this.#begin(
        invocation,
        'queued',
        invocation.wish.offlineWaitMs > 0 && invocation.wish.key !== null,
      )
      this.#waits.passed(invocation)
      this.limbIsThere(invocation.record.nodeId)
      this.#checkWanted(invocation)
      return await held
    } catch (error) {
      leave(error)
      held.then(
        (got) => this.#leases.giveBack(got),
        () => {},
      )
      throw error
    } finally {
      invocation.wait = null
    }
  }

  /** Waits for an operator. What it asks is on disk before anybody is asked. */
  async #ask(invocation: OpenInvocation): Promise<undefined> {
    const { clock, settings } = this.#world
    this.open.await()
    try {
      await this.#begin(invocation, 'waiting', true)
      this.#checkWanted(invocation)
      const waitMs = settings.invocation.approvalSeconds * 1000
      const now = clock.wallMs()
      const shown = this.#approvals.add(invocation, now, now + waitMs)
      const answered = this.#wait(invocation, waitMs)
      this.#lines.info(
        invocation.record.principal,
        { ...summaryOf(invocation) },
        `${invocation.record.principal} asks to run ${invocation.record.command} on ${invocation.record.nodeId}: limb-bridge invocation approve ${invocation.record.invocationId}`,
      )
      this.#announcer.approval(shown)
      this.#announcer.event('invocation_waiting', { approval: shown })
      await answered
    } finally {
      this.open.awaited()
      this.decisions.hide(invocation)
    }
  }

  async #dispatch(invocation: OpenInvocation, { limb, level }: AllowedTarget): Promise<InvokeAnswer> {
    const { clock } = this.#world
    if (level === 'gated' && !invocation.consent?.use(invocation.record)) {
      throw new Refusal('denied', 'the approval was for another invocation')
    }
    this.open.run(invocation)
    this.#keepLeases(invocation)
    await this.#begin(invocation, 'running', invocation.wish.key !== null)
    if (invocation.cancelled) throw invocation.cancelled.error
    this.#keepLeases(invocation)
    const { timeoutMs } = invocation
    const { invocationId, nodeId, command, principal, fence } = invocation.record
    const answered = this.#wait(invocation, timeoutMs)
    const { wait } = invocation
    invocation.delivery = this.#reach.transportOf(limb).deliver(
      limb,
      {
        invocationId,
        command,
        params: invocation.wish.params,
        principal,
        deadline: iso(clock.wallMs() + timeoutMs),
        ...(fence === null ? {} : { fence }),
      },
      (outcome) => {
        if (invocation.wait !== wait) return
        if (outcome instanceof Refusal) wait?.reject(outcome)
        else wait?.resolve(outcome)
      },
    )
    if (invocation.wait === wait) this.#announcer.eventSoon('invocation_started', summaryOf(invocation))
    this.#waits.passed(invocation)
    this.limbIsThere(nodeId)
    return answerOf(nodeId, invocationId, await answered)
  }

  /** Waits for an operator (null) or the limb (its result), for so long at most. */
  #wait(invocation: OpenInvocation, waitMs: number): Promise<InvocationResult | null> {
    const answered = new Promise<InvocationResult | null>((resolve, reject) => {
      invocation.wait = { resolve, reject }
    })
    this.#deadlines.set(invocation, waitMs)
    return answered.finally(() => {
      invocation.wait = null
      this.#deadlines.clear(invocation)
    })
  }

  #timeIsUp(invocation: OpenInvocation): void {
    const { approvalSeconds } = this.#world.settings.invocation
    if (invocation.isAway) {
      this.#end(invocation, { error: notBackInTime(invocation), state: 'expired' })
      return
    }
    invocation.wait?.reject(
      invocation.record.state === 'waiting'
        ? new Refusal('expired', `no operator decided within ${approvalSeconds} s; ask again`)
        : notInTime(invocation),
    )
  }

  async #begin(
    invocation: OpenInvocation,
    state: 'queued' | 'waiting' | 'running',
    wait: boolean,
  ): Promise<void> {
    if (!invocation.begun && invocation.wish.key !== null) {
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
    const kept = keeps && invocation.wish.key !== null
    const stored = this.log.step(invocation.record, entry, wait, kept ? keptOf(invocation) : undefined)
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
    const { maxKeysPerPrincipal } = this.#world.settings.invocation
    const kept = await this.#world.store.read((tx) => tx.countKeys(principal))
    if (kept < maxKeysPerPrincipal) return
    throw new Refusal(
      'too_many_requests',
      `${principal} used ${kept} idempotency keys in the last day; invoke without one, or raise invocation.maxKeysPerPrincipal`,
    )
  }

  async #ended(
    invocation: OpenInvocation,
    state: InvocationState,
    answer: InvokeAnswer | null,
    error: Refusal | null,
  ): Promise<void> {
    const { counters } = this.#world
    const durationMs = durationOf(invocation, this.#world.clock.monotonicMs())
    // What an operator denied has ended in the transaction of that decision.
    const stored =
      invocation.record.endedAt === null
        ? this.#storeEnd(invocation, state, answer, error, durationMs)
        : undefined
    this.#leaveNothing(invocation)
    counters.count('invocations', state)
    counters.took('invocation', state, durationMs)
    if (stored) await stored
    this.#announcer.eventSoon('invocation_ended', {
      ...summaryOf(invocation),
      state,
      ...(error === null ? {} : { error: error.code }),
      durationMs,
    })
    this.#stepped(invocation)
  }

  #storeEnd(
    invocation: OpenInvocation,
    state: InvocationState,
    answer: InvokeAnswer | null,
    error: Refusal | null,
    durationMs: number,
  ): Promise<void> | undefined {
    // What was never sent may be tried again with the same key; what the bridge's end interrupted must not be.
    const keepKey = invocation.delivery?.sent || state === 'interrupted'
    const cancelled = state === 'cancelled' ? invocation.cancelled : null
    invocation.record = {
      ...moved(invocation.record, state, {
        endedAt: this.#world.clock.wallMs(),
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
        ...(error === null ? {} : { code: error.code }),
        ...(cancelled?.reason == null ? {} : { reason: cancelled.reason }),
      },
    }
    return this.log.end(invocation.record, answer, entry, invocation.wish.key !== null)
  }

  /** Puts an invocation that never began on record. */
  #refused<E>(wish: InvocationWish, caller: VerbCaller, invocation: OpenInvocation | undefined, error: E): E {
    const nodeId = wish.nodeId ?? invocation?.record.nodeId ?? null
    const code = error instanceof Refusal ? error.code : 'internal'
    const { command, paramsHash, capability } = wish
    this.#world.counters.count('invocations', 'refused')
    this.log.refused(caller.name, nodeId, code, {
      command,
      paramsHash,
      ...(capability === undefined ? {} : { capability }),
      message: messageOf(error).slice(0, LIMITS.reasonChars),
    })
    this.#announcer.event('invocation_refused', {
      principal: caller.name,
      ...(nodeId === null ? {} : { nodeId }),
      command,
      error: code,
    })
    return error
  }

  /** Makes the refusal for the caller: always with the invocationId once there is a row. */
  #refusalOf(error: unknown, invocation: OpenInvocation | undefined): Refusal {
    if (!(error instanceof Refusal)) {
      this.#world.log.error(
        { error: messageOf(error), stack: (error as Error).stack },
        'an invocation failed',
      )
      return this.#refusalOf(new Refusal('internal', 'the bridge failed; its log says why'), invocation)
    }
    if (!invocation?.begun) return error
    const { invocationId, nodeId } = invocation.record
    return new Refusal(error.code, error.message, error.path, { invocationId, nodeId, ...error.details })
  }

  /**
   * Keeps its leases: the wait since it took the first one, for another lease or the disk, is no part of its time.
   */
  #keepLeases({ held, timeoutMs }: OpenInvocation): void {
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
  #leaveNothing(invocation: OpenInvocation): void {
    for (const held of invocation.held) this.#leases.giveBack(held)
    invocation.held = []
    invocation.delivery?.giveUp()
    invocation.delivery = null
    this.open.ran(invocation)
    this.open.delete(invocation)
    this.#deadlines.clear(invocation)
    this.#waits.passed(invocation)
    this.limbIsThere(invocation.record.nodeId)
  }

  #stepped(invocation: OpenInvocation): void {
    const { onStep } = invocation
    invocation.onStep = null
    onStep?.()
  }
}

const ASKER_GONE = (): Cancelled => ({ error: askerGone(), state: 'cancelled' })

function runsAlready({ invocationId, nodeId }: InvocationRecord): Refusal {
  const message = `${invocationId} runs on ${nodeId} already; the bridge has no way of stopping a limb`
  return new Refusal('conflict', message, 'invocationId', { state: 'running' })
}

export function endedAlready({ invocationId, state }: InvocationRecord): Refusal {
  return new Refusal('conflict', `${invocationId} has ended already: it is ${state}`, 'invocationId', {
    state,
  })
}

/** The row of the audit log that each step writes. */
const BEGUN = {
  queued: 'invocation.queued',
  waiting: 'invocation.waiting',
  running: 'invocation.started',
} as const

/**
 * A lease for one invocation outlives the invocation's own deadline by this, so that the invocation always ends
 * first.
 */
const LEASE_SLACK_MS = 5000

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

/** The caller of an invocation that is from before a restart: nobody is there, until somebody asks with its key. */
function callerOfBefore(name: string): VerbCaller {
  const session: Session = {
    identity: { kind: 'principal', name, role: 'agent', local: false },
    clientId: '',
    address: '',
    alive: false,
    subscribedTo: () => false,
    send: () => false,
    end: () => {},
  }
  return { name, role: 'agent', address: '', session, alive: () => false }
}

/** Returns why an invocation ended: what ended it from outside, whatever the step that it was in makes of that. */
function causeOf(error: unknown, invocation: OpenInvocation | undefined): unknown {
  const outside = invocation?.record.endedAt === null ? invocation.cancelled : null
  return outside && error instanceof Refusal ? outside.error : error
}

/** Returns the state in which it ended. One that an operator denied has ended already. */
function endedAs({ record, cancelled }: OpenInvocation, refusal: Refusal): InvocationState {
  if (record.endedAt !== null) return record.state
  return cancelled?.state ?? endStateOf(record.state, refusal.body())
}

/**
 * Returns the fence of the first capability that has the command, in the limb's order: a limb counts it there too.
 */
function fenceOf(held: readonly HeldLease[]): number | null {
  return held[0]?.fence ?? null
}
