import type { MonotonicMs, WallMs } from '../kernel/clock.ts'
import type { NodeStatus, StatusReason } from '../protocol/names.ts'
import type { Heartbeat } from '../protocol/schemas.ts'
import type { Deadlined } from './deadlines.ts'

/**
 * Whether a limb is there. Small mutable state and the events that move it; `now` is always passed in.
 * A session is known by object identity alone, so that what an older session of a node still does can never
 * overwrite what the newer one said.
 */
export interface Presence extends Deadlined {
  status: NodeStatus
  reason: StatusReason
  /** When `status` began, wall time. */
  since: WallMs
  /** Receipt time of the last heartbeat, wall time; null: never. */
  lastHeartbeatAt: WallMs | null
  /** A heartbeat came since its `state` was published. */
  heardSinceState: boolean
  /** The one live session of the limb, or null. */
  session: object | null
  /** How long after a heartbeat it goes offline, milliseconds. */
  timeoutMs: number
  /** Its connection was lost and no heartbeat came since. */
  lost: boolean
  unavailable: readonly string[]
  metrics: Readonly<Record<string, number>> | null
}

/** What an event changed: nothing, only what `state` says, or the status itself. */
export type PresenceChange = 'none' | 'state' | 'status'

const NEVER = Number.POSITIVE_INFINITY
const NOTHING_UNAVAILABLE: readonly string[] = Object.freeze([])

export function newPresence(
  reason: StatusReason,
  now: WallMs,
  timeoutMs: number,
  lastHeartbeatAt: WallMs | null,
): Presence {
  return {
    status: 'offline',
    reason,
    since: now,
    lastHeartbeatAt,
    heardSinceState: false,
    session: null,
    timeoutMs,
    lost: false,
    unavailable: NOTHING_UNAVAILABLE,
    metrics: null,
    deadline: NEVER,
    scheduledAt: NEVER,
  }
}

function setStatus(
  presence: Presence,
  status: NodeStatus,
  reason: StatusReason,
  now: WallMs,
): PresenceChange {
  if (presence.status === status) {
    if (presence.reason === reason) return 'none'
    presence.reason = reason
    return 'state'
  }
  presence.status = status
  presence.reason = reason
  presence.since = now
  return 'status'
}

/** A newer session of the limb: from now on, only this one counts. */
export function sessionOpened(presence: Presence, session: object): void {
  presence.session = session
}

export function heartbeatReceived(
  presence: Presence,
  session: object,
  heartbeat: Heartbeat,
  now: WallMs,
  monotonicNow: MonotonicMs,
): PresenceChange {
  if (presence.session !== session) return 'none'
  presence.lastHeartbeatAt = now
  presence.heardSinceState = true
  presence.lost = false
  if (heartbeat.metrics) presence.metrics = heartbeat.metrics

  const status = heartbeat.status ?? 'online'
  if (status === 'offline') {
    presence.deadline = NEVER
    return setStatus(presence, 'offline', 'reported', now)
  }
  presence.deadline = monotonicNow + presence.timeoutMs
  const change = setStatus(presence, status, 'heartbeat', now)
  const listChanged = setUnavailable(presence, heartbeat.unavailable)
  return change === 'none' && listChanged ? 'state' : change
}

function setUnavailable(presence: Presence, list: readonly string[] | undefined): boolean {
  const next = list ?? NOTHING_UNAVAILABLE
  const before = presence.unavailable
  // Both ways: a list may name a capability twice.
  if (next.every((cap) => before.includes(cap)) && before.every((cap) => next.includes(cap))) return false
  presence.unavailable = next
  return true
}

/** The limb said goodbye, by DISCONNECT or by `deregister`. `session` is null when none is left to say so. */
export function saidGoodbye(
  presence: Presence,
  session: object | null,
  reason: 'disconnected' | 'deregistered',
  now: WallMs,
): PresenceChange {
  if (presence.session !== session) return 'none'
  if (reason === 'disconnected') presence.session = null
  if (presence.status === 'offline') return 'none'
  presence.deadline = NEVER
  return setStatus(presence, 'offline', reason, now)
}

/** The connection broke without a DISCONNECT: the limb has `graceMs` to be heard of again. */
export function connectionLost(
  presence: Presence,
  session: object,
  monotonicNow: MonotonicMs,
  graceMs: number,
): void {
  if (presence.session !== session) return
  presence.session = null
  if (presence.status === 'offline') return
  presence.lost = true
  presence.deadline = Math.min(presence.deadline, monotonicNow + graceMs)
}

/** Its deadline has passed. */
export function deadlinePassed(presence: Presence, now: WallMs): PresenceChange {
  presence.deadline = NEVER
  const reason = presence.lost ? 'connection_lost' : 'timeout'
  presence.lost = false
  return presence.status === 'offline' ? 'none' : setStatus(presence, 'offline', reason, now)
}

/** The bridge itself ends: from outside nobody can tell any more. */
export function bridgeStopped(presence: Presence, now: WallMs): PresenceChange {
  presence.deadline = NEVER
  return presence.status === 'offline' ? 'none' : setStatus(presence, 'offline', 'bridge_stopped', now)
}
