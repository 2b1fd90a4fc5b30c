import { invariant } from '../kernel/assert.ts'
import { type ErrorBody, Refusal } from '../kernel/errors.ts'
import type { AuthLevel, InvocationState } from '../protocol/names.ts'
import type { Capability } from '../protocol/schemas.ts'
import { stricter } from './policy.ts'

/** One invocation as it is stored. Times are integer milliseconds of wall time. Holds no params: they may be secret. */
export interface InvocationRecord {
  readonly invocationId: string
  readonly principal: string
  readonly nodeId: string
  readonly capability: string
  readonly command: string
  /** SHA-256 of the params as canonical JSON. */
  readonly paramsHash: string
  readonly level: AuthLevel
  readonly state: InvocationState
  readonly createdAt: number
  readonly endedAt: number | null
  readonly fence: number | null
  readonly idempotencyKey: string | null
  /** A hash of what the caller asked for: the same key with another one is a conflict. */
  readonly fingerprint: string | null
  /** The operator who approved or denied it. */
  readonly decidedBy: string | null
  readonly reason: string | null
  readonly error: ErrorBody | null
  /** A result that came after its time was up; absent when none did. */
  readonly late?: LateResult | undefined
}

/** Records when a late result came, wall time, and whether the limb had done it. */
export interface LateResult {
  readonly at: number
  readonly success: boolean
}

const OPEN: readonly InvocationState[] = ['queued', 'waiting', 'running']
const ENDS: readonly InvocationState[] = [
  'done',
  'failed',
  'timeout',
  'denied',
  'expired',
  'interrupted',
  'cancelled',
]

/**
 * Lists which state may follow which. An invocation that nobody sent cannot be done, and one that was sent cannot be
 * taken back.
 */
const NEXT: Readonly<Record<InvocationState, readonly InvocationState[]>> = {
  queued: ['waiting', 'running', 'failed', 'denied', 'expired', 'interrupted', 'cancelled'],
  waiting: ['queued', 'running', 'failed', 'denied', 'expired', 'interrupted', 'cancelled'],
  // Queued again is one that its limb left before it could be sent.
  running: ['queued', 'done', 'failed', 'timeout', 'denied', 'interrupted'],
  done: [],
  failed: [],
  timeout: [],
  denied: [],
  expired: [],
  interrupted: [],
  cancelled: [],
}

export function isOpen(state: InvocationState): boolean {
  return OPEN.includes(state)
}

/** The record in its next state. A step that the table does not have is a broken invariant. */
export function moved(
  record: InvocationRecord,
  state: InvocationState,
  change: Partial<
    Pick<InvocationRecord, 'endedAt' | 'fence' | 'decidedBy' | 'reason' | 'error' | 'level'>
  > = {},
): InvocationRecord {
  invariant(NEXT[record.state].includes(state), `an invocation went from ${record.state} to ${state}`)
  return { ...record, ...change, state }
}

/** The state in which an error leaves an invocation that is in `from`. */
export function endStateOf(from: InvocationState, error: ErrorBody): InvocationState {
  const named = ENDS.find((state) => state === error.code)
  return named !== undefined && NEXT[from].includes(named) ? named : 'failed'
}

/** The parts of an invocation to which an operator consents. */
export type InvocationIdentity = Pick<
  InvocationRecord,
  'invocationId' | 'principal' | 'nodeId' | 'capability' | 'command' | 'paramsHash'
>

/** An operator's consent to exactly one invocation, once. */
export class Consent {
  readonly #invocation: InvocationIdentity
  readonly by: string
  #used = false

  constructor(invocation: InvocationIdentity, by: string) {
    this.#invocation = invocation
    this.by = by
  }

  /** True for the invocation it was given for, and only the first time. */
  use(invocation: InvocationIdentity): boolean {
    const given = this.#invocation
    const same =
      given.invocationId === invocation.invocationId &&
      given.principal === invocation.principal &&
      given.nodeId === invocation.nodeId &&
      given.capability === invocation.capability &&
      given.command === invocation.command &&
      given.paramsHash === invocation.paramsHash
    if (!same || this.#used) return false
    this.#used = true
    return true
  }
}

/**
 * The approved capabilities that have the command, the one that was asked for first, then in the limb's order.
 * Empty when the one that was asked for is not among them.
 */
export function holdersOf(
  capabilities: readonly Capability[],
  command: string,
  asked: string | undefined,
): Capability[] {
  const holders = capabilities.filter((entry) => entry.commands.includes(command))
  if (asked === undefined) return holders
  const first = holders.find((entry) => entry.cap === asked)
  return first ? [first, ...holders.filter((entry) => entry !== first)] : []
}

/**
 * Returns the strictest of the capabilities that hold the same command: it decides, so that a second name for a
 * command is never a way around the policy of the first. The first of equals.
 */
export function strictest<T extends { readonly level: AuthLevel }>(options: readonly T[]): T | undefined {
  let best: T | undefined
  for (const option of options) if (!best || stricter(option.level, best.level)) best = option
  return best
}

/** Makes a message of what the limb says went wrong. */
export function nodeErrorText(error: unknown, maxChars: number): string {
  const text =
    typeof error === 'string'
      ? error
      : typeof error === 'object' && error !== null && 'message' in error && typeof error.message === 'string'
        ? error.message
        : error === undefined
          ? 'it gave no reason'
          : JSON.stringify(error)
  return text.length <= maxChars ? text : `${text.slice(0, maxChars)}…`
}

export function unknownCommand(nodeId: string, command: string, capability: string | undefined): Refusal {
  const where = capability === undefined ? nodeId : `capability ${capability} of ${nodeId}`
  return new Refusal(
    'unknown_command',
    `${command} is not an approved command of ${where}; node/get shows those that are`,
    'command',
  )
}
