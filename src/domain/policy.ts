import { type AuthLevel, LEVELS } from '../protocol/names.ts'
import type { Capability } from '../protocol/schemas.ts'
import type { PolicyRecord } from './records.ts'

/** Names who decides: an entry of the policy, the limb's approved level, or nothing at all (denied). */
export type PolicyDecision = (
  | { readonly level: AuthLevel; readonly decidedBy: 'policy'; readonly entry: PolicyRecord }
  | { readonly level: AuthLevel; readonly decidedBy: 'capability' }
  | { readonly level: 'denied'; readonly decidedBy: 'default' }
) & {
  /** The level that it would be without the configured floor. */
  readonly raisedFrom?: AuthLevel
}

/**
 * Lists the places where an entry about a principal and a limb can stand, the most specific first: the limb weighs
 * more.
 */
export function placesOf(principal: string, nodeId: string): readonly (readonly [string, string])[] {
  return [
    [principal, nodeId],
    ['*', nodeId],
    [principal, '*'],
    ['*', '*'],
  ]
}

/** Returns, of the entries of one place that match a capability (at most two), the one that names it. */
export function moreSpecific(entries: readonly PolicyRecord[]): PolicyRecord | null {
  return entries.find((entry) => entry.capability !== '*') ?? entries[0] ?? null
}

/** Returns whether `a` is the stricter one. */
export function stricter(a: AuthLevel, b: AuthLevel): boolean {
  return LEVELS.indexOf(a) > LEVELS.indexOf(b)
}

/**
 * A capability that the limb does not have is denied, whatever entries say. Else the most specific entry decides,
 * and without one the approved level of the capability. No decision is looser than `floor`.
 */
export function decide(
  entry: PolicyRecord | null,
  capability: Pick<Capability, 'authLevel'> | undefined,
  floor: AuthLevel,
): PolicyDecision {
  if (!capability) return { level: 'denied', decidedBy: 'default' }
  const decision: PolicyDecision = entry
    ? { level: entry.level, decidedBy: 'policy', entry }
    : { level: capability.authLevel, decidedBy: 'capability' }
  if (!stricter(floor, decision.level)) return decision
  return { ...decision, level: floor, raisedFrom: decision.level } as PolicyDecision
}

/** Returns whether both can be about one thing: `*` is any. */
function overlap(a: string, b: string): boolean {
  return a === b || a === '*' || b === '*'
}

/** The higher wins: a named limb weighs more than a named principal, and that more than a named capability. */
function weight({ nodeId, principal, capability }: PolicyRecord): number {
  return (nodeId === '*' ? 0 : 4) + (principal === '*' ? 0 : 2) + (capability === '*' ? 0 : 1)
}

/**
 * Returns whether `entry` decides in the place of `other` for some thing that both are about, and is looser there.
 */
export function beats(entry: PolicyRecord, other: PolicyRecord): boolean {
  const same =
    overlap(entry.principal, other.principal) &&
    overlap(entry.nodeId, other.nodeId) &&
    overlap(entry.capability, other.capability)
  return same && weight(entry) > weight(other) && stricter(other.level, entry.level)
}
