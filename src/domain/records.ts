import type { KeyHash } from '../kernel/secrets.ts'
import type { AdapterRecord } from '../protocol/adapter.ts'
import type { Description } from '../protocol/descriptions.ts'
import type { AuthLevel, Role } from '../protocol/names.ts'
import type { PresenceWish } from '../protocol/presence.ts'
import type { Capability, PairingRequestKind, RefusalCause, Registration } from '../protocol/schemas.ts'

/**
 * These are the rows that every store keeps. Times are integer milliseconds of wall time, but for ends (`expiresAt`,
 * `until`, `currentUntil`), which are on the running clock (`kernel/running-clock.ts`), and for `lastHeartbeatAt` and the
 * presence history, which are on the steady clock (`kernel/steady-clock.ts`).
 */

/** Is what an operator set for a limb; a key that is absent leaves the limb's own wish. */
export interface OperatorSettings {
  readonly presence?: PresenceWish | undefined
  readonly heartbeatSeconds?: number | undefined
  readonly timeoutSeconds?: number | undefined
  readonly area?: string | undefined
}

/** An approved limb. */
export interface NodeRecord {
  readonly nodeId: string
  /** The limb's own name for itself. */
  readonly displayName: string
  /** The operator's name for it; wins over the limb's and outlives every registration. */
  readonly operatorName: string | null
  readonly platform: string
  readonly firmware: string | null
  readonly endpointUrl: string | null
  /** The address that it registered from last, where it has an endpoint; null: it has none, or never registered. */
  readonly registeredFrom: string | null
  readonly invoke: 'mqtt' | 'http'
  /** The approved capabilities, never more. */
  readonly capabilities: readonly Capability[]
  /** The interval that the limb asked for; null: the configured default. */
  readonly heartbeatSeconds: number | null
  readonly timeoutSeconds: number | null
  /** Names what counts as a sign of life, as the limb asked; null: a heartbeat. */
  readonly presence: PresenceWish | null
  /** The limb's own words about what it can do. */
  readonly ownDescription: Description | null
  /** Holds what was read of its firmware, when that is foreign; null: it speaks the protocol itself. */
  readonly adapter: AdapterRecord | null
  /** An operator's words about it; they win over the limb's own. */
  readonly operatorDescription: Description | null
  /** The settings of an operator; they win over the limb's wishes. */
  readonly operatorSettings: OperatorSettings | null
  readonly approvedAt: number
  readonly approvedBy: string
  readonly updatedAt: number
  readonly lastHeartbeatAt: number | null
}

/** The keys that a limb signs in with; kept apart from the node so that no listing ever touches it. */
export interface NodeKeys {
  readonly current: KeyHash
  /** Made by `node/rotate-key`; becomes the current one when it is first used. */
  readonly next: KeyHash | null
  /**
   * The time at which `current` ends even if `next` was never used; null: it does not, or `next` could not be sent to
   * the limb yet.
   */
  readonly currentUntil: number | null
}

/** Is a token of a principal, as it is stored: never the token itself. */
export interface TokenRecord {
  readonly tokenId: string
  readonly hash: Uint8Array
  /** The name that its maker gave it. */
  readonly name: string
  readonly principal: string
  /** The most that it may do; never more than its principal may at that moment. */
  readonly role: Role
  readonly createdAt: number
  readonly createdBy: string
  /** The end; null: it does not end by itself. */
  readonly expiresAt: number | null
  readonly lastUsedAt: number | null
  readonly lastAddress: string | null
}

/** Says when and from where a token was last used. */
export interface TokenUse {
  readonly tokenId: string
  readonly at: number
  readonly address: string
}

/** A request that waits for an operator. */
export interface PairingRequestRecord {
  readonly requestId: string
  readonly nodeId: string
  readonly kind: PairingRequestKind
  /** Rises with every change, so that an operator approves what was looked at and nothing else. */
  readonly revision: number
  readonly registration: Registration
  /** The hash of the key; null for `widen`, which the limb's own key already signed. */
  readonly key: KeyHash | null
  readonly code: string | null
  readonly address: string
  readonly requestedAt: number
  readonly expiresAt: number
}

/** A key that was rejected or revoked: it may not even connect until the time is up. */
export interface RefusedKey {
  readonly nodeId: string
  readonly key: KeyHash
  readonly why: RefusalCause
  readonly at: number
  readonly until: number
}

/** A refused key or widening, as it is listed. */
export interface RefusedEntry {
  readonly nodeId: string
  readonly why: RefusalCause
  readonly at: number
  readonly until: number
}

/** A widening that an operator rejected: the same one is not asked again until the time is up. */
export interface RefusedWidening {
  readonly nodeId: string
  /** SHA-256 of the canonical form of the capabilities. */
  readonly fingerprint: string
  readonly at: number
  readonly until: number
}

/** `*` stands for any in each of the three places. */
export interface PolicyRecord {
  readonly principal: string
  readonly nodeId: string
  readonly capability: string
  readonly level: AuthLevel
  readonly setAt: number
  readonly setBy: string
}

export interface PrincipalRecord {
  readonly name: string
  readonly role: Role
  /** PHC form. */
  readonly passwordHash: string
  readonly createdAt: number
  readonly createdBy: string
}

/** One decision, forever. `detail` holds no secret. */
export interface AuditEntry {
  readonly at: number
  /** Names who decided or tried: a principal, a node, an address, or `bridge`. */
  readonly actor: string
  /** The kind: `pairing.approved`, `policy.set`, `signin.refused`, and so on. */
  readonly kind: string
  readonly nodeId: string | null
  readonly outcome: string
  readonly detail: Record<string, unknown>
}
