import { shallow } from '../domain/canonical.ts'
import { Consent, endStateOf, type InvocationRecord, moved, nodeErrorText } from '../domain/invocations.ts'
import { iso } from '../kernel/clock.ts'
import { type ErrorBody, messageOf, Refusal } from '../kernel/errors.ts'
import { newId } from '../kernel/secrets.ts'
import { visible } from '../kernel/visible.ts'
import { LIMITS } from '../protocol/limits.ts'
import type { InvocationState } from '../protocol/names.ts'
import type { InvocationResult } from '../protocol/schemas.ts'
import type { VerbArgs } from '../protocol/verbs.ts'
import { Alarm } from './alarm.ts'
import type { Announcer } from './announcer.ts'
import type { Approvals } from './approvals.ts'
import { type Call, type CallWish, type InvokeAnswer, newCall, readWish } from './call.ts'
import { CallLog } from './call-log.ts'
import type { LeaseKeeper } from './lease-keeper.ts'
import type { OpenCalls } from './open-calls.ts'
import type { Allowed, Reach } from './reach.ts'
import type { World } from './settings.ts'
import type { Caller } from './verb-context.ts'

interface Keyed {
  readonly fingerprint: string | null
  readonly answer: Promise<InvokeAnswer>
}

/**
 * Calls, from the request to the answer: may it, can it, lease, consent, dispatch, result. A call is one run of
 * `#steps`; every wait in it ends by itself, or by `cancel`.
 *
 * A limb whose connection ends while it works is waited for until the deadline: what it did may be done, and a
 * result that it sends after it has come back still answers the call.
 */
export class Invocations {
  readonly open: OpenCalls
  readonly log: CallLog
  readonly #world: World
  readonly #reach: Reach
  readonly #leases: LeaseKeeper
  readonly #approvals: Approvals
  readonly #announcer: Announcer
  readonly #alarm: Alarm<Call>
  /** Calls with an idempotency key, by principal and key, until their answer is stored. */
  readonly #keyed = new Map<string, Map<string, Keyed>>()
  readonly #underWay = new Set<Promise<unknown>>()
  #stopping: Refusal | null = null

  constructor(
    world: World,
    parts: {
      open: OpenCalls
      reach: Reach
      leases: LeaseKeeper
      approvals: Approvals
      announcer: Announcer
    },
  ) {
    this.#world = world
    this.open = parts.open
    this.log = new CallLog(world)
    this.#reach = parts.reach
    this.#leases = parts.leases
    this.#approvals = parts.approvals
    this.#announcer = parts.announcer
    this.#alarm = new Alarm(world.clock, (call) => this.#timeIsUp(call))
  }

