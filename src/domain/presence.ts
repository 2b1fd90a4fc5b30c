import type { MonotonicMs } from '../kernel/clock.ts'
import type { Deadlined } from '../kernel/deadlines.ts'
import type { SteadyMs } from '../kernel/steady-clock.ts'
import type { NodeStatus, StatusReason } from '../protocol/names.ts'
import type { PresenceRule } from '../protocol/presence.ts'
import type { Heartbeat } from '../protocol/schemas.ts'

/**
 * Decides whether a limb is there. This is small mutable state and the events that move it; `now` is always passed
 * in. A session is known by object identity alone, so that what an older session of a node still does can never
 * overwrite what the newer one said.
 */
export interface Presence extends Deadlined {
  status: NodeStatus
  reason: StatusReason
  /** The time at which `status` began. */
  since: SteadyMs
  /** Receipt time of the last heartbeat; undefined: never. */
  lastHeartbeatAt: SteadyMs | undefined
  /** A heartbeat came since its `state` was published. */
  heardSinceState: boolean
  /** The one live session of the limb, or undefined. */
  session: object | undefined
  /** The time after a sign of life until it goes offline, milliseconds. */
  timeoutMs: number
  /** Names what counts as a sign of life. */
  rule: PresenceRule
  /** Its connection was lost and no heartbeat came since. */
  lost: boolean
  unavailable: readonly string[]
  metrics: Readonly<Record<string, number>> | undefined
}

/** Names what an event changed: nothing, only what `state` says, or the status itself. */
export type PresenceChange = 'none' | 'state' | 'status'

const NEVER = Number.POSITIVE_INFINITY
const NOTHING_UNAVAILABLE: readonly string[] = Object.freeze([])

export function newPresence(
  reason: StatusReason,
  now: SteadyMs,
  timeoutMs: number,
  rule: PresenceRule,
  lastHeartbeatAt: SteadyMs | undefined,
): Presence {
  return {
    status: 'offline',
    reason,
    since: now,
    lastHeartbeatAt,
    heardSinceState: false,
    session: undefined,
    timeoutMs,
    rule,
    lost: false,
    unavailable: NOTHING_UNAVAILABLE,
    metrics: undefined,
    deadline: NEVER,
    scheduledAt: NEVER,
  }
}

