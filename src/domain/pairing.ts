import type { KeyHash } from '../kernel/secrets.ts'
import type { Capability, PairingRequestKind, Registration } from '../protocol/schemas.ts'
import { canonicalCapabilities, compareCapabilities, sameCapabilities } from './capabilities.ts'
import type { NodeKeys, NodeRecord, OperatorSettings, PairingRequestRecord } from './records.ts'

/**
 * The decisions of pairing: pure functions from what is stored and what a limb says to what shall be stored.
 * They know no clock, no store and no connection.
 */

/** Two claims to one nodeId stand against each other; a widening by the limb itself is not a claim. */
export function inConflict(request: PairingRequestRecord, ofNode: readonly PairingRequestRecord[]): boolean {
  return (
    request.kind !== 'widen' &&
    ofNode.some((other) => other.requestId !== request.requestId && other.kind !== 'widen')
  )
}

/**
 * Returns whether the current key still opens: after `node/rotate-key` it does for a while, and not for ever. `now`
 * is running time.
 */
export function currentKeyHolds({ currentUntil }: NodeKeys, now: number): boolean {
  return currentUntil === null || now < currentUntil
}

export interface ClaimContext {
  readonly now: number
  /** The end, on the running clock. */
  readonly expiresAt: number
  readonly address: string
}

/** A fresh request of a candidate. Whether it replaces a key depends on whether the node is paired already. */
export function newClaim(
  requestId: string,
  nodeId: string,
  registration: Registration,
  key: KeyHash,
  code: string,
  paired: boolean,
  context: ClaimContext,
): PairingRequestRecord {
  return {
    requestId,
    nodeId,
    kind: paired ? 'replace' : 'new',
    revision: 1,
    registration,
    key,
    code,
    address: context.address,
    requestedAt: context.now,
    expiresAt: context.expiresAt,
  }
}

/**
 * The same claimant registers again: the request stays the same one, lives on, and gets a new revision when
 * it says something else, so that nobody approves what was not looked at.
 */
export function renewClaim(
  request: PairingRequestRecord,
  registration: Registration,
  kind: PairingRequestKind,
  context: ClaimContext,
): PairingRequestRecord {
  const changed = kind !== request.kind || !sameRegistration(request.registration, registration)
  return {
    ...request,
    kind,
    registration,
    revision: changed ? request.revision + 1 : request.revision,
    address: context.address,
    expiresAt: context.expiresAt,
  }
}

function sameRegistration(a: Registration, b: Registration): boolean {
  return canonicalRegistration(a) === canonicalRegistration(b)
}

function canonicalRegistration(value: Registration): string {
  return JSON.stringify([
    value.displayName,
    value.platform,
    canonicalCapabilities(value.capabilities),
    value.endpointUrl ?? null,
    value.invoke ?? 'mqtt',
    value.firmware ?? null,
    value.heartbeatSeconds ?? null,
    value.timeoutSeconds ?? null,
    value.presence ?? null,
    value.described ?? null,
    value.adapter ?? null,
  ])
}

/** The changes that an approved limb's registration makes by itself. */
export interface Reregistration {
  readonly node: NodeRecord
  /** Shows whether `node` differs from what was stored. */
  readonly changed: boolean
  /** Shows whether it also asks for more than is approved. */
  readonly widens: boolean
}

export function reregister(
  node: NodeRecord,
  registration: Registration,
  { now, address }: Pick<ClaimContext, 'now' | 'address'>,
): Reregistration {
  const { effective, widens } = compareCapabilities(node.capabilities, registration.capabilities)
  const next: NodeRecord = {
    ...node,
    ...descriptionOf(registration),
    registeredFrom: whereFrom(registration, address),
    capabilities: sameCapabilities(effective, node.capabilities) ? node.capabilities : effective,
  }
  const changed = !sameNode(node, next)
  return { node: changed ? { ...next, updatedAt: now } : node, changed, widens }
}

