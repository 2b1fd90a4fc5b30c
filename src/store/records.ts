import { z } from 'zod'
import type { AuditRow, KnownAddress, OfflineWait } from '../bridge/ports.ts'
import type { QueuedDelivery } from '../bridge/webhook-ports.ts'
import type { HistoryRow } from '../domain/history.ts'
import type { InvocationRecord } from '../domain/invocations.ts'
import type {
  NodeKeys,
  NodeRecord,
  PairingRequestRecord,
  PolicyRecord,
  PrincipalRecord,
  RefusedEntry,
  RefusedKey,
  RefusedWidening,
  TokenRecord,
} from '../domain/records.ts'
import { legible } from '../kernel/readable-text.ts'
import { isPasswordHash } from '../kernel/secrets.ts'
import { adapterSchema } from '../protocol/adapter.ts'
import { descriptionSchema } from '../protocol/descriptions.ts'
import { INVOCATION_STATES, LEVELS, NAME_PATTERN, REASONS, ROLES } from '../protocol/names.ts'
import { operatorSettingsSchema } from '../protocol/node-settings.ts'
import { presenceSchema } from '../protocol/presence.ts'
import {
  errorBodySchema,
  PAIRING_REQUEST_KINDS,
  REFUSAL_CAUSES,
  storedRegistrationSchema,
} from '../protocol/schemas.ts'
import { Capabilities, InternedJson, InternedTexts, RowReader } from './rows.ts'

/** Makes records of rows, whatever store they come from: the names of its columns are the same in each. */

const INVOKES = ['mqtt', 'http'] as const
const STATUSES = ['online', 'offline'] as const
const TEXTS = ['displayName', 'platform', 'firmware']

/** Reads a stored registration: a text that an older rule accepted must not keep the bridge from starting. */
const storedRegistration = z.preprocess(withLegibleTexts, storedRegistrationSchema)
const detailSchema = z.record(z.string(), z.unknown())

/**
 * Reads the rows of approved limbs. Devices of one kind say the same of themselves: equal descriptions, capabilities and
 * wishes are parsed once and share one object, and equal texts one string.
 */
export class NodeRows {
  readonly #reader = new RowReader('nodes', ['node_id'])
  readonly #keyReader = new RowReader('node_keys', ['node_id'])
  readonly #capabilities = new Capabilities()
  readonly #descriptions = new InternedJson(descriptionSchema)
  readonly #presences = new InternedJson(presenceSchema)
  readonly #settings = new InternedJson(operatorSettingsSchema)
  readonly #legible = new InternedTexts(legible)
  readonly #actors = new InternedTexts((name) => name)

  keys(row: unknown): NodeKeys {
    const reader = this.#keyReader.of(row)
    return {
      current: reader.key('salt', 'hash'),
      next: reader.keyOrNull('next_salt', 'next_hash'),
      currentUntil: reader.integerOrNull('current_until'),
    }
  }

  record(row: unknown): NodeRecord {
    const reader = this.#reader.of(row)
    const firmware = reader.textOrNull('firmware')
    return {
      nodeId: reader.matching('node_id', NAME_PATTERN),
      displayName: legible(reader.text('display_name')),
      operatorName: legibleOrNull(reader.textOrNull('operator_name')),
      platform: this.#legible.of(reader.text('platform')),
      firmware: firmware === null ? null : this.#legible.of(firmware),
      endpointUrl: reader.textOrNull('endpoint_url'),
      registeredFrom: reader.textOrNull('registered_from'),
      invoke: reader.oneOf('invoke', INVOKES),
      capabilities: this.#capabilities.read(reader, 'capabilities'),
      heartbeatSeconds: reader.integerOrNull('heartbeat_seconds'),
      timeoutSeconds: reader.integerOrNull('timeout_seconds'),
      presence: this.#presences.read(reader, 'presence'),
      ownDescription: this.#descriptions.read(reader, 'description'),
      adapter: reader.jsonOrNull('adapter', adapterSchema),
      operatorDescription: this.#descriptions.read(reader, 'operator_description'),
      operatorSettings: this.#settings.read(reader, 'operator_settings'),
      approvedAt: reader.integer('approved_at'),
      approvedBy: this.#actors.of(reader.text('approved_by')),
      updatedAt: reader.integer('updated_at'),
      lastHeartbeatAt: reader.integerOrNull('last_heartbeat_at'),
    }
  }
}