  async invoke(args: VerbArgs<'invoke'>, caller: Caller): Promise<InvokeAnswer> {
    const wish = readWish(args, this.#world.settings)
    if (this.#stopping) throw this.#stopping
    const answer = wish.key === null ? this.#run(wish, caller) : this.#once(wish, wish.key, caller)
    this.#underWay.add(answer)
    try {
      return await answer
    } finally {
      this.#underWay.delete(answer)
    }
  }

  /** Ends the calls that `which` accepts. */
  cancel(which: (call: Call) => boolean, error: Refusal, state: InvocationState = 'failed'): void {
    for (const call of this.open.values()) {
      if (call.cancelled || !which(call)) continue
      call.cancelled = { error, state }
      call.wait?.reject(error)
    }
  }

  /** Answers every caller and stores how each call ended. */
  async stop(): Promise<void> {
    this.#stopping = new Refusal('internal', 'bridge restarted: it is stopping; ask again when it is back')
    this.cancel(() => true, this.#stopping, 'interrupted')
    await Promise.allSettled([...this.#underWay])
    this.#alarm.stop()
  }

  /** The answer of a limb, whichever way it came. False when no call of this limb waits for it. */
  settle(nodeId: string, result: InvocationResult): boolean {
    const call = this.open.get(result.invocationId)
    if (!call?.wait || call.record.nodeId !== nodeId || call.record.state !== 'running') return false
    call.wait.resolve(result)
    return true
  }

  /** The limb answered, but not as the protocol says. */
  settleWrong(nodeId: string, invocationId: string, why: string): boolean {
    const call = this.open.get(invocationId)
    if (!call?.wait || call.record.nodeId !== nodeId || call.record.state !== 'running') return false
    call.wait.reject(new Refusal('node_error', `${nodeId} sent a wrong result: ${why}`))
    return true
  }

  /** An operator's yes. Resolves when the call was sent, or could not be. */
  async approve(call: Call, by: string, reason: string | null): Promise<InvocationRecord> {
    const { wait } = call
    if (call.record.state !== 'waiting' || !wait) throw decidedAlready()
    // From here on nobody else decides: neither another operator nor the clock.
    call.wait = null
    this.#alarm.clear(call)
    const decided: InvocationRecord = { ...call.record, decidedBy: by, reason }
    try {
      await this.log.step(
        decided,
        { actor: by, kind: 'invocation.approved', outcome: 'approved', detail: { reason } },
        true,
      )
    } catch (error) {
      if (call.cancelled) wait.reject(call.cancelled.error)
      else this.#awaitAgain(call, wait)
      throw error
    }
    call.record = decided
    call.consent = new Consent(decided, by)
    const stepped = new Promise<void>((resolve) => {
      call.onStep = resolve
    })
    this.#announcer.event('invocation_approved', {
      ...told(call),
      by,
      ...(reason === null ? {} : { reason }),
    })
    wait.resolve(null)
    await stepped
    return call.record
  }

  /** Nothing was stored: the question stays open for what is left of its time. */
  #awaitAgain(call: Call, wait: NonNullable<Call['wait']>): void {
    call.wait = wait
    const shown = this.#approvals.get(call.record.invocationId)?.shown
    const left = shown ? Date.parse(shown.expiresAt) - this.#world.clock.wallMs() : 0
    this.#alarm.set(call, Math.max(0, left))
  }

  /** An operator's no. Resolves when the call has ended. */
  async deny(call: Call, by: string, reason: string | null): Promise<InvocationRecord> {
    const { wait } = call
    if (call.record.state !== 'waiting' || !wait) throw decidedAlready()
    call.wait = null
    this.#alarm.clear(call)
    call.record = { ...call.record, decidedBy: by, reason }
    const stepped = new Promise<void>((resolve) => {
      call.onStep = resolve
    })
    this.#announcer.event('invocation_denied', { ...told(call), by, ...(reason === null ? {} : { reason }) })
    wait.reject(new Refusal('denied', `${by} denied it${reason === null ? '' : `: ${reason}`}`))
    await stepped
    return call.record
  }

  /** The same key gives the same answer: of the call under way, or of the one that is stored. */
  async #once(wish: CallWish, key: string, caller: Caller): Promise<InvokeAnswer> {
    const own = this.#keyed.get(caller.name) ?? new Map<string, Keyed>()
    const known = own.get(key)
    if (known) {
      if (known.fingerprint !== wish.fingerprint) throw otherCall()
      return known.answer
    }
    const answer = this.#firstOrStored(wish, key, caller)
    own.set(key, { fingerprint: wish.fingerprint, answer })
    this.#keyed.set(caller.name, own)
    try {
      return await answer
    } finally {
      own.delete(key)
      if (own.size === 0) this.#keyed.delete(caller.name)
    }
  }

  async #firstOrStored(wish: CallWish, key: string, caller: Caller): Promise<InvokeAnswer> {
    const found = await this.log.byKey(caller.name, key)
    if (!found) return this.#run(wish, caller)
    const { record, answer } = found
    if (record.fingerprint !== wish.fingerprint) throw otherCall()
    if (record.error) throw refusalOf(record.error)
    if (answer !== null) return JSON.parse(answer) as InvokeAnswer
    throw new Refusal('internal', 'the first call with this key ran, but its answer could not be stored')
  }

