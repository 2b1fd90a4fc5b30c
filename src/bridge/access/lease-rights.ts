import type { PolicyDecision } from '../../domain/policy.ts'
import { messageOf } from '../../kernel/errors.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import type { Registry } from '../live/registry.ts'
import type { BridgeContext } from '../settings.ts'
import type { Leases } from './leases.ts'
import type { Policies } from './policies.ts'

/** The time of a turn of the event loop in which leases are looked at: for each a policy may be read. */
const LOOKING_MS = 5

/**
 * Decides who may lease what: a lease is for those who use a thing freely or one at a time, and lasts no longer than
 * that.
 */
export class LeaseRights {
  readonly #context: BridgeContext
  readonly #registry: Registry
  readonly #policies: Policies
  readonly #leases: Leases
  readonly #time: TurnTime

  constructor(context: BridgeContext, parts: { registry: Registry; policies: Policies; leases: Leases }) {
    this.#context = context
    this.#registry = parts.registry
    this.#policies = parts.policies
    this.#leases = parts.leases
    this.#time = new TurnTime(context.clock, LOOKING_MS)
  }

  decide(principal: string, nodeId: string, capability: string): Promise<PolicyDecision> {
    const held = this.#registry.get(nodeId)?.record.capabilities.find((entry) => entry.cap === capability)
    return this.#policies.decide(principal, nodeId, capability, held)
  }

  /**
   * Ends the leases of those who may not lease any more: nobody waits for one who can do nothing with what it holds.
   * `*` is any. Invocations under way go on, and so does the lease that was taken for one. Never rejects.
   */
  async look(at: { principal: string; nodeId: string }): Promise<void> {
    for (const lease of [...this.#leases.values()]) {
      const { principal, nodeId, capability, single } = lease.wish
      if (single || !(matches(at.principal, principal) && matches(at.nodeId, nodeId))) continue
      if (!this.#time.isLeft) await this.#time.next()
      try {
        const { level } = await this.decide(principal, nodeId, capability)
        if (!mayLease(level)) this.#leases.end(lease, 'not_allowed')
      } catch (error) {
        this.#context.log.error({ nodeId, error: messageOf(error) }, 'a lease was not looked at')
      }
    }
  }
}

export function mayLease(level: PolicyDecision['level']): boolean {
  return level === 'free' || level === 'leased'
}

export function matches(pattern: string, name: string): boolean {
  return pattern === '*' || pattern === name
}