/** Returns the address of a limb with an endpoint; that of the others may change without being stored. */
function whereFrom({ endpointUrl }: Registration, address: string): string | null {
  return endpointUrl === undefined ? null : address
}

/** Takes out of a registration what a limb may say of itself without asking. */
function descriptionOf(registration: Registration) {
  return {
    displayName: registration.displayName,
    platform: registration.platform,
    firmware: registration.firmware ?? null,
    endpointUrl: registration.endpointUrl ?? null,
    invoke: registration.invoke ?? ('mqtt' as const),
    heartbeatSeconds: registration.heartbeatSeconds ?? null,
    timeoutSeconds: registration.timeoutSeconds ?? null,
    presence: registration.presence ?? null,
    ownDescription: registration.described ?? null,
    adapter: registration.adapter ?? null,
  }
}

function sameJson(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b)
}

function sameNode(a: NodeRecord, b: NodeRecord): boolean {
  return (
    a.displayName === b.displayName &&
    a.platform === b.platform &&
    a.firmware === b.firmware &&
    a.endpointUrl === b.endpointUrl &&
    a.registeredFrom === b.registeredFrom &&
    a.invoke === b.invoke &&
    a.heartbeatSeconds === b.heartbeatSeconds &&
    a.timeoutSeconds === b.timeoutSeconds &&
    sameJson(a.presence, b.presence) &&
    sameJson(a.ownDescription, b.ownDescription) &&
    sameJson(a.adapter, b.adapter) &&
    a.capabilities === b.capabilities
  )
}

/**
 * The node after an approval. A replaced key keeps the names of a paired node (both its own and the
 * operator's): a device that lost its key comes back as what it was. A widening adopts what was asked.
 */
export function approvedNode(
  request: PairingRequestRecord,
  existing: NodeRecord | null,
  by: string,
  now: number,
): NodeRecord {
  const { registration } = request
  if (!existing) {
    return {
      nodeId: request.nodeId,
      operatorName: null,
      ...descriptionOf(registration),
      registeredFrom: whereFrom(registration, request.address),
      operatorDescription: null,
      operatorSettings: null,
      capabilities: registration.capabilities,
      approvedAt: now,
      approvedBy: by,
      updatedAt: now,
      lastHeartbeatAt: null,
    }
  }
  if (request.kind === 'widen') {
    return {
      ...existing,
      capabilities: registration.capabilities,
      approvedAt: now,
      approvedBy: by,
      updatedAt: now,
    }
  }
  return {
    ...existing,
    ...descriptionOf(registration),
    registeredFrom: whereFrom(registration, request.address),
    displayName: existing.displayName,
    capabilities: registration.capabilities,
    approvedAt: now,
    approvedBy: by,
    updatedAt: now,
  }
}

/** The name that people see. */
export function shownName(node: Pick<NodeRecord, 'displayName' | 'operatorName'>): string {
  return node.operatorName ?? node.displayName
}

/** Makes the record of a provisioned limb that has not spoken yet. */
export function provisionedNode(
  wish: {
    nodeId: string
    displayName?: string | undefined
    platform?: string | undefined
    capabilities?: readonly Capability[] | undefined
    settings?: OperatorSettings | null | undefined
  },
  by: string,
  now: number,
): NodeRecord {
  return {
    nodeId: wish.nodeId,
    displayName: wish.displayName ?? wish.nodeId,
    operatorName: null,
    platform: wish.platform ?? 'unknown',
    firmware: null,
    endpointUrl: null,
    registeredFrom: null,
    invoke: 'mqtt',
    capabilities: wish.capabilities ?? [],
    heartbeatSeconds: null,
    timeoutSeconds: null,
    presence: null,
    ownDescription: null,
    adapter: null,
    operatorDescription: null,
    operatorSettings: wish.settings ?? null,
    approvedAt: now,
    approvedBy: by,
    updatedAt: now,
    lastHeartbeatAt: null,
  }
}
