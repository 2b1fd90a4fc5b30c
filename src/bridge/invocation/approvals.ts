import { iso } from '../../kernel/clock.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { PendingApproval } from '../../protocol/schemas.ts'
import type { OpenInvocation } from './open-invocation.ts'

/** The gated invocations that wait for an operator, as `limb/bridge/approval/<invocationId>` shows them. */
export class PendingApprovals {
  readonly #byId = new Map<string, { readonly invocation: OpenInvocation; readonly shown: PendingApproval }>()

  get size(): number {
    return this.#byId.size
  }

  get(
    invocationId: string,
  ): { readonly invocation: OpenInvocation; readonly shown: PendingApproval } | undefined {
    return this.#byId.get(invocationId)
  }

  *values(): Iterable<PendingApproval> {
    for (const { shown } of this.#byId.values()) yield shown
  }

  /** `expiresAt` is wall time. */
  add(invocation: OpenInvocation, now: number, expiresAt: number): PendingApproval {
    const { invocationId, principal, nodeId, capability, command, paramsHash } = invocation.record
    const { params, paramsBytes } = invocation.wish
    const whole = paramsBytes <= LIMITS.shownParamsBytes
    const shown: PendingApproval = withCaller(invocation, {
      invocationId,
      principal,
      nodeId,
      capability,
      command,
      ...(whole
        ? { params }
        : { params: undefined, paramsStart: JSON.stringify(params).slice(0, LIMITS.shownParamsBytes) }),
      paramsBytes,
      paramsHash,
      requestedAt: iso(now),
      expiresAt: iso(expiresAt),
      ...(invocation.caller.transaction === undefined ? {} : { transaction: invocation.caller.transaction }),
    })
    this.#byId.set(invocationId, { invocation, shown })
    return shown
  }

  /** Its caller has gone, or is back. As it is shown from now on; undefined when it does not wait. */
  callerChanged(invocation: OpenInvocation): PendingApproval | undefined {
    const { invocationId } = invocation.record
    const before = this.#byId.get(invocationId)
    if (before?.invocation !== invocation) return undefined
    const shown = withCaller(invocation, before.shown)
    this.#byId.set(invocationId, { invocation, shown })
    return shown
  }

  /** Deletes an approval, and returns whether it was there. */
  delete(invocationId: string): boolean {
    return this.#byId.delete(invocationId)
  }
}

function withCaller(
  { askers }: OpenInvocation,
  { callerAway: _, ...shown }: PendingApproval,
): PendingApproval {
  return askers.size === 0 ? { ...shown, callerAway: true } : shown
}
