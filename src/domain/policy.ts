import { type AuthLevel, LEVELS } from '../protocol/names.ts'
import type { Capability } from '../protocol/schemas.ts'
import type { PolicyRecord } from './records.ts'

/** Who decides: an entry of the policy, the limb's approved level, or nothing at all (denied). */
export type PolicyDecision = (
  | { readonly level: AuthLevel; readonly decidedBy: 'policy'; readonly entry: PolicyRecord }
  | { readonly level: AuthLevel; readonly decidedBy: 'capability' }
  | { readonly level: 'denied'; readonly decidedBy: 'default' }
) & {
  /** What it would be without the configured floor. */
  readonly raisedFrom?: AuthLevel
}

/** The most specific entry wins: a named node before a named principal before a named capability. */
export function specificity(entry: Pick<PolicyRecord, 'nodeId' | 'principal' | 'capability'>): number {
  return (
    (entry.nodeId === '*' ? 0 : 4) + (entry.principal === '*' ? 0 : 2) + (entry.capability === '*' ? 0 : 1)
  )
}

/** Of entries that match one (principal, node, capability), at most eight, each of another specificity. */
export function mostSpecific(candidates: readonly PolicyRecord[]): PolicyRecord | null {
  let best: PolicyRecord | null = null
  for (const entry of candidates) {
    if (!best || specificity(entry) > specificity(best)) best = entry
  }
  return best
}

/** Whether `a` is the stricter one. */
export function stricter(a: AuthLevel, b: AuthLevel): boolean {
  return LEVELS.indexOf(a) > LEVELS.indexOf(b)
}

/**
 * Decides with the most specific entry. Without one, the approved level of the capability holds; a capability
 * that the limb does not have is denied. No decision is looser than `floor`.
 */
export function decide(
  entry: PolicyRecord | null,
  capability: Pick<Capability, 'authLevel'> | undefined,
  floor: AuthLevel,
): PolicyDecision {
  const decision: PolicyDecision = entry
    ? { level: entry.level, decidedBy: 'policy', entry }
    : capability
      ? { level: capability.authLevel, decidedBy: 'capability' }
      : { level: 'denied', decidedBy: 'default' }
  if (!stricter(floor, decision.level)) return decision
  return { ...decision, level: floor, raisedFrom: decision.level } as PolicyDecision
}
