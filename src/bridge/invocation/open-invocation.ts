import { canonicalJson } from '../../domain/canonical.ts'
import type { Consent, InvocationRecord } from '../../domain/invocations.ts'
import type { MonotonicMs } from '../../kernel/clock.ts'
import type { Deadlined } from '../../kernel/deadlines.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { RunningMs } from '../../kernel/running-clock.ts'
import { newSortableId, sha256Hex } from '../../kernel/secrets.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { InvocationState } from '../../protocol/names.ts'
import type { VerbResult } from '../../protocol/results.ts'
import type { InvocationResult } from '../../protocol/schemas.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import type { HeldLease } from '../access/leases.ts'
import type { InvocationDelivery, Session } from '../ports.ts'
import type { VerbCaller } from '../verb-context.ts'
import { keptParams } from './kept-params.ts'

export type InvokeAnswer = VerbResult<'invoke'>

/** The request of somebody, checked and with defaults. */
export interface InvocationWish {
  /** The place in the order of asking; undefined: it is from before a restart. */
  readonly place?: number
  readonly nodeId: string | undefined
  readonly capability: string | undefined
  readonly command: string
  /** Gives its params, which are kept as JSON when they are many. */
  readonly params: () => unknown
  readonly paramsBytes: number
  readonly paramsHash: string
  /** An operator wants it sent whatever the description of the command says. */
  readonly unchecked: boolean
  /** The time that the caller gives the limb; undefined: the description of the command, or the setting, says it. */
  readonly timeoutMs: number | undefined
  readonly waitMs: number
  /** The time that it waits for a limb that is away; 0: not at all. */
  readonly offlineWaitMs: number
  readonly key: string | undefined
  /**
   * The hash that makes two requests with one key the same invocation: everything but how long to wait. It is undefined
   * without a key.
   */
  readonly fingerprint: string | undefined
}

/** Says where an invocation goes. */
export interface InvocationTarget {
  readonly nodeId: string
  readonly capability: string
}

/** One invocation under way, in memory. Its deadline is the approval's while it waits, then the limb's. */
export interface OpenInvocation extends Deadlined {
  readonly wish: InvocationWish
  readonly caller: VerbCaller
  /** The live sessions that want the answer: the one that asked, and those that asked again with its key. */
  readonly askers: Set<Session>
  /** Its state is the invocation's; replaced with every step. */
  record: InvocationRecord
  /** There is a row of it, or one is being written: from now on it ends with a row. */
  begun: boolean
  /** The time that the limb has for it, as of the last look at the limb. */
  timeoutMs: number
  /** One lease for each capability that the command is leased in. */
  held: readonly HeldLease[]
  consent: Consent | undefined
  /** The thing that it waits for now, if it waits for its turn, an operator or the limb. */
  wait: { resolve(result: InvocationResult | undefined): void; reject(error: Refusal): void } | undefined
  /** The reason why it must end, for whatever step comes next. */
  cancelled: Cancelled | undefined
  /** It counts against its limb's bound. */
  counted: boolean
  /** The delivery that is on its way to the limb, or with it. */
  delivery: InvocationDelivery | undefined
  /** Told of each step, once. */
  onStep: (() => void) | undefined
  /** Told when it has ended. */
  readonly onEnd: (() => void)[]
  readonly askedAt: MonotonicMs
  /** The time on the running clock until which it waits for a limb that is away. */
  readonly awayUntil: RunningMs
  /** It waits for its limb now. */
  isAway: boolean
  /** Everything that it needs to go on after a restart is on disk. */
  kept: boolean
  /** The bridge stops; it goes on when the bridge is back. */
  parked: boolean
}

/** Says why an invocation ends from outside. */
export interface Cancelled {
  readonly error: Refusal
  /** The state in which it ends; undefined: the one that the error leads to. */
  readonly state: InvocationState | undefined
  /** The principal who did it; the bridge itself when absent. */
  readonly by?: string | undefined
  readonly reason?: string | undefined
}

/**
 * Returns whether it waits for its turn or for an operator, on record: it was not sent, and can still be taken back.
 */
