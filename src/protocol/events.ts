import { z } from 'zod'
import {
  capabilitySchema,
  commandSchema,
  INVOCATION_STATES,
  nameSchema,
  REASONS,
  ROLES,
  STATUSES,
} from './names.ts'
import { approvalSchema, errorBodySchema, leaseSchema, levelSchema, pendingRequestSchema } from './schemas.ts'

/**
 * The content of `limb/bridge/event/<kind>`: one JSON object with `kind`, `at` and these fields. The compiler lets
 * the bridge announce nothing else, and the documents are made from this table.
 */

function event<T extends z.ZodRawShape>(summary: string, shape: T) {
  return { summary, fields: z.object(shape) }
}

const by = z.string().describe('the principal who did it')
const nodeId = nameSchema
const requestId = z.string()
const anyName = z.union([z.literal('*'), nameSchema])
const anyCapability = z.union([z.literal('*'), capabilitySchema])

/** The fields of every event about an invocation. */
const invocation = { invocationId: z.string(), principal: nameSchema, nodeId, command: commandSchema }

export const LEASE_ENDS = [
  'released',
  'expired',
  'not_allowed',
  'node_revoked',
  'principal_removed',
  'not_stored',
] as const
export type LeaseEndReason = (typeof LEASE_ENDS)[number]

export const EVENTS = {
  node_status: event('The status of a limb changed.', {
    nodeId,
    status: z.enum(STATUSES),
    reason: z.enum(REASONS),
  }),
  node_updated: event('An approved limb registered something else; what needs no approval holds already.', {
    nodeId,
  }),
  node_renamed: event('An operator gave a limb a name.', { nodeId, displayName: z.string(), by }),
  node_revoked: event('A pairing was ended.', { nodeId, by }),
  node_key_rotated: event('A limb has a new key.', { nodeId, by }),
  node_provisioned: event('A limb was approved before it connected.', { nodeId, by }),
  pairing_requested: event('A request is new, or has a new revision.', { request: pendingRequestSchema }),
  pairing_approved: event('A request was approved.', {
    nodeId,
    requestId,
    by: z.string().describe('a principal, or `window:<principal>` for the pairing window'),
  }),
  pairing_rejected: event('A request was rejected.', { nodeId, requestId }),
  pairing_forgiven: event('Refusals of a limb were lifted.', { nodeId, by }),
  pairing_expired: event('A request ended without a decision.', { nodeId, requestId }),
  pairing_window_opened: event('The pairing window was opened.', { by }),
  pairing_window_closed: event('The pairing window was closed.', {
    by: z.string().describe('a principal, or `bridge` when its time was up'),
  }),
  node_flapping: event('A limb changes more often than it is told; at most once a minute for each limb.', {
    nodeId,
    changes: z.int().describe('changes since the last such event that were not told'),
  }),
  heartbeat_invalid: event(
    'A part of a heartbeat could not be used; told at most once a minute for each limb.',
    {
      nodeId,
      error: errorBodySchema,
    },
  ),
  limb_replaced: event(
    'Newer connections of a limb ended older ones, again and again: two devices with one key; told at most once a minute for each limb.',
    {
      nodeId,
      addresses: z.array(z.string()).describe('of the older and the newer ones'),
      count: z.int().describe('how often since it was told last'),
    },
  ),
  sign_in_refused: event('A CONNECT was refused; told at most once a minute for each name and address.', {
    name: z.string(),
    clientId: z.string(),
    address: z.string(),
    reason: z.string(),
    holder: z
      .object({ name: z.string(), address: z.string() })
      .optional()
      .describe('whose the client id is, of one that is in use'),
    suppressed: z.int().describe('refusals since the last such event'),
  }),
  policy_set: event('A policy was set.', {
    principal: anyName,
    nodeId: anyName,
    capability: anyCapability,
    level: levelSchema,
    by,
  }),
  policy_deleted: event('A policy was deleted.', {
    principal: anyName,
    nodeId: anyName,
    capability: anyCapability,
    by,
  }),
  invocation_waiting: event('A gated invocation waits for an operator.', { approval: approvalSchema }),
  invocation_approved: event('An operator approved a gated invocation.', {
    ...invocation,
    by,
    reason: z.string().optional(),
  }),
  invocation_denied: event('An operator denied a gated invocation.', {
    ...invocation,
    by,
    reason: z.string().optional(),
  }),
  invocation_started: event('An invocation was sent to its limb.', invocation),
  invocation_ended: event('An invocation that was accepted has ended.', {
    ...invocation,
    state: z.enum(INVOCATION_STATES),
    error: z.string().optional().describe('the code of the error'),
    durationMs: z.int(),
  }),
  invocation_late: event(
    'A limb answered an invocation after its time was up; the caller was told `timeout`.',
    {
      ...invocation,
      success: z.boolean().describe('whether the limb says that it did it'),
    },
  ),
  invocation_refused: event(
    'An invocation was refused before it began; told at most once a minute for who and what.',
    {
      principal: nameSchema,
      nodeId: nameSchema.optional(),
      command: commandSchema,
      error: z.string().describe('the code of the error'),
      count: z.int().optional().describe('how many it were since the last such event; one when absent'),
    },
  ),
  lease_granted: event('A principal has a lease. Those for a single invocation are not told.', {
    lease: leaseSchema,
  }),
  lease_ended: event('A lease has ended. Those for a single invocation are not told.', {
    leaseId: z.string(),
    nodeId,
    capability: capabilitySchema,
    principal: nameSchema,
    why: z.enum(LEASE_ENDS),
  }),
  principal_added: event('A principal was added.', { name: nameSchema, role: z.enum(ROLES), by }),
  principal_role_set: event('A principal has another role; its sessions have ended.', {
    name: nameSchema,
    role: z.enum(ROLES),
    by,
  }),
  principal_removed: event('A principal was removed.', { name: nameSchema, by }),
  token_added: event('A principal has a new token.', { tokenId: z.string(), principal: nameSchema, by }),
  token_removed: event('A token was removed; its sessions have ended.', {
    tokenId: z.string(),
    principal: nameSchema,
    by,
  }),
  backup_failed: event('A backup could not be made; the newest one grows old.', {
    by: z.string().describe('a principal who asked for it, or `bridge` when it was due'),
    error: z.string().describe('why, as the log says it'),
  }),
} as const

export type EventKind = keyof typeof EVENTS
export type EventFields<K extends EventKind> = z.input<(typeof EVENTS)[K]['fields']>
