import type { AuthLevel } from '../protocol/names.ts'
import type { Capability } from '../protocol/schemas.ts'
import type { PolicyRecord } from './records.ts'

/** Who decides: an entry of the policy, the limb's approved level, or nothing at all (denied). */
export type PolicyDecision =
  | { readonly level: AuthLevel; readonly decidedBy: 'policy'; readonly entry: PolicyRecord }
  | { readonly level: AuthLevel; readonly decidedBy: 'capability' }
  | { readonly level: 'denied'; readonly decidedBy: 'default' }

/** The most specific entry wins: a named node before a named principal before a named capability. */
export function specificity(entry: Pick<PolicyRecord, 'nodeId' | 'principal' | 'capability'>): number {
  return (
    (entry.nodeId === '*' ? 0 : 4) + (entry.principal === '*' ? 0 : 2) + (entry.capability === '*' ? 0 : 1)
  )
}

/**
 * Decides among `candidates`, the entries that match (principal, node, capability); at most eight, each of
 * another specificity. Without one, the approved level of the capability holds; a capability that the limb
 * does not have is denied.
 */
export function decideLevel(
  candidates: readonly PolicyRecord[],
  capability: Pick<Capability, 'authLevel'> | undefined,
): PolicyDecision {
  let best: PolicyRecord | undefined
  for (const entry of candidates) {
    if (!best || specificity(entry) > specificity(best)) best = entry
  }
  if (best) return { level: best.level, decidedBy: 'policy', entry: best }
  if (capability) return { level: capability.authLevel, decidedBy: 'capability' }
  return { level: 'denied', decidedBy: 'default' }
}
