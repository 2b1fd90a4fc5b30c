import { iso } from '../../kernel/clock.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Approval } from '../../protocol/schemas.ts'
import type { Call } from './call.ts'

/** The gated calls that wait for an operator, as `limb/bridge/approval/<invocationId>` shows them. */
export class Approvals {
  readonly #byId = new Map<string, { readonly call: Call; readonly shown: Approval }>()

  get size(): number {
    return this.#byId.size
  }

  get(invocationId: string): { readonly call: Call; readonly shown: Approval } | undefined {
    return this.#byId.get(invocationId)
  }

  *values(): Iterable<Approval> {
    for (const { shown } of this.#byId.values()) yield shown
  }

  /** `expiresAt` is wall time. */
  add(call: Call, now: number, expiresAt: number): Approval {
    const { invocationId, principal, nodeId, capability, command, paramsHash } = call.record
    const { params, paramsBytes } = call.wish
    const whole = paramsBytes <= LIMITS.shownParamsBytes
    const shown: Approval = {
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