export function isTakenBackEasily({ begun, record }: OpenInvocation): boolean {
  return begun && (record.state === 'queued' || record.state === 'waiting')
}

/** Nobody can be given the answer, now or later. */
export function isUnwanted({ wish, askers }: OpenInvocation): boolean {
  return wish.key === undefined && askers.size === 0
}

/** `place`: its place in the order of asking. @throws Refusal `invalid_request` with the path of the key. */
export function readWish(args: VerbArgs<'invoke'>, place: number): InvocationWish {
  const { nodeId, capability, command, params = {}, idempotencyKey, offlineWaitSeconds = 0 } = args
  if (nodeId === undefined && capability === undefined) {
    throw new Refusal('invalid_request', 'nodeId: name a limb, or a capability to select one by', 'nodeId')
  }
  if (nodeId === undefined && offlineWaitSeconds > 0) {
    throw new Refusal(
      'invalid_request',
      'offlineWaitSeconds: waits for one limb; name it with nodeId',
      'offlineWaitSeconds',
    )
  }
  const text = canonicalParams(params)
  const paramsBytes = Buffer.byteLength(text)
  if (paramsBytes > LIMITS.paramsBytes) {
    throw new Refusal(
      'invalid_request',
      `params: has ${paramsBytes} bytes; the limit is ${LIMITS.paramsBytes}`,
      'params',
    )
  }
  const paramsHash = sha256Hex(text)
  return {
    place,
    nodeId,
    capability,
    command,
    params: keptParams(params, paramsBytes),
    paramsBytes,
    unchecked: args.noCheck === true,
    paramsHash,
    timeoutMs: args.timeoutSeconds === undefined ? undefined : args.timeoutSeconds * 1000,
    waitMs: (args.waitSeconds ?? 0) * 1000,
    offlineWaitMs: offlineWaitSeconds * 1000,
    key: idempotencyKey,
    fingerprint:
      idempotencyKey === undefined
        ? undefined
        : sha256Hex(JSON.stringify([nodeId ?? null, capability ?? null, command, paramsHash])),
  }
}

function canonicalParams(params: unknown): string {
  try {
    return canonicalJson(params, LIMITS.paramsBytes)
  } catch (error) {
    if (error instanceof Refusal) throw new Refusal(error.code, `params: ${error.message}`, 'params')
    throw error
  }
}

const NO_LEASES: readonly HeldLease[] = []

export function newInvocation(
  wish: InvocationWish,
  caller: VerbCaller,
  target: InvocationTarget,
  now: { readonly wallMs: number; readonly monotonicMs: MonotonicMs; readonly runningMs: RunningMs },
): OpenInvocation {
  const { wallMs } = now
  return {
    wish,
    caller,
    askers: new Set(caller.alive() ? [caller.session] : []),
    record: {
      invocationId: newSortableId('iv_', wallMs),
      principal: caller.name,
      nodeId: target.nodeId,
      capability: target.capability,
      command: wish.command,
      paramsHash: wish.paramsHash,
      level: 'free',
      state: 'queued',
      createdAt: wallMs,
      endedAt: null,
      fence: null,
      idempotencyKey: wish.key ?? null,
      fingerprint: wish.fingerprint ?? null,
      decidedBy: null,
      reason: null,
      error: null,
    },
    begun: false,
    timeoutMs: wish.timeoutMs ?? 0,
    held: NO_LEASES,
    consent: undefined,
    wait: undefined,
    cancelled: undefined,
    counted: false,
    delivery: undefined,
    onStep: undefined,
    onEnd: [],
    askedAt: now.monotonicMs,
    awayUntil: (now.runningMs + wish.offlineWaitMs) as RunningMs,
    isAway: false,
    kept: false,
    parked: false,
    deadline: Number.POSITIVE_INFINITY,
    scheduledAt: Number.POSITIVE_INFINITY,
  }
}

/** Makes the fields by which events and the log name it. */
export function summaryOf({ record }: OpenInvocation) {
  const { invocationId, principal, nodeId, command } = record
  return { invocationId, principal, nodeId, command }
}

export function durationOf({ askedAt }: OpenInvocation, now: MonotonicMs): number {
  return Math.round(now - askedAt)
}
