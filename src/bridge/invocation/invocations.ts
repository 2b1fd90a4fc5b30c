import { Consent, type InvocationRecord } from '../../domain/invocations.ts'
import { iso } from '../../kernel/clock.ts'
import { Deadlines } from '../../kernel/deadline-timer.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { RunningMs } from '../../kernel/running-clock.ts'
import type { CommandDescription } from '../../protocol/descriptions.ts'
import type { InvocationState } from '../../protocol/names.ts'
import type { InvocationResult } from '../../protocol/schemas.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import type { Leases } from '../access/leases.ts'
import type { Announcer } from '../live/announcer.ts'
import { PacedLog } from '../live/paced-log.ts'
import type { LiveLimb } from '../live/registry.ts'
import type { OfflineWait, Session } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbCaller } from '../verb-context.ts'
import { answerOf, otherInvocation, takenBack, wrongResult } from './answers.ts'
import type { PendingApprovals } from './approvals.ts'
import { InvocationDecisions } from './decisions.ts'
import { ASKER_GONE, causeOf, endedAlready, endedAs, endFromOutside, runsAlready } from './ending.ts'
import { KeyedInvocations } from './idempotency.ts'
import { wishOf } from './kept-wish.ts'
import { InvocationLog, type KeptInvocation } from './log.ts'
import {
  type InvocationTarget,
  type InvocationWish,
  type InvokeAnswer,
  isTakenBackEasily,
  newInvocation,
  type OpenInvocation,
  readWish,
  summaryOf,
} from './open-invocation.ts'
import type { OpenInvocations } from './open-invocations.ts'
import { InvocationRecorder } from './recorder.ts'
import type { AllowedTarget, TargetSelector } from './target.ts'
import { InvocationWaits } from './waits.ts'

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
  readonly #context: BridgeContext
  readonly #lines: PacedLog
  readonly #targets: TargetSelector
  readonly #announcer: Announcer
  readonly #deadlines: Deadlines<OpenInvocation>
  readonly #keyed: KeyedInvocations
  readonly #recorder: InvocationRecorder
  readonly #waits: InvocationWaits
  readonly #underWay = new Set<Promise<unknown>>()
  #stopping: Refusal | undefined

  constructor(
    context: BridgeContext,
    parts: {
      open: OpenInvocations
      targets: TargetSelector
      leases: Leases
      approvals: PendingApprovals
      announcer: Announcer
    },
  ) {
    this.#context = context
    this.#lines = new PacedLog(context, LINES)
    this.open = parts.open
    this.log = new InvocationLog(context)
    this.#keyed = new KeyedInvocations(this.log)
    this.#targets = parts.targets
    this.#announcer = parts.announcer
    this.#deadlines = new Deadlines(context.clock, (invocation) => this.#waits.timeIsUp(invocation))
    const { approvals, announcer } = parts
    this.decisions = new InvocationDecisions(context, {
      log: this.log,
      deadlines: this.#deadlines,
      approvals,
      announcer,
    })
    this.#recorder = new InvocationRecorder(context, this.log, announcer)
    this.#waits = new InvocationWaits(context, {
      ...parts,
      decisions: this.decisions,
      recorder: this.#recorder,
      deadlines: this.#deadlines,
      lines: this.#lines,
    })
  }

  /** Nothing of this waits with the arguments: their params may be large, and are kept in another form. */
  invoke(args: VerbArgs<'invoke'>, caller: VerbCaller): Promise<InvokeAnswer> {
    const wish = readWish(args, this.#waits.nextPlace())
    if (this.#stopping) throw this.#stopping
    return this.#invoke(wish, caller)
  }

  async #invoke(wish: InvocationWish, caller: VerbCaller): Promise<InvokeAnswer> {
    const run = () => this.#run(wish, caller)
    const answer =
      wish.key === undefined
        ? run()
        : this.#keyed.once(wish, wish.key, caller, {
            run,
            otherInvocation: () => this.#recorder.refused(wish, caller, undefined, otherInvocation()),
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
    this.#waits.limbIsThere(nodeId)
  }

  /** Goes on with those that waited for their limb when the bridge stopped. Returns their ids. */
  async resume(kept: AsyncIterable<KeptInvocation>): Promise<ReadonlySet<string>> {
    const resumed = new Set<string>()
    for await (const { record, wait } of kept) {
      const wish = wishOf(record, wait)
      if (wish?.key === undefined) continue
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
    const { clock, running } = this.#context
    const now = { wallMs: record.createdAt, monotonicMs: clock.monotonicMs(), runningMs: running.now() }
    const caller = callerOfBefore(record.principal)
    const invocation: OpenInvocation = {
      ...newInvocation(wish, caller, { nodeId: record.nodeId, capability: record.capability }, now),
      record,
      awayUntil: endsAt as RunningMs,
      begun: true,
      kept: true,
      consent: record.decidedBy === null ? undefined : new Consent(record, record.decidedBy),
    }
    this.open.add(invocation)
    this.open.resume(record.principal, wish)
    return invocation
  }

  /** Ends the invocations that `which` accepts, in the state that `error` leads to unless told. */
  cancel(which: (invocation: OpenInvocation) => boolean, error: Refusal, state?: InvocationState): void {
    for (const invocation of this.open.values()) {
      if (which(invocation)) endFromOutside(invocation, { error, state })
    }
  }

  /**
   * Takes an invocation back that waits for its turn or for an operator. Resolves when it has ended.
   * @throws Refusal `conflict` when it runs, or has ended in another way meanwhile.
   */
  async takeBack(invocation: OpenInvocation, by: string, reason: string | undefined): Promise<void> {
    if (invocation.record.state === 'running') throw runsAlready(invocation.record)
    const ended = new Promise<void>((resolve) => invocation.onEnd.push(resolve))
    endFromOutside(invocation, { error: takenBack(by, reason), state: 'cancelled', by, reason })
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
      if (invocation.wish.key !== undefined) this.decisions.callerChanged(invocation)
      else if (isTakenBackEasily(invocation)) endFromOutside(invocation, ASKER_GONE())
    }
  }

  /**
   * The principal is no more. What waits ends with `error`; what its limb works on goes on, with a key that nobody can
   * ask again with: not even another principal of the same name.
   */
  principalGone(name: string, error: Refusal): void {
    const isOfIt = ({ record }: OpenInvocation) => record.principal === name
    this.cancel((invocation) => isOfIt(invocation) && invocation.record.state !== 'running', error)
    this.#keyed.forget(name)
    for (const invocation of this.open.values()) {
      if (isOfIt(invocation)) invocation.record = { ...invocation.record, idempotencyKey: null }
    }
  }

  #askedAgain({ key }: InvocationWish, { name, session }: VerbCaller): void {
    const invocation = this.open
      .values()
      .find(({ record }) => record.principal === name && record.idempotencyKey === key)
    if (!invocation || !session.alive) return
    const away = invocation.askers.size === 0
    invocation.askers.add(session)
    if (away) this.decisions.callerChanged(invocation)
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
      endFromOutside(invocation, { error: later, state: undefined })
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
    if (record === undefined) return
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
    invocation.wait.reject(wrongResult(nodeId, why))
    return true
  }

  async #run(wish: InvocationWish, caller: VerbCaller): Promise<InvokeAnswer> {
    try {
      this.open.enter(caller.name, wish)
    } catch (error) {
      throw this.#recorder.refused(wish, caller, undefined, error)
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
      await this.#ended(invocation, 'done', answer, undefined)
      return answer
    } catch (error) {
      const refusal = this.#recorder.refusalOf(causeOf(error, invocation), invocation)
      if (invocation?.parked) {
        // Its row stays as it is.
      } else if (invocation?.begun) {
        await this.#ended(invocation, endedAs(invocation, refusal), undefined, refusal)
      } else this.#recorder.refused(wish, caller, invocation, refusal)
      throw refusal
    } finally {
      if (invocation) this.#waits.leaveNothing(invocation)
      this.open.leave(caller.name, wish)
      for (const ended of invocation?.onEnd ?? []) ended()
    }
  }

  async #ended(
    invocation: OpenInvocation,
    state: InvocationState,
    answer: InvokeAnswer | undefined,
    error: Refusal | undefined,
  ): Promise<void> {
    const leaveNothing = () => this.#waits.leaveNothing(invocation)
    await this.#recorder.ended(invocation, state, answer, error, leaveNothing)
  }

  /** The invocation, counted as one that is meant for its limb from the turn on in which the limb was picked. */
  #aim(wish: InvocationWish, caller: VerbCaller): OpenInvocation | Promise<OpenInvocation> {
    const { clock, running } = this.#context
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
    return this.#targets.select(caller, capability, wish, open)
  }

  /** Everything is checked anew after each wait: what held before it need not hold after. */
  async #steps(invocation: OpenInvocation): Promise<InvokeAnswer> {
    for (;;) {
      const checked = this.#targets.check(
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
        this.#waits.mayWaitAgain(invocation, error)
      }
    }
  }

  /** Waits for what it lacks, and resolves to nothing; or sends it, and resolves to the answer. */
  #step(invocation: OpenInvocation, allowed: AllowedTarget): Promise<InvokeAnswer | undefined> {
    const patient = invocation.wish.offlineWaitMs > 0
    const asks = allowed.level === 'gated' && !invocation.consent
    if (allowed.unreachable && !patient) throw allowed.unreachable
    // An operator is asked while the limb sleeps: on its next visit it is too late.
    if (patient && !asks && this.#waits.mustWait(invocation, allowed)) {
      return this.#waits.awaitLimb(invocation, allowed.unreachable)
    }
    const lacking = this.#waits.lacking(invocation, allowed)
    if (lacking !== undefined) return this.#waits.awaitLease(invocation, lacking)
    return asks ? this.#waits.awaitDecision(invocation) : this.#dispatch(invocation, allowed)
  }

  /** @throws Refusal when it was cancelled, or an operator approved something else. */
  #goesOn(invocation: OpenInvocation, { capability, level }: AllowedTarget): void {
    if (invocation.cancelled) throw invocation.cancelled.error
    if (invocation.consent && capability !== invocation.record.capability) {
      throw new Refusal('conflict', 'the limb moved the command to another capability; ask for approval anew')
    }
    invocation.record = { ...invocation.record, capability, level }
  }

  /** Returns the time that the caller gives, else that which the description of the command asks for. */
  #timeoutMs({ timeoutMs }: InvocationWish, described: CommandDescription | undefined): number {
    return timeoutMs ?? (described?.timeoutSeconds ?? this.#context.settings.invocation.timeoutSeconds) * 1000
  }

  async #dispatch(invocation: OpenInvocation, { limb, level }: AllowedTarget): Promise<InvokeAnswer> {
    if (level === 'gated' && !invocation.consent?.use(invocation.record)) {
      throw new Refusal('denied', 'the approval was for another invocation')
    }
    this.open.run(invocation)
    this.#waits.keepLeases(invocation)
    await this.#recorder.begin(invocation, 'running', invocation.wish.key !== undefined)
    if (invocation.cancelled) throw invocation.cancelled.error
    this.#waits.keepLeases(invocation)
    const answered = this.#waits.awaitAnswer(invocation, invocation.timeoutMs)
    this.#deliver(invocation, limb)
    this.#waits.passed(invocation)
    const { nodeId, invocationId } = invocation.record
    return answerOf(nodeId, invocationId, await answered)
  }

  /** Hands it to the transport. Whoever waits for the answer holds nothing of what was sent. */
  #deliver(invocation: OpenInvocation, limb: LiveLimb): void {
    const { timeoutMs, wait } = invocation
    const { invocationId, command, principal, fence } = invocation.record
    const { clock } = this.#context
    invocation.delivery = this.#targets.transportOf(limb).deliver(
      limb,
      {
        invocationId,
        command,
        params: invocation.wish.params(),
        principal,
        deadline: iso(clock.wallMs() + timeoutMs),
        ...(fence === null ? {} : { fence }),
      },
      (outcome) => {
        if (invocation.wait !== wait) return
        if (outcome instanceof Refusal) wait?.reject(outcome)
        else wait?.resolve(outcome)
      },
      timeoutMs,
    )
    if (invocation.wait === wait) this.#announcer.eventSoon('invocation_started', summaryOf(invocation))
  }
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
