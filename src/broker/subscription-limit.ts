import { sharedFilter } from '../protocol/filters.ts'

/** Home Assistant has two topics for each limb; a dashboard may have one for each of its values. */
const PER_LIMB = 16
/** The most that a bridge without a limit of its own allows, however many limbs it has. */
const PER_CONNECTION = 3
const BESIDE = 1000

/**
 * The subscriptions that a principal may have by default: enough for a fleet of all the connections that there may be,
 * and of what a fleet is by now, a share for each approved limb. `limbs`: their number, where it is known.
 */
export function subscriptionsOfPrincipal(
  limits: {
    readonly maxConnections: number
    readonly maxSubscriptionsPerPrincipal: number | null
  },
  limbs = Number.POSITIVE_INFINITY,
): number {
  const ofAll = PER_CONNECTION * limits.maxConnections + BESIDE
  return limits.maxSubscriptionsPerPrincipal ?? Math.min(ofAll, PER_LIMB * limbs + BESIDE)
}

/** The characters that a filter has for each subscription that it counts as: what is kept of it grows with them. */
const CHARS = 128
/** A level with a wildcard counts as so many more: of filters with many of them thousands can match one message. */
const WILDCARD = 2
/** A shared subscription is one more copy of each message, whoever else has one. */
const SHARED = 16

/** Returns the number of subscriptions that a filter counts as. */
export function weightOf(filter: string): number {
  let wildcards = 0
  for (const char of filter) if (char === '+' || char === '#') wildcards++
  const weight = Math.ceil(filter.length / CHARS) + WILDCARD * wildcards
  return sharedFilter(filter) === undefined ? weight : SHARED * weight
}