  async #run(wish: CallWish, caller: Caller): Promise<InvokeAnswer> {
    const { clock } = this.#world
    let nodeId = wish.nodeId ?? null
    let call: Call | undefined
    try {
      this.open.enter(caller.name, wish)
    } catch (error) {
      this.#refused(wish, caller, nodeId, error)
      throw error
    }
    try {
      const target =
        wish.nodeId === undefined
          ? await this.#reach.select(caller.name, wish.capability ?? '', wish)
          : { nodeId: wish.nodeId, capability: wish.capability ?? '' }
      nodeId = target.nodeId
      call = newCall(wish, caller, target, clock.wallMs(), clock.monotonicMs())
      this.open.add(call)
      const answer = await this.#steps(call)
      await this.#ended(call, 'done', answer, null)
      return answer
    } catch (error) {
      const refusal = this.#refusalOf(error, call)
      if (call?.begun)
        await this.#ended(
          call,
          call.cancelled?.state ?? endStateOf(call.record.state, refusal.body()),
          null,
          refusal,
        )
      else this.#refused(wish, caller, nodeId, refusal)
      throw refusal
    } finally {
      if (call) this.#leaveNothing(call)
      this.open.leave(caller.name, wish)
    }
  }

  /** Everything is checked anew after each wait: what held before it need not hold after. */
  async #steps(call: Call): Promise<InvokeAnswer> {
    for (;;) {
      const allowed = await this.#check(call)
      if (allowed.level === 'leased' && !(call.held && this.#leases.holds(call.held))) await this.#lease(call)
      else if (allowed.level === 'gated' && !call.consent) await this.#ask(call)
      else return await this.#dispatch(call, allowed)
    }
  }

  async #check(call: Call): Promise<Allowed> {
    const allowed = await this.#reach.check(call.record.principal, call.record.nodeId, call.wish)
    if (call.cancelled) throw call.cancelled.error
    if (call.consent && allowed.capability !== call.record.capability) {
      throw new Refusal('conflict', 'the limb moved the command to another capability; ask for approval anew')
    }
    const { capability, level } = allowed
    call.record = { ...call.record, capability, level }
    return allowed
  }

  async #lease(call: Call): Promise<void> {
    const { nodeId, capability, principal } = call.record
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
    const alive = () => call.cancelled === null && (call.wish.key !== null || call.caller.alive())
    const taking = this.#leases.take(wish, Math.max(0, call.wish.waitMs - waited), alive)
    if (taking.queued) await this.#begin(call, 'queued', false)
    const held = await taking.held
    call.held = held
    call.record = { ...call.record, fence: held.fence }
    if (call.cancelled) throw call.cancelled.error
  }

  /** Waits for an operator. What it asks is on disk before anybody is asked. */
  async #ask(call: Call): Promise<void> {
    const { clock, settings, log } = this.#world
    this.#giveBack(call)
    this.open.await()
    try {
      await this.#begin(call, 'waiting', true)
      if (call.cancelled) throw call.cancelled.error
      const waitMs = settings.invocation.approvalSeconds * 1000
      const now = clock.wallMs()
      const shown = this.#approvals.add(call, now, now + waitMs)
      const answered = this.#wait(call, waitMs)
      log.info(
        { ...told(call) },
        `${call.record.principal} asks to run ${call.record.command} on ${call.record.nodeId}: limb-bridge invocation approve ${call.record.invocationId}`,
      )
      this.#announcer.approval(shown)
      this.#announcer.event('invocation_waiting', { approval: shown })
      await answered
    } finally {
      this.open.awaited()
      if (this.#approvals.delete(call.record.invocationId)) {
        this.#announcer.approvalGone(call.record.invocationId)
      }
    }
  }

  async #dispatch(call: Call, { limb, level }: Allowed): Promise<InvokeAnswer> {
    const { clock } = this.#world
    if (level === 'gated' && !call.consent?.use(call.record)) {
      throw new Refusal('denied', 'the approval was for another call')
    }
    if (level !== 'leased') this.#giveBack(call)
    this.open.run(call)
    await this.#begin(call, 'running', call.wish.key !== null)
    if (call.cancelled) throw call.cancelled.error
    const { timeoutMs } = call.wish
    const { invocationId, nodeId, command, principal, fence } = call.record
    const answered = this.#wait(call, timeoutMs)
    const { wait } = call
    call.giveUp = this.#reach.transportOf(limb).deliver(
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
    if (call.wait === wait) this.#announcer.event('invocation_started', told(call))
    return answerOf(nodeId, invocationId, await answered)
  }

  /** Waits for an operator (null) or the limb (its result), for so long at most. */
  #wait(call: Call, waitMs: number): Promise<InvocationResult | null> {
    const answered = new Promise<InvocationResult | null>((resolve, reject) => {
      call.wait = { resolve, reject }
    })
    this.#alarm.set(call, waitMs)
    return answered.finally(() => {
      call.wait = null
      this.#alarm.clear(call)
    })
  }

  #timeIsUp(call: Call): void {
    const { nodeId, state } = call.record
    call.wait?.reject(
      state === 'waiting'
        ? new Refusal(
            'expired',
            `no operator decided within ${this.#world.settings.invocation.approvalSeconds} s; ask again`,
          )
        : new Refusal(
            'timeout',
            `${nodeId} did not answer within ${call.wish.timeoutMs / 1000} s; whether it ran the command is not known`,
          ),
    )
  }

  async #begin(call: Call, state: 'queued' | 'waiting' | 'running', wait: boolean): Promise<void> {
    if (!call.begun && call.wish.key !== null) await this.#checkKeys(call.record.principal)
    call.record = call.begun ? moved(call.record, state) : { ...call.record, state }
    call.begun = true
    const entry = {
      actor: call.record.principal,
      kind: BEGUN[state],
      outcome: call.record.level,
      detail: call.record.decidedBy === null ? {} : { approvedBy: call.record.decidedBy },
    }
    await this.log.step(call.record, entry, wait)
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
    call: Call,
    state: InvocationState,
    answer: InvokeAnswer | null,
    error: Refusal | null,
  ): Promise<void> {
    const { clock, counters } = this.#world
    const ran = call.record.state === 'running'
    const denied = call.record.state === 'waiting' && state === 'denied' && call.record.decidedBy !== null
    // What never ran, and no operator decided, may be tried again with the same key.
    const keepKey = ran || denied || state === 'expired' || state === 'interrupted'
    call.record = {
      ...moved(call.record, state, { endedAt: clock.wallMs(), error: error?.body() ?? null }),
      ...(keepKey ? {} : { idempotencyKey: null }),
    }
    const durationMs = Math.round(clock.monotonicMs() - call.askedAt)
    const byNode = state === 'done' || error?.code === 'node_error'
    const entry = {
      actor: denied ? (call.record.decidedBy ?? 'bridge') : byNode ? call.record.nodeId : 'bridge',
      kind: denied ? 'invocation.denied' : 'invocation.ended',
      outcome: state,
      detail: {
        durationMs,
        ...(error === null ? {} : { code: error.code }),
        ...(denied ? { reason: call.record.reason } : {}),
      },
    }
    this.#leaveNothing(call)
    counters.count('invocations', state)
    counters.took('invocation', state, durationMs)
    await this.log.end(call.record, answer, entry, call.wish.key !== null || denied)
    this.#announcer.event('invocation_ended', {
      ...told(call),
      state,
      ...(error === null ? {} : { error: error.code }),
      durationMs,
    })
    this.#stepped(call)
  }

  #refused(wish: CallWish, caller: Caller, nodeId: string | null, error: unknown): void {
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
  }

  /** What the caller is told: always with the invocationId once there is a row. */
  #refusalOf(error: unknown, call: Call | undefined): Refusal {
    if (!(error instanceof Refusal)) {
      this.#world.log.error({ error: messageOf(error), stack: (error as Error).stack }, 'a call failed')
      return this.#refusalOf(new Refusal('internal', 'the bridge failed; its log says why'), call)
    }
    if (!call?.begun) return error
    const { invocationId, nodeId } = call.record
    return new Refusal(error.code, error.message, error.path, { invocationId, nodeId, ...error.details })
  }

  #giveBack(call: Call): void {
    if (!call.held) return
    this.#leases.giveBack(call.held)
    call.held = null
    call.record = { ...call.record, fence: null }
  }

  /** Whatever way a call ended: no lease, no place among the running, no timer. */
  #leaveNothing(call: Call): void {
    if (call.held) this.#leases.giveBack(call.held)
    call.held = null
    call.giveUp?.()
    call.giveUp = null
    this.open.ran(call)
    this.open.delete(call)
    this.#alarm.clear(call)
  }

  #stepped(call: Call): void {
    const { onStep } = call
    call.onStep = null
    onStep?.()
  }
}

