import { z } from 'zod'

/** The names of limbs and of principals share one name space. */
export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/
/** A capability (`camera`) or a command (`camera.snap`). */
export const CAPABILITY_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/

export const NAME_HINT = '1 to 63 letters, digits, "_" or "-", the first a letter or digit'
const CAPABILITY_HINT = '1 to 63 letters, digits, "_", "." or "-", the first a letter or digit'

export function isName(text: unknown): text is string {
  return typeof text === 'string' && NAME_PATTERN.test(text)
}

export const nameSchema = z.string().regex(NAME_PATTERN, { error: `must be ${NAME_HINT}` })
export const capabilitySchema = z.string().regex(CAPABILITY_PATTERN, { error: `must be ${CAPABILITY_HINT}` })
export const commandSchema = capabilitySchema

export const ROLES = ['viewer', 'agent', 'operator', 'admin'] as const
/** Names what a principal may do; each role includes those before it. */
export type Role = (typeof ROLES)[number]

export function roleReaches(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed)
}

export const LEVELS = ['free', 'leased', 'gated', 'denied'] as const
/** Says how freely a capability may be invoked, the loosest first. */
export type AuthLevel = (typeof LEVELS)[number]

export const STATUSES = ['online', 'busy', 'degraded', 'asleep', 'offline'] as const
export type NodeStatus = (typeof STATUSES)[number]

/**
 * The statuses that a limb may report of itself; `asleep` is what the bridge makes of a sleepy limb that is not
 * connected.
 */
export const REPORTED_STATUSES = ['online', 'busy', 'degraded', 'offline'] as const
export type ReportedStatus = (typeof REPORTED_STATUSES)[number]

/** Returns whether a limb with this status can be invoked now. */
export function isAwake(status: NodeStatus): boolean {
  return status !== 'offline' && status !== 'asleep'
}

export function isReportedStatus(value: unknown): value is ReportedStatus {
  return value === 'online' || value === 'busy' || value === 'degraded' || value === 'offline'
}

export const REASONS = [
  'heartbeat',
  'timeout',
  'connection_lost',
  'disconnected',
  'deregistered',
  'reported',
  'bridge_restart',
  'approved',
  'bridge_stopped',
] as const
/** Says why a limb has the status it has. */
export type StatusReason = (typeof REASONS)[number]

/** Kinds of events that say of a limb that it needs a look; they are told again while that is so. */
export const TROUBLES = ['node_flapping', 'limb_replaced', 'heartbeat_invalid'] as const
export type TroubleKind = (typeof TROUBLES)[number]

export const INVOCATION_STATES = [
  'queued',
  'waiting',
  'running',
  'done',
  'failed',
  'timeout',
  'denied',
  'expired',
  'interrupted',
  'cancelled',
] as const
/** `queued` for a lease, `waiting` for an operator, `running` on the limb; the others are how it ended. */
export type InvocationState = (typeof INVOCATION_STATES)[number]

/** The levels of the log that a client can see, the least important first. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'fatal'] as const
