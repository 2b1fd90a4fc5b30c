import { iso } from '../../kernel/clock.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { PendingApproval } from '../../protocol/schemas.ts'
import type { OpenInvocation } from './open-invocation.ts'

/** The gated calls that wait for an operator, as `limb/bridge/approval/<invocationId>` shows them. */
export class PendingApprovals {
  readonly #byId = new Map<string, { readonly call: OpenInvocation; readonly shown: PendingApproval }>()

  get size(): number {
    return this.#byId.size
  }

  get(invocationId: string): { readonly call: OpenInvocation; readonly shown: PendingApproval } | undefined {
    return this.#byId.get(invocationId)
  }

  *values(): Iterable<PendingApproval> {
    for (const { shown } of this.#byId.values()) yield shown
  }

  /** `expiresAt` is wall time. */
  add(call: OpenInvocation, now: number, expiresAt: number): PendingApproval {
    const { invocationId, principal, nodeId, capability, command, paramsHash } = call.record
    const { params, paramsBytes } = call.wish
    const whole = paramsBytes <= LIMITS.shownParamsBytes
    const shown: PendingApproval = {
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
    }
    this.#byId.set(invocationId, { call, shown })
    return shown
  }

  /** Whether it was there. */
  delete(invocationId: string): boolean {
    return this.#byId.delete(invocationId)
  }
}