/** Returns the columns of a limb, in the order of `NODE_COLUMNS`. */
export function nodeValues(node: NodeRecord): (string | number | null)[] {
  return [
    node.nodeId,
    node.displayName,
    node.operatorName,
    node.platform,
    node.firmware,
    node.endpointUrl,
    node.registeredFrom,
    node.invoke,
    Capabilities.text(node.capabilities),
    node.heartbeatSeconds,
    node.timeoutSeconds,
    jsonOrNull(node.presence),
    jsonOrNull(node.ownDescription),
    jsonOrNull(node.adapter),
    jsonOrNull(node.operatorDescription),
    jsonOrNull(node.operatorSettings),
    node.approvedAt,
    node.approvedBy,
    node.updatedAt,
  ]
}

export const NODE_COLUMNS = `node_id, display_name, operator_name, platform, firmware, endpoint_url, registered_from, invoke, capabilities,
  heartbeat_seconds, timeout_seconds, presence, description, adapter, operator_description, operator_settings,
  approved_at, approved_by, updated_at`

export function requestOfRow(
  row: unknown,
  rows = new RowReader('requests', ['request_id']),
): PairingRequestRecord {
  const reader = rows.of(row)
  return {
    requestId: reader.text('request_id'),
    nodeId: reader.matching('node_id', NAME_PATTERN),
    kind: reader.oneOf('kind', PAIRING_REQUEST_KINDS),
    revision: reader.integer('revision'),
    registration: reader.json('registration', storedRegistration),
    key: reader.keyOrNull('salt', 'hash'),
    code: reader.textOrNull('code'),
    address: reader.text('address'),
    requestedAt: reader.integer('requested_at'),
    expiresAt: reader.integer('expires_at'),
  }
}

/** Returns the columns of a request, in the order of its table but for the address group. */
export function requestValues(request: PairingRequestRecord): (string | number | Uint8Array | null)[] {
  return [
    request.requestId,
    request.nodeId,
    request.kind,
    request.revision,
    JSON.stringify(request.registration),
    request.key?.salt ?? null,
    request.key?.hash ?? null,
    request.code,
    request.address,
    request.requestedAt,
    request.expiresAt,
  ]
}

export function refusedKeyOfRow(row: unknown, rows = new RowReader('refused_keys', ['node_id'])): RefusedKey {
  const reader = rows.of(row)
  return {
    nodeId: reader.text('node_id'),
    key: reader.key('salt', 'hash'),
    why: reader.oneOf('why', REFUSAL_CAUSES),
    at: reader.integer('at'),
    until: reader.integer('until'),
  }
}

export function refusedEntryOfRow(
  row: unknown,
  rows = new RowReader('refused_keys', ['node_id']),
): RefusedEntry {
  const reader = rows.of(row)
  return {
    nodeId: reader.text('node_id'),
    why: reader.oneOf('why', REFUSAL_CAUSES),
    at: reader.integer('at'),
    until: reader.integer('until'),
  }
}

export function refusedWideningOfRow(
  row: unknown,
  rows = new RowReader('refused_widenings', ['node_id']),
): RefusedWidening {
  const reader = rows.of(row)
  return {
    nodeId: reader.text('node_id'),
    fingerprint: reader.text('fingerprint'),
    at: reader.integer('at'),
    until: reader.integer('until'),
  }
}

export function principalOfRow(row: unknown, rows = new RowReader('principals', ['name'])): PrincipalRecord {
  const reader = rows.of(row)
  const passwordHash = reader.text('password_hash')
  if (!isPasswordHash(passwordHash)) reader.bad('password_hash', 'is not a scrypt hash in PHC form')
  return {
    name: reader.matching('name', NAME_PATTERN),
    role: reader.oneOf('role', ROLES),
    passwordHash,
    createdAt: reader.integer('created_at'),
    createdBy: reader.text('created_by'),
  }
}

export function tokenOfRow(row: unknown, rows = new RowReader('tokens', ['token_id'])): TokenRecord {
  const reader = rows.of(row)
  return {
    tokenId: reader.text('token_id'),
    hash: reader.hash('hash'),
    name: reader.text('name'),
    principal: reader.matching('principal', NAME_PATTERN),
    role: reader.oneOf('role', ROLES),
    createdAt: reader.integer('created_at'),
    createdBy: reader.text('created_by'),
    expiresAt: reader.integerOrNull('expires_at'),
    lastUsedAt: reader.integerOrNull('last_used_at'),
    lastAddress: reader.textOrNull('last_address'),
  }
}

export function policyOfRow(
  row: unknown,
  rows = new RowReader('policies', ['principal', 'node_id', 'capability']),
): PolicyRecord {
  const reader = rows.of(row)
  return {
    principal: reader.text('principal'),
    nodeId: reader.text('node_id'),
    capability: reader.text('capability'),
    level: reader.oneOf('level', LEVELS),
    setAt: reader.integer('set_at'),
    setBy: reader.text('set_by'),
  }
}

