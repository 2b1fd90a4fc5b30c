import { iso } from '../../kernel/clock.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { PendingApproval } from '../../protocol/schemas.ts'
import type { OpenInvocation } from './open-invocation.ts'

/** An invocation that waits for an operator. Both times are wall time. */
interface Waiting {
  readonly invocation: OpenInvocation
  readonly requestedAt: number
  readonly expiresAt: number
}

/**
 * The gated invocations that wait for an operator, as `limb/bridge/approval/<invocationId>` shows them. What is shown is
 * made each time: it has the params in it, which are kept once, as JSON.
 */
export class PendingApprovals {
  readonly #byId = new Map<string, Waiting>()

  get size(): number {
    return this.#byId.size
  }

  get(
    invocationId: string,
  ): { readonly invocation: OpenInvocation; readonly shown: PendingApproval } | undefined {
    const waiting = this.#byId.get(invocationId)
    return waiting && { invocation: waiting.invocation, shown: show(waiting) }
  }

  *values(): Iterable<PendingApproval> {
    for (const waiting of this.#byId.values()) yield show(waiting)
  }

  /** `now` and `expiresAt` are wall time. */
  add(invocation: OpenInvocation, now: number, expiresAt: number): PendingApproval {
    const waiting = { invocation, requestedAt: now, expiresAt }
    this.#byId.set(invocation.record.invocationId, waiting)
    return show(waiting)
  }

  /** Its caller has gone, or is back. As it is shown from now on; undefined when it does not wait. */
  callerChanged(invocation: OpenInvocation): PendingApproval | undefined {
    const waiting = this.#byId.get(invocation.record.invocationId)
    return waiting?.invocation === invocation ? show(waiting) : undefined
  }

  /** Deletes an approval, and returns whether it was there. */
  delete(invocationId: string): boolean {
    return this.#byId.delete(invocationId)
  }
}

function show({ invocation, requestedAt, expiresAt }: Waiting): PendingApproval {
  const { invocationId, principal, nodeId, capability, command, paramsHash } = invocation.record
  const { params, paramsBytes } = invocation.wish
  const { transaction } = invocation.caller
  const whole = paramsBytes <= LIMITS.shownParamsBytes
  return {
    invocationId,
    principal,
    nodeId,
    capability,
    command,
    ...(whole
      ? { params: params() }
      : { params: undefined, paramsStart: JSON.stringify(params()).slice(0, LIMITS.shownParamsBytes) }),
    paramsBytes,
    paramsHash,
    requestedAt: iso(requestedAt),
    expiresAt: iso(expiresAt),
    ...(transaction === undefined ? {} : { transaction }),
    ...(invocation.askers.size === 0 ? { callerAway: true } : {}),
  }
}
