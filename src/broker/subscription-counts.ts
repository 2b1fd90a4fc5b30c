/** Subscriptions of the live sessions of each principal, together. */
export class SubscriptionCounts {
  readonly #counts = new Map<string, number>()

  of(principal: string): number {
    return this.#counts.get(principal) ?? 0
  }

  add(principal: string, change: number): void {
    const count = this.of(principal) + change
    if (count > 0) this.#counts.set(principal, count)
    else this.#counts.delete(principal)
  }
}

/** Home Assistant has two topics for each limb, and asks for some more. */
const PER_LIMB = 3
const BESIDE = 1000

/** The number that a principal may have by default: enough for a fleet of all the connections that there may be. */
export function subscriptionsOfPrincipal(limits: {
  readonly maxConnections: number
  readonly maxSubscriptionsPerPrincipal: number | null
}): number {
  return limits.maxSubscriptionsPerPrincipal ?? PER_LIMB * limits.maxConnections + BESIDE
}