export function auditOfRow(row: unknown, rows = new RowReader('audit', ['seq'])): AuditRow {
  const reader = rows.of(row)
  return {
    seq: reader.integer('seq'),
    at: reader.integer('at'),
    actor: reader.text('actor'),
    kind: reader.text('kind'),
    nodeId: reader.textOrNull('node_id'),
    outcome: reader.text('outcome'),
    detail: reader.json('detail', detailSchema),
    hash: reader.blob('hash'),
  }
}

export function invocationOfRow(
  row: unknown,
  rows = new RowReader('invocations', ['invocation_id']),
): InvocationRecord {
  const reader = rows.of(row)
  const lateAt = reader.integerOrNull('late_at')
  return {
    invocationId: reader.text('invocation_id'),
    principal: reader.text('principal'),
    nodeId: reader.text('node_id'),
    capability: reader.text('capability'),
    command: reader.text('command'),
    paramsHash: reader.text('params_hash'),
    level: reader.oneOf('level', LEVELS),
    state: reader.oneOf('state', INVOCATION_STATES),
    createdAt: reader.integer('created_at'),
    endedAt: reader.integerOrNull('ended_at'),
    fence: reader.integerOrNull('fence'),
    idempotencyKey: reader.textOrNull('idempotency_key'),
    fingerprint: reader.textOrNull('fingerprint'),
    decidedBy: reader.textOrNull('decided_by'),
    reason: reader.textOrNull('reason'),
    error: reader.textOrNull('error') === null ? null : reader.json('error', errorBodySchema),
    ...(lateAt === null ? {} : { late: { at: lateAt, success: reader.integer('late_success') === 1 } }),
  } as InvocationRecord
}

export const INVOCATION_COLUMNS =
  'invocation_id, principal, node_id, capability, command, params_hash, level, state, created_at, ended_at, fence, idempotency_key, fingerprint, decided_by, reason, error, late_at, late_success'

/** The columns that change while an invocation goes on. */
export const MOVING_COLUMNS = [
  'capability',
  'level',
  'state',
  'ended_at',
  'fence',
  'idempotency_key',
  'decided_by',
  'reason',
  'error',
  'late_at',
  'late_success',
]

/** Returns the columns of an invocation, in the order of `INVOCATION_COLUMNS`. */
export function invocationValues(record: InvocationRecord): (string | number | null)[] {
  return [
    record.invocationId,
    record.principal,
    record.nodeId,
    record.capability,
    record.command,
    record.paramsHash,
    record.level,
    record.state,
    record.createdAt,
    record.endedAt,
    record.fence,
    record.idempotencyKey,
    record.fingerprint,
    record.decidedBy,
    record.reason,
    record.error === null ? null : JSON.stringify(record.error),
    record.late?.at ?? null,
    record.late === undefined ? null : Number(record.late.success),
  ]
}

export function historyOfRow(
  row: unknown,
  rows = new RowReader('presence_history', ['node_id', 'seq']),
): HistoryRow {
  const reader = rows.of(row)
  return {
    seq: reader.integer('seq'),
    nodeId: reader.text('node_id'),
    at: reader.integer('at'),
    status: reader.oneOf('status', STATUSES),
    reason: reader.oneOf('reason', REASONS),
  }
}

export function addressOfRow(
  row: unknown,
  rows = new RowReader('principal_addresses', ['name', 'address']),
): KnownAddress {
  const reader = rows.of(row)
  return { name: reader.text('name'), address: reader.text('address'), usedAt: reader.integer('used_at') }
}

export function offlineWaitOfRow(
  row: unknown,
  rows = new RowReader('offline_waits', ['invocation_id']),
): OfflineWait {
  const reader = rows.of(row)
  return {
    invocationId: reader.text('invocation_id'),
    asked: reader.text('asked'),
    endsAt: reader.integer('ends_at'),
  }
}

function withLegibleTexts(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      key,
      TEXTS.includes(key) && typeof each === 'string' ? legible(each) : each,
    ]),
  )
}

function jsonOrNull(value: object | string | null): string | null {
  return value === null ? null : JSON.stringify(value)
}

function legibleOrNull(text: string | null): string | null {
  return text === null ? null : legible(text)
}

const deliveryReader = new RowReader('webhook_deliveries', ['webhook', 'seq'])

export function queuedDeliveryOfRow(row: unknown): QueuedDelivery {
  const reader = deliveryReader.of(row)
  return {
    seq: reader.integer('seq'),
    webhook: reader.text('webhook'),
    deliveryId: reader.text('delivery_id'),
    kind: reader.text('kind'),
    urgent: reader.integer('urgent') === 1,
    payload: reader.text('payload'),
    expiresAt: reader.integer('expires_at'),
    attempts: reader.integer('attempts'),
  }
}