function setStatus(
  presence: Presence,
  status: NodeStatus,
  reason: StatusReason,
  now: SteadyMs,
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

/** A newer session of the limb: from now on, only this one counts. To some limbs it is the sign of life itself. */
export function sessionOpened(presence: Presence, session: object, now: SteadyMs): PresenceChange {
  presence.session = session
  const { mode, topic } = presence.rule
  return mode === 'connection' && topic === undefined ? isThere(presence, now, NEVER) : 'none'
}

/** The limb has published something: a sign of life for those that show themselves by activity. */
export function activitySeen(
  presence: Presence,
  session: object,
  now: SteadyMs,
  monotonicNow: MonotonicMs,
): PresenceChange {
  const { mode } = presence.rule
  if (presence.session !== session || (mode !== 'activity' && mode !== 'sleepy')) return 'none'
  return isThere(presence, now, monotonicNow + presence.timeoutMs)
}

/** The limb's own availability topic says that it is there, or is not. */
export function availabilityChanged(presence: Presence, online: boolean, now: SteadyMs): PresenceChange {
  if (online) return isThere(presence, now, NEVER)
  presence.deadline = NEVER
  return presence.status === 'offline' ? 'none' : setStatus(presence, 'offline', 'reported', now)
}

/** `busy` and `degraded`, which it said itself, stay. */
function isThere(presence: Presence, now: SteadyMs, deadline: number): PresenceChange {
  presence.lastHeartbeatAt = now
  presence.heardSinceState = true
  presence.lost = false
  presence.deadline = deadline
  const away = presence.status === 'offline' || presence.status === 'asleep'
  return away ? setStatus(presence, 'online', 'heartbeat', now) : 'none'
}

/** Lets a sleepy limb whose time is not up sleep on after a restart. */
export function sleepsOn(presence: Presence, now: SteadyMs, monotonicNow: MonotonicMs): void {
  const { lastHeartbeatAt, timeoutMs, rule } = presence
  if (rule.mode !== 'sleepy' || lastHeartbeatAt === undefined) return
  const left = Math.min(timeoutMs, lastHeartbeatAt + timeoutMs - now)
  if (left <= 0) return
  presence.status = 'asleep'
  presence.deadline = monotonicNow + left
}

export function heartbeatReceived(
  presence: Presence,
  session: object,
  heartbeat: Heartbeat,
  now: SteadyMs,
  monotonicNow: MonotonicMs,
): PresenceChange {
  return presence.session === session ? heard(presence, heartbeat, now, monotonicNow) : 'none'
}

/** The limb has answered a probe: that says what a heartbeat says, whatever session it has. */
export function probeAnswered(
  presence: Presence,
  heartbeat: Heartbeat,
  now: SteadyMs,
  monotonicNow: MonotonicMs,
): PresenceChange {
  return presence.rule.mode === 'probe' ? heard(presence, heartbeat, now, monotonicNow) : 'none'
}

function heard(
  presence: Presence,
  heartbeat: Heartbeat,
  now: SteadyMs,
  monotonicNow: MonotonicMs,
): PresenceChange {
  presence.lastHeartbeatAt = now
  presence.heardSinceState = true
  presence.lost = false
  if (heartbeat.metrics) presence.metrics = heartbeat.metrics

  const status = heartbeat.status ?? 'online'
  if (status === 'offline') {
    presence.deadline = NEVER
    return setStatus(presence, 'offline', 'reported', now)
  }
  presence.deadline = presence.rule.mode === 'connection' ? NEVER : monotonicNow + presence.timeoutMs
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

/** The limb signed off, by DISCONNECT or by `deregister`. `session` is undefined when none is left to say so. */
export function signedOff(
  presence: Presence,
  session: object | undefined,
  reason: 'disconnected' | 'deregistered',
  now: SteadyMs,
): PresenceChange {
  if (presence.session !== session) return 'none'
  if (reason === 'disconnected') presence.session = undefined
  if (presence.status === 'offline') return 'none'
  // It need not be connected: it is there while it answers.
  if (reason === 'disconnected' && presence.rule.mode === 'probe') return 'none'
  // What a sleepy limb does between two visits.
  if (reason === 'disconnected' && presence.rule.mode === 'sleepy') {
    return setStatus(presence, 'asleep', reason, now)
  }
  return wentOffline(presence, reason, now)
}

/** It is offline, whatever its mode. */
export function wentOffline(presence: Presence, reason: StatusReason, now: SteadyMs): PresenceChange {
  presence.deadline = NEVER
  return presence.status === 'offline' ? 'none' : setStatus(presence, 'offline', reason, now)
}

/** The connection broke without a DISCONNECT: the limb has `graceMs` to be heard of again. */
export function connectionLost(
  presence: Presence,
  session: object,
  now: SteadyMs,
  monotonicNow: MonotonicMs,
  graceMs: number,
): PresenceChange {
  if (presence.session !== session) return 'none'
  presence.session = undefined
  if (presence.status === 'offline' || presence.rule.mode === 'probe') return 'none'
  if (presence.rule.mode === 'sleepy') return setStatus(presence, 'asleep', 'connection_lost', now)
  presence.lost = true
  presence.deadline = Math.min(presence.deadline, monotonicNow + graceMs)
  return 'none'
}

/** Its deadline has passed. */
export function deadlinePassed(presence: Presence, now: SteadyMs): PresenceChange {
  presence.deadline = NEVER
  const reason = presence.lost ? 'connection_lost' : 'timeout'
  presence.lost = false
  return presence.status === 'offline' ? 'none' : setStatus(presence, 'offline', reason, now)
}

/** The bridge itself ends: from outside nobody can tell any more. */
export function bridgeStopped(presence: Presence, now: SteadyMs): PresenceChange {
  presence.deadline = NEVER
  return presence.status === 'offline' ? 'none' : setStatus(presence, 'offline', 'bridge_stopped', now)
}