/** The row of the audit log that each step writes. */
const BEGUN = {
  queued: 'invocation.queued',
  waiting: 'invocation.waiting',
  running: 'invocation.started',
} as const

/** A lease for one call outlives the call's own deadline by this, so that the call always ends first. */
const LEASE_SLACK_MS = 5000

function told({ record }: Call) {
  const { invocationId, principal, nodeId, command } = record
  return { invocationId, principal, nodeId, command }
}

function answerOf(nodeId: string, invocationId: string, result: InvocationResult | null): InvokeAnswer {
  if (result === null) throw new Refusal('internal', 'the bridge failed; its log says why')
  if (!shallow(result.data) || !shallow(result.error)) {
    throw new Refusal(
      'node_error',
      `${nodeId} answered with JSON nested deeper than ${LIMITS.jsonDepth} levels`,
    )
  }
  if (!result.success) {
    const text = visible(nodeErrorText(result.error, LIMITS.nodeErrorChars))
    throw new Refusal('node_error', `${nodeId} says: ${text}`, undefined, {
      nodeError: bounded(result.error),
    })
  }
  return {
    invocationId,
    nodeId,
    ...(result.data === undefined ? {} : { data: result.data }),
    ...(result.artifactUri === undefined ? {} : { artifactUri: result.artifactUri }),
  }
}

/** The limb's own error for programs, unless it is a novel. */
function bounded(error: unknown): unknown {
  const text = JSON.stringify(error) ?? 'null'
  return text.length <= LIMITS.nodeErrorChars ? (error ?? null) : nodeErrorText(text, LIMITS.nodeErrorChars)
}

function refusalOf({ code, message, path, details }: ErrorBody): Refusal {
  return new Refusal(code, message, path, details)
}

function otherCall(): Refusal {
  return new Refusal(
    'conflict',
    'this idempotencyKey was used for another call; take a new key for a new call',
    'idempotencyKey',
  )
}

function decidedAlready(): Refusal {
  return new Refusal('conflict', 'it was decided already; see invocation/get', 'invocationId')
}
