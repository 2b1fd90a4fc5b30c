import { endStateOf, type InvocationRecord, moved } from '../../domain/invocations.ts'
import { iso } from '../../kernel/clock.ts'
import { Deadlines } from '../../kernel/deadline-timer.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import { newId } from '../../kernel/secrets.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { InvocationState } from '../../protocol/names.ts'
import type { InvocationResult } from '../../protocol/schemas.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import type { HeldLease, Leases, QueuedLease } from '../access/leases.ts'
import type { Announcer } from '../live/announcer.ts'
import type { Session } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbCaller } from '../verb-context.ts'
import { answerOf, askerGone, otherInvocation, takenBack } from './answers.ts'
import type { PendingApprovals } from './approvals.ts'
import { InvocationDecisions } from './decisions.ts'
import { KeyedInvocations } from './idempotency.ts'
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
import { checkParams } from './params-check.ts'
import type { AllowedTarget, TargetSelector } from './target.ts'

/**
 * Calls, from the request to the answer: may it, can it, lease, consent, dispatch, result. A call is one run of
 * `#steps`; every wait in it ends by itself, or by `cancel`.
 *
 * A limb whose connection ends while it works is waited for until the deadline: what it did may be done, and a
 * result that it sends after it has come back still answers the call.
 */
export class Invocations {
  readonly open: OpenInvocations
  readonly log: InvocationLog
  readonly decisions: InvocationDecisions
  readonly #world: BridgeContext
  readonly #reach: TargetSelector
  readonly #leases: Leases
  readonly #approvals: PendingApprovals
  readonly #announcer: Announcer
  readonly #alarm: Deadlines<OpenInvocation>
  readonly #keyed: KeyedInvocations
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
    this.open = parts.open
    this.log = new InvocationLog(world)
    this.#keyed = new KeyedInvocations(this.log)
    this.#reach = parts.reach
    this.#leases = parts.leases
    this.#approvals = parts.approvals
    this.#announcer = parts.announcer
    this.#alarm = new Deadlines(world.clock, (call) => this.#timeIsUp(call))
    const { approvals, announcer } = parts
    this.decisions = new InvocationDecisions(world, {
      log: this.log,
      alarm: this.#alarm,
      approvals,
      announcer,
    })
  }

  async invoke(args: VerbArgs<'invoke'>, caller: VerbCaller): Promise<InvokeAnswer> {
    const wish = readWish(args, this.#world.settings)
    if (this.#stopping) throw this.#stopping
    const run = () => this.#run(wish, caller)
    const answer =
      wish.key === null
        ? run()
        : this.#keyed.once(wish, wish.key, caller.name, {
            run,
            otherCall: () => this.#refused(wish, caller, undefined, otherInvocation()),
            again: () => this.#askedAgain(wish, caller),
          })
    this.#underWay.add(answer)
    try {
      return await answer
    } finally {
      this.#underWay.delete(answer)
    }
  }

  /** Ends the calls that `which` accepts, in the state that `error` leads to unless told. */
  cancel(
    which: (call: OpenInvocation) => boolean,
    error: Refusal,
    state: InvocationState | null = null,
  ): void {
    for (const call of this.open.values()) {
      if (which(call)) this.#end(call, { error, state })
    }
  }

  /**
   * Takes a call back that waits for its turn or for an operator. Resolves when it has ended.
   * @throws Refusal `conflict` when it runs, or has ended in another way meanwhile.
   */
  async takeBack(call: OpenInvocation, by: string, reason: string | null): Promise<void> {
    if (call.record.state === 'running') throw runsAlready(call.record)
    const ended = new Promise<void>((resolve) => call.onEnd.push(resolve))
    this.#end(call, { error: takenBack(by, reason), state: 'cancelled', by, reason })
    await ended
    if (call.begun && call.record.state !== 'cancelled') throw endedAlready(call.record)
  }

  /**
   * Ends before it is sent what nobody can be given the answer of; an invocation with a key is shown as its caller
   * being away.
   */
  callerGone(session: Session): void {
    for (const call of this.open.values()) {
      if (!call.askers.delete(session) || call.askers.size > 0) continue
      if (call.wish.key !== null) this.decisions.callerChanged(call)
      else if (isTakenBackEasily(call)) this.#end(call, ASKER_GONE())
    }
  }

  #askedAgain({ key }: InvocationWish, { name, session }: VerbCaller): void {
    const call = this.open.values().find(({ record, wish }) => record.principal === name && wish.key === key)
    if (!call || !session.alive) return
    const away = call.askers.size === 0
    call.askers.add(session)
    if (away) this.decisions.callerChanged(call)
  }

  #end(call: OpenInvocation, why: Cancelled): void {
    if (call.cancelled) return
    call.cancelled = why
    call.wait?.reject(why.error)
  }

  /** @throws Refusal when it was cancelled, or has come to wait with nobody to wait for it. */
  #checkWanted(call: OpenInvocation): void {
    if (isUnwanted(call)) this.#end(call, ASKER_GONE())
    if (call.cancelled) throw call.cancelled.error
  }

  /** Answers every caller and stores how each call ended. */
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
    this.cancel(() => true, unsent, 'interrupted')
    await Promise.allSettled([...this.#underWay])
    this.#alarm.stop()
    this.log.stop()
  }

  /** The answer of a limb, whichever way it came. False when no call of this limb waits for it. */
  settle(nodeId: string, result: InvocationResult): boolean {
    const call = this.open.get(result.invocationId)
    if (!call?.wait || call.record.nodeId !== nodeId || call.record.state !== 'running') return false
    call.wait.resolve(result)
    return true
  }

  /** A limb answered what waits no more. On record, and told, when its time was up. */
  async late(nodeId: string, invocationId: string, success: boolean): Promise<void> {
    const record = await this.log.late(nodeId, invocationId, success)
    if (record === null) return
    const { principal, command } = record
    const how = success ? 'it did it' : 'it failed'
    this.#world.log.info(
      { invocationId, principal, nodeId, command, success },
      `${nodeId} answered ${invocationId} after its time was up: ${how}`,
    )
    this.#announcer.event('invocation_late', { invocationId, principal, nodeId, command, success })
  }

  /** The limb answered, but not as the protocol says. */
  settleWrong(nodeId: string, invocationId: string, why: string): boolean {
    const call = this.open.get(invocationId)
    if (!call?.wait || call.record.nodeId !== nodeId || call.record.state !== 'running') return false
    call.wait.reject(new Refusal('node_error', `${nodeId} sent a wrong result: ${why}`))
    return true
  }

  async #run(wish: InvocationWish, caller: VerbCaller): Promise<InvokeAnswer> {
    let call: OpenInvocation | undefined
    try {
      this.open.enter(caller.name, wish)
    } catch (error) {
      throw this.#refused(wish, caller, undefined, error)
    }
    try {
      call = await this.#aim(wish, caller)
      const answer = await this.#steps(call)
      await this.#ended(call, 'done', answer, null)
      return answer
    } catch (error) {
      const refusal = this.#refusalOf(causeOf(error, call), call)
      if (call?.begun) {
        await this.#ended(call, endedAs(call, refusal), null, refusal)
      } else this.#refused(wish, caller, call, refusal)
      throw refusal
    } finally {
      if (call) this.#leaveNothing(call)
      this.open.leave(caller.name, wish)
      for (const tell of call?.onEnd ?? []) tell()
    }
  }

  /** The call, counted as one that is meant for its limb from the turn on in which the limb was picked. */
  #aim(wish: InvocationWish, caller: VerbCaller): OpenInvocation | Promise<OpenInvocation> {
    const { clock } = this.#world
    const { nodeId, capability = '' } = wish
    const open = (target: InvocationTarget) => {
      // Its key or its limb was looked for meanwhile.
      if (this.#stopping) throw this.#stopping
      const call = newInvocation(wish, caller, target, clock.wallMs(), clock.monotonicMs())
      this.open.add(call)
      return call
    }
    if (nodeId !== undefined) return open({ nodeId, capability })
    return this.#reach.select(caller.name, capability, wish, open)
  }

  /** Everything is checked anew after each wait: what held before it need not hold after. */
  async #steps(call: OpenInvocation): Promise<InvokeAnswer> {
    for (;;) {
      const checked = this.#reach.check(call.record.principal, call.record.nodeId, call.wish)
      const allowed = checked instanceof Promise ? await checked : checked
      checkParams(call.wish, allowed.limb.record)
      this.#goesOn(call, allowed)
      const lacking = this.#lacking(call, allowed)
      if (lacking !== undefined) await this.#lease(call, lacking)
      else if (allowed.level === 'gated' && !call.consent) await this.#ask(call)
      else return await this.#dispatch(call, allowed)
    }
  }

  /** @throws Refusal when it was cancelled, or an operator approved something else. */
  #goesOn(call: OpenInvocation, { capability, level }: AllowedTarget): void {
    if (call.cancelled) throw call.cancelled.error
    if (call.consent && capability !== call.record.capability) {
      throw new Refusal('conflict', 'the limb moved the command to another capability; ask for approval anew')
    }
    call.record = { ...call.record, capability, level }
  }

  /**
   * The first capability whose lease the call still needs. What it holds of others behind it goes back, so that
   * all take several leases in the same order.
   */
  #lacking(call: OpenInvocation, { leases }: AllowedTarget): string | undefined {
    const kept = []
    let lacking: string | undefined
    for (const capability of leases) {
      const held = call.held.find(({ lease }) => lease.wish.capability === capability)
      if (held && this.#leases.holds(held)) kept.push(held)
      else {
        lacking = capability
        break
      }
    }
    if (call.held.length !== kept.length) this.#giveBack(call, kept)
    return lacking
  }

  async #lease(call: OpenInvocation, capability: string): Promise<void> {
    const { nodeId, principal } = call.record
    const waited = this.#world.clock.monotonicMs() - call.askedAt
    const wish = {
      leaseId: newId('ls_'),
      nodeId,
      capability,
      principal,
      single: true,
      ttlMs: call.wish.timeoutMs + LEASE_SLACK_MS,
    }
    // Without a key nobody can ask for the answer later: a call that nobody waits for any more need not run.
    const alive = () => call.wish.key !== null || call.caller.alive()
    const taking = this.#leases.take(wish, Math.max(0, call.wish.waitMs - waited), alive)
    const held = await (taking.queued ? this.#queue(call, taking) : taking.held)
    call.held = [...call.held, held]
    call.record = { ...call.record, fence: fenceOf(call.held) }
    if (call.cancelled) throw call.cancelled.error
  }

  /** Waits for its turn, unless it is cancelled. A call that ends here leaves nothing in the queue. */
  async #queue(call: OpenInvocation, { held, leave }: QueuedLease): Promise<HeldLease> {
    call.wait = { resolve: () => {}, reject: leave }
    // What comes while the row is stored is heard below.
    held.catch(() => {})
    try {
      await this.#begin(call, 'queued', false)
      this.#checkWanted(call)
      return await held
    } catch (error) {
      leave(error)
      held.then(
        (got) => this.#leases.giveBack(got),
        () => {},
      )
      throw error
    } finally {
      call.wait = null
    }
  }

  /** Waits for an operator. What it asks is on disk before anybody is asked. */
  async #ask(call: OpenInvocation): Promise<void> {
    const { clock, settings, log } = this.#world
    this.open.await()
    try {
      await this.#begin(call, 'waiting', true)
      this.#checkWanted(call)
      const waitMs = settings.invocation.approvalSeconds * 1000
      const now = clock.wallMs()
      const shown = this.#approvals.add(call, now, now + waitMs)
      const answered = this.#wait(call, waitMs)
      log.info(
        { ...summaryOf(call) },
        `${call.record.principal} asks to run ${call.record.command} on ${call.record.nodeId}: limb-bridge invocation approve ${call.record.invocationId}`,
      )
      this.#announcer.approval(shown)
      this.#announcer.event('invocation_waiting', { approval: shown })
      await answered
    } finally {
      this.open.awaited()
      this.decisions.hide(call)
    }
  }

  async #dispatch(call: OpenInvocation, { limb, level }: AllowedTarget): Promise<InvokeAnswer> {
    const { clock } = this.#world
    if (level === 'gated' && !call.consent?.use(call.record)) {
      throw new Refusal('denied', 'the approval was for another call')
    }
    this.open.run(call)
    this.#keepLeases(call)
    await this.#begin(call, 'running', call.wish.key !== null)
    if (call.cancelled) throw call.cancelled.error
    this.#keepLeases(call)
    const { timeoutMs } = call.wish
    const { invocationId, nodeId, command, principal, fence } = call.record
    const answered = this.#wait(call, timeoutMs)
    const { wait } = call
    call.delivery = this.#reach.transportOf(limb).deliver(
      limb,
      {
        invocationId,
        command,
        params: call.wish.params,
        principal,
        deadline: iso(clock.wallMs() + timeoutMs),
        ...(fence === null ? {} : { fence }),
      },
      (outcome) => {
        if (call.wait !== wait) return
        if (outcome instanceof Refusal) wait?.reject(outcome)
        else wait?.resolve(outcome)
      },
    )
    if (call.wait === wait) this.#announcer.eventSoon('invocation_started', summaryOf(call))
    return answerOf(nodeId, invocationId, await answered)
  }

  /** Waits for an operator (null) or the limb (its result), for so long at most. */
  #wait(call: OpenInvocation, waitMs: number): Promise<InvocationResult | null> {
    const answered = new Promise<InvocationResult | null>((resolve, reject) => {
      call.wait = { resolve, reject }
    })
    this.#alarm.set(call, waitMs)
    return answered.finally(() => {
      call.wait = null
      this.#alarm.clear(call)
    })
  }

  #timeIsUp(call: OpenInvocation): void {
    const { approvalSeconds } = this.#world.settings.invocation
    call.wait?.reject(
      call.record.state === 'waiting'
        ? new Refusal('expired', `no operator decided within ${approvalSeconds} s; ask again`)
        : notInTime(call),
    )
  }

  async #begin(call: OpenInvocation, state: 'queued' | 'waiting' | 'running', wait: boolean): Promise<void> {
    if (!call.begun && call.wish.key !== null) {
      await this.#checkKeys(call.record.principal)
      if (call.cancelled) throw call.cancelled.error
    }
    // A call that waits twice, first for one lease and then for another, is queued all the while.
    if (call.begun && call.record.state === state) return
    call.record = call.begun ? moved(call.record, state) : { ...call.record, state }
    call.begun = true
    const entry = {
      actor: call.record.principal,
      kind: BEGUN[state],
      outcome: call.record.level,
      detail: call.record.decidedBy === null ? {} : { approvedBy: call.record.decidedBy },
    }
    const stored = this.log.step(call.record, entry, wait)
    if (stored) await stored
    this.#stepped(call)
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
    call: OpenInvocation,
    state: InvocationState,
    answer: InvokeAnswer | null,
    error: Refusal | null,
  ): Promise<void> {
    const { counters } = this.#world
    const durationMs = durationOf(call, this.#world.clock.monotonicMs())
    // What an operator denied has ended in the transaction of that decision.
    const stored =
      call.record.endedAt === null ? this.#storeEnd(call, state, answer, error, durationMs) : undefined
    this.#leaveNothing(call)
    counters.count('invocations', state)
    counters.took('invocation', state, durationMs)
    if (stored) await stored
    this.#announcer.eventSoon('invocation_ended', {
      ...summaryOf(call),
      state,
      ...(error === null ? {} : { error: error.code }),
      durationMs,
    })
    this.#stepped(call)
  }

  #storeEnd(
    call: OpenInvocation,
    state: InvocationState,
    answer: InvokeAnswer | null,
    error: Refusal | null,
    durationMs: number,
  ): Promise<void> | undefined {
    // What was never sent may be tried again with the same key; what the bridge's end interrupted must not be.
    const keepKey = call.delivery?.sent || state === 'interrupted'
    const cancelled = state === 'cancelled' ? call.cancelled : null
    call.record = {
      ...moved(call.record, state, { endedAt: this.#world.clock.wallMs(), error: error?.body() ?? null }),
      ...(cancelled?.reason === undefined ? {} : { reason: cancelled.reason }),
      ...(keepKey ? {} : { idempotencyKey: null }),
    }
    const byNode = state === 'done' || error?.code === 'node_error'
    const entry = {
      actor: byNode ? call.record.nodeId : (cancelled?.by ?? 'bridge'),
      kind: 'invocation.ended' as const,
      outcome: state,
      detail: {
        durationMs,
        ...(error === null ? {} : { code: error.code }),
        ...(cancelled?.reason == null ? {} : { reason: cancelled.reason }),
      },
    }
    return this.log.end(call.record, answer, entry, call.wish.key !== null)
  }

  /** Puts a call that never began on record. */
  #refused<E>(wish: InvocationWish, caller: VerbCaller, call: OpenInvocation | undefined, error: E): E {
    const nodeId = wish.nodeId ?? call?.record.nodeId ?? null
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
  #refusalOf(error: unknown, call: OpenInvocation | undefined): Refusal {
    if (!(error instanceof Refusal)) {
      this.#world.log.error({ error: messageOf(error), stack: (error as Error).stack }, 'a call failed')
      return this.#refusalOf(new Refusal('internal', 'the bridge failed; its log says why'), call)
    }
    if (!call?.begun) return error
    const { invocationId, nodeId } = call.record
    return new Refusal(error.code, error.message, error.path, { invocationId, nodeId, ...error.details })
  }

  /**
   * Keeps its leases: the wait since it took the first one, for another lease or the disk, is no part of its time.
   */
  #keepLeases({ held, wish }: OpenInvocation): void {
    for (const each of held) this.#leases.use(each, wish.timeoutMs)
    for (const each of held) this.#leases.keep(each, wish.timeoutMs + LEASE_SLACK_MS)
  }

  /** All leases but the `kept` ones. */
  #giveBack(call: OpenInvocation, kept: readonly HeldLease[]): void {
    for (const held of call.held) if (!kept.includes(held)) this.#leases.giveBack(held)
    call.held = kept
    call.record = { ...call.record, fence: fenceOf(kept) }
  }

  /** Leaves nothing of an invocation, whatever way it ended: no lease, no place among the running, no timer. */
  #leaveNothing(call: OpenInvocation): void {
    for (const held of call.held) this.#leases.giveBack(held)
    call.held = []
    call.delivery?.giveUp()
    call.delivery = null
    this.open.ran(call)
    this.open.delete(call)
    this.#alarm.clear(call)
  }

  #stepped(call: OpenInvocation): void {
    const { onStep } = call
    call.onStep = null
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

/** A lease for one call outlives the call's own deadline by this, so that the call always ends first. */
const LEASE_SLACK_MS = 5000

function notInTime({ record: { nodeId }, wish, delivery }: OpenInvocation): Refusal {
  const seconds = wish.timeoutMs / 1000
  return new Refusal(
    'timeout',
    delivery?.sent
      ? `${nodeId} did not answer within ${seconds} s; whether it ran the command is not known`
      : `${nodeId} could not be connected to within ${seconds} s; the command was not sent`,
  )
}

/** Returns why an invocation ended: what ended it from outside, whatever the step that it was in makes of that. */
function causeOf(error: unknown, call: OpenInvocation | undefined): unknown {
  const outside = call?.record.endedAt === null ? call.cancelled : null
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
