import type { StatusReason } from '../protocol/names.ts'

/** Records when a limb came or went, for the uptime that operators ask for. Times are on the steady clock. */

export interface StatusChange {
  readonly nodeId: string
  readonly at: number
  /** `busy` and `degraded` count as online: the limb is there. */
  readonly status: 'online' | 'offline'
  readonly reason: StatusReason
}

/** A change as it is stored: `seq` rises. */
export interface HistoryRow extends StatusChange {
  readonly seq: number
}

/**
 * Milliseconds between `from` and `until` in which the limb was online. `changes` in the order in which they
 * were seen; what stood before the first one is its opposite, and `onlineNow` when there is none. A wall clock
 * that was set back makes no time negative and counts none twice.
 */
export function onlineMs(
  changes: readonly StatusChange[],
  from: number,
  until: number,
  onlineNow: boolean,
): number {
  const first = changes[0]
  let online = first === undefined ? onlineNow : first.status === 'offline'
  let at = from
  let sum = 0
  for (const change of changes) {
    const next = Math.min(Math.max(change.at, at), until)
    if (online) sum += next - at
    at = next
    online = change.status === 'online'
  }
  return online ? sum + Math.max(0, until - at) : sum
}

/** Rounded to a thousandth, and never up to a whole 100 that was not reached. */
export function percentOf(part: number, whole: number): number | undefined {
  if (whole <= 0) return undefined
  return Math.floor((part / whole) * 100_000) / 1000
}
