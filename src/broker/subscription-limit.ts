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
