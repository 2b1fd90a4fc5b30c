import type { MonotonicMs } from '../kernel/clock.ts'
import type { PairingRequestRecord } from './records.ts'

/** The pairing window: while it is open, new and conflict-free requests are approved by themselves. */
export interface PairingWindow {
  readonly closesAt: MonotonicMs
  /** Approvals left; undefined: as many as come. */
  readonly left: number | undefined
  /** The only node that it is for; undefined: it is for any. */
  readonly nodeId: string | undefined
  readonly openedBy: string
}

/** Returns whether the window approves this request. It never replaces a key and never settles a conflict. */
export function windowAdmits(
  window: PairingWindow | undefined,
  request: PairingRequestRecord,
  conflict: boolean,
  now: MonotonicMs,
): window is PairingWindow {
  return (
    window !== undefined &&
    now < window.closesAt &&
    (window.left === undefined || window.left > 0) &&
    (window.nodeId === undefined || window.nodeId === request.nodeId) &&
    request.kind === 'new' &&
    !conflict
  )
}

/** The window after one approval; undefined when that was the last. */
export function windowAfterApproval(window: PairingWindow): PairingWindow | undefined {
  if (window.left === undefined) return window
  return window.left > 1 ? { ...window, left: window.left - 1 } : undefined
}
