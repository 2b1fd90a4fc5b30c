import { canonicalCapabilities } from '../../domain/capabilities.ts'
import {
  approvedNode,
  currentKeyHolds,
  inConflict,
  newClaim,
  renewClaim,
  reregister,
} from '../../domain/pairing.ts'
import { stricter } from '../../domain/policy.ts'
import type { NodeKeys, NodeRecord, PairingRequestRecord } from '../../domain/records.ts'
import { isLoopbackAddress } from '../../kernel/address.ts'
import { Refusal } from '../../kernel/errors.ts'
import { rotatedKeyOf } from '../../kernel/rotated-key.ts'
import type { RunningMs } from '../../kernel/running-clock.ts'
import { hashKey, type KeyHash, keyMatches, newId, pairingCode, sha256Hex } from '../../kernel/secrets.ts'
import type { AuthLevel } from '../../protocol/names.ts'
import type { Registration } from '../../protocol/schemas.ts'
import { audit } from '../audit.ts'
import { type PendingPairingRequests, registrationSize } from '../live/pending.ts'
import type { ClaimAsked, ClaimFacts, Session, Tx } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import { invokeSecretOf } from './answers.ts'
import { type ChangeReservation, RegistrationRateLimit } from './registration-rate-limit.ts'
import type { Reservation, WindowReservation } from './window.ts'

/** The time that an old key still works after `node/rotate-key`, once the new one could be sent to the limb. */
export const OLD_KEY_MS = 86_400_000

/** The changes that an operator makes to a request while approving it. */
export interface ApprovalChanges {
  readonly displayName?: string | undefined
  readonly area?: string | undefined
  readonly levels?: Readonly<Record<string, AuthLevel>> | undefined
}

/** A level that was lowered at the approval is not asked about again for so long: ten years. */
const LOWERED_MS = 3650 * 86_400_000

/** The one that was not approved may be the right device after all: it is kept out until people have looked again. */
const LOSER_SECONDS = 300

/** The decision about a registration in its transaction; memory and the network follow after the commit. */
export type ClaimDecision =
  | { readonly kind: 'claimed'; readonly request: PairingRequestRecord; readonly fresh: boolean }
  | { readonly kind: 'promoted'; readonly approval: PairingApproved }
  | { readonly kind: 'known'; readonly node: NodeRecord; readonly invokeSecret: string | undefined }
  | { readonly kind: 'refused' }

/** The changes that an approval made in the store. */
export interface PairingApproved {
  readonly request: PairingRequestRecord
  readonly node: NodeRecord
  /** The secret for the limb that it is about; undefined unless it is invoked over HTTP. */
  readonly invokeSecret: string | undefined
  /** Claims that stood against it and are rejected with it. */
  readonly losers: readonly PairingRequestRecord[]
  /** The limb's own wish for more, which a replaced device has to repeat. */
  readonly withdrawn: readonly PairingRequestRecord[]
}

/** The changes of a limb's registration, and those of them that wait. */
export interface Reregistered {
  readonly node: NodeRecord
  readonly changed: boolean
  /** The wish for more ability that waits now. */
  readonly widening: PairingRequestRecord | undefined
  /** One that the limb no longer has. */
  readonly withdrawn: PairingRequestRecord | undefined
  /** One that it has not used yet, made by `node/rotate-key`. */
  readonly newKey: string | undefined
  readonly invokeSecret: string | undefined
}

/**
 * An attempt to register: what is made before its work, so that the work may run again with the same outcome. What it
 * takes of the window and of the limb's changes is counted when its transaction has ended.
 */
export interface RegistrationAttempt extends Reservation {
  readonly seat: WindowReservation
  readonly change: ChangeReservation
  /** The id of the request that may come of it. */
  readonly requestId: string
  /** The hash of the claimant's key; one and the same at every run. */
  hashOf(key: string): KeyHash
}

/** Puts on record that a request was approved. */
export async function recordApproved(
  context: BridgeContext,
  tx: Tx,
  { requestId, nodeId, revision, kind }: PairingRequestRecord,
  by: string,
): Promise<void> {
  const about = { actor: by, nodeId, outcome: 'approved', detail: { requestId, revision, kind } }
  await tx.audit(audit(context, 'pairing.approved', about))
}

/** Puts on record that nobody decided about a wish for more: its limb asks for it no more, or is no more the same. */
export async function recordWithdrawn(
  context: BridgeContext,
  tx: Tx,
  { requestId, nodeId }: PairingRequestRecord,
  by: string,
): Promise<void> {
  const about = { actor: by, nodeId, outcome: 'withdrawn', detail: { requestId } }
  await tx.audit(audit(context, 'pairing.withdrawn', about))
}

/**
 * Decides about pairings within a transaction: it reads, decides and writes. Nothing here touches memory that others
 * see, or the network: `Pairings` does that when the transaction is on disk.
 */
export class PairingDecisions {
  readonly #context: BridgeContext
  readonly #changes: RegistrationRateLimit

  readonly #pending: PendingPairingRequests

  constructor(context: BridgeContext, pending: PendingPairingRequests) {
    this.#context = context
    this.#pending = pending
    this.#changes = new RegistrationRateLimit(context.clock)
  }

  /** Begins an attempt to register, before its transaction. */
  attempt(seat: WindowReservation): RegistrationAttempt {
    const change = this.#changes.reserve()
    let hash: KeyHash | undefined
    return {
      seat,
      change,
      requestId: newId('pr_'),
      hashOf(key) {
        hash ??= hashKey(key)
        return hash
      },
      begin() {
        seat.begin()
        change.begin()
      },
      settle(stored) {
        seat.settle(stored)
        change.settle(stored)
      },
    }
  }

  /** Decides what becomes of a candidate's registration. @throws Refusal `too_many_requests` */
  async claim(
    tx: Tx,
    attempt: RegistrationAttempt,
    session: Session,
    nodeId: string,
    key: string,
    registration: Registration,
  ): Promise<ClaimDecision> {
    attempt.begin()
    const { clock, running, settings } = this.#context
    const now = clock.wallMs()
    const facts = await tx.claimFacts(this.#asked(nodeId, session.address))
    const { keys, requests: ofNode } = facts
    if (keys && keyMatches(keys.current, key) && currentKeyHolds(keys, running.now())) {
      const node = await tx.node(nodeId)
      if (node)
        return { kind: 'known', node, invokeSecret: invokeSecretOf(this.#context, node, keys.current) }
    }
    if (facts.refusedKeys.some((entry) => keyMatches(entry.key, key))) return { kind: 'refused' }

    const mine = ofNode.find((request) => request.key !== null && keyMatches(request.key, key))
    const expiresAt = running.in(settings.pairing.pendingSeconds * 1000)
    const claimContext = { now, expiresAt, address: session.address }
    let request: PairingRequestRecord
    let isRow = !mine
    if (mine) {
      request = renewClaim(mine, registration, keys ? 'replace' : 'new', claimContext)
      if (request.revision !== mine.revision) {
        isRow = attempt.change.take(request.requestId)
        this.#checkBytes(registration, mine)
      }
    } else {
      this.#checkLimits(facts)
      this.#checkBytes(registration)
      const hash = attempt.hashOf(key)
      request = newClaim(
        attempt.requestId,
        nodeId,
        registration,
        hash,
        pairingCode(nodeId, hash),
        keys !== null,
        claimContext,
      )
    }
    const conflict = inConflict(request, [...ofNode.filter((other) => other !== mine), request])
    const openedBy = attempt.seat.take(request, conflict)
    if (openedBy !== undefined) {
      if (mine) await tx.deleteRequest(mine.requestId)
      return { kind: 'promoted', approval: await this.approve(tx, request, `window:${openedBy}`) }
    }
    await tx.putRequest(request)
    // What changes again and again has a row a minute: its revision says how often it changed.
    if (isRow) {
      await tx.audit(
        audit(this.#context, 'pairing.requested', {
          actor: session.address,
          nodeId,
          outcome: 'pending',
          detail: {
            requestId: request.requestId,
            revision: request.revision,
            kind: request.kind,
            code: request.code,
          },
        }),
      )
    }
    return { kind: 'claimed', request, fresh: !mine || request.revision !== mine.revision }
  }

  /** Approves a request that waits, if the window would approve it now. */
  async admit(tx: Tx, seat: WindowReservation, requestId: string): Promise<PairingApproved | undefined> {
    seat.begin()
    const request = await tx.request(requestId)
    if (!request) return undefined
    const conflict = inConflict(request, await tx.requestsOfNode(request.nodeId))
    const openedBy = seat.take(request, conflict)
    if (openedBy === undefined) return undefined
    await tx.deleteRequest(requestId)
    return await this.approve(tx, request, `window:${openedBy}`)
  }

  /** Most of what an approved limb registers again holds at once; more ability waits for an operator. */
  async reregister(
    tx: Tx,
    attempt: RegistrationAttempt,
    session: Session,
    nodeId: string,
    registration: Registration,
  ): Promise<Reregistered> {
    attempt.begin()
    const { clock } = this.#context
    const now = clock.wallMs()
    const node = await tx.node(nodeId)
    if (!node) throw new Refusal('not_found', 'this pairing has been revoked')
    const next = reregister(node, registration, { now, address: session.address })
    if (next.changed) {
      attempt.change.take(nodeId)
      await tx.putNode(next.node)
      await tx.audit(
        audit(this.#context, 'node.updated', {
          actor: nodeId,
          nodeId,
          detail: {
            endpointUrl: next.node.endpointUrl,
            firmware: next.node.firmware,
            displayName: next.node.displayName,
          },
        }),
      )
    }
    const waiting = (await tx.requestsOfNode(nodeId)).find((request) => request.kind === 'widen')
    const widening = next.widens
      ? await this.#widening(tx, attempt, session, nodeId, registration, waiting, now)
      : undefined
    if (!widening && waiting) {
      await tx.deleteRequest(waiting.requestId)
      if (attempt.change.mayRecord(`withdrawn ${nodeId}`)) {
        await recordWithdrawn(this.#context, tx, waiting, nodeId)
      }
    }
    const keys = await tx.nodeKeys(nodeId)
    const newKey = keys ? await this.#unsentKey(tx, session, nodeId, keys) : undefined
    const invokeSecret = invokeSecretOf(this.#context, next.node, keys?.current)
    return { ...next, widening, withdrawn: widening ? undefined : waiting, newKey, invokeSecret }
  }

  /** The key of a rotation that the limb knows nothing of yet. From now on the old one has its day. */
  async #unsentKey(tx: Tx, session: Session, nodeId: string, keys: NodeKeys): Promise<string | undefined> {
    const { invokeOverHttp, running, topics } = this.#context
    if (!keys.next || !invokeOverHttp) return undefined
    const key = rotatedKeyOf(invokeOverHttp.master, nodeId, keys.next)
    const canBeSent = session.subscribedTo(topics.node(nodeId, 'pairing'))
    if (key !== undefined && canBeSent && keys.currentUntil === null) {
      await tx.putNodeKeys(nodeId, { ...keys, currentUntil: running.in(OLD_KEY_MS) })
    }
    return key
  }

  async approve(
    tx: Tx,
    request: PairingRequestRecord,
    by: string,
    changes: ApprovalChanges = {},
  ): Promise<PairingApproved> {
    const { clock } = this.#context
    const now = clock.wallMs()
    const { nodeId } = request
    const existing = await tx.node(nodeId)
    if (request.kind === 'widen' && !existing)
      throw new Refusal('not_found', 'the limb has been revoked meanwhile')
    if (await tx.principal(nodeId)) {
      throw new Refusal(
        'conflict',
        `a principal is named ${nodeId}; reject the request, or remove the principal first`,
      )
    }
    const node = changedApproval(approvedNode(request, existing, by, now), changes)
    await tx.putNode(node)
    if (changes.levels && Object.keys(changes.levels).length > 0) {
      // The limb goes on to ask for what it was not given; it is not asked again each time it registers.
      const fingerprint = wideningFingerprint(request.registration)
      await tx.putRefusedWidening({
        nodeId,
        fingerprint,
        at: now,
        until: this.#context.running.in(LOWERED_MS),
      })
    }
    if (request.key) await tx.putNodeKeys(nodeId, { current: request.key, next: null, currentUntil: null })
    // What waits for the device that had the name is not for the one that has it now.
    if (request.kind === 'replace') await tx.forgetSessions(nodeId)

    const others = (await tx.requestsOfNode(nodeId)).filter((other) => other.requestId !== request.requestId)
    const losers = request.kind === 'widen' ? [] : others.filter((other) => other.kind !== 'widen')
    const withdrawn = request.kind === 'widen' ? [] : others.filter((other) => other.kind === 'widen')
    for (const loser of losers) await this.reject(tx, loser, by, 'other_approved')
    for (const other of withdrawn) {
      await tx.deleteRequest(other.requestId)
      await recordWithdrawn(this.#context, tx, other, by)
    }
    await recordApproved(this.#context, tx, request, by)
    this.#changes.decided(wideningKey(nodeId))
    const key = request.key ?? (await tx.nodeKeys(nodeId))?.current
    return { request, node, losers, withdrawn, invokeSecret: invokeSecretOf(this.#context, node, key) }
  }

  /** Resolves with the end of the refusal, on the running clock. */
  async reject(
    tx: Tx,
    request: PairingRequestRecord,
    by: string,
    why: 'rejected' | 'other_approved' = 'rejected',
  ): Promise<RunningMs> {
    const { clock, running, settings } = this.#context
    const now = clock.wallMs()
    const { rejectedSeconds } = settings.pairing
    const seconds = why === 'rejected' ? rejectedSeconds : Math.min(rejectedSeconds, LOSER_SECONDS)
    const until = running.in(seconds * 1000)
    const { nodeId, key } = request
    await tx.deleteRequest(request.requestId)
    this.#changes.decided(wideningKey(nodeId))
    if (key) await tx.putRefusedKey({ nodeId, key, why, at: now, until })
    else {
      const fingerprint = wideningFingerprint(request.registration)
      await tx.putRefusedWidening({ nodeId, fingerprint, at: now, until })
    }
    await tx.audit(
      audit(this.#context, 'pairing.rejected', {
        actor: by,
        nodeId: request.nodeId,
        outcome: 'rejected',
        detail: { requestId: request.requestId, kind: request.kind },
      }),
    )
    return until
  }

  async #widening(
    tx: Tx,
    attempt: RegistrationAttempt,
    session: Session,
    nodeId: string,
    registration: Registration,
    waiting: PairingRequestRecord | undefined,
    now: number,
  ): Promise<PairingRequestRecord | undefined> {
    const { running, settings } = this.#context
    const refused = await tx.refusedWidening(nodeId, running.now())
    if (refused?.fingerprint === wideningFingerprint(registration)) return undefined
    const expiresAt = running.in(settings.pairing.pendingSeconds * 1000)
    const claimContext = { now, expiresAt, address: session.address }
    let request: PairingRequestRecord
    let isRow = false
    if (waiting) {
      request = renewClaim(waiting, registration, 'widen', claimContext)
      if (request.revision !== waiting.revision) {
        isRow = attempt.change.take(wideningKey(nodeId))
        this.#checkBytes(registration, waiting)
      }
    } else {
      // A wish that comes and goes is a change each time.
      isRow = attempt.change.take(wideningKey(nodeId))
      this.#checkLimits(await tx.claimFacts(this.#asked(nodeId, session.address)))
      this.#checkBytes(registration)
      request = {
        requestId: attempt.requestId,
        nodeId,
        kind: 'widen',
        revision: 1,
        registration,
        key: null,
        code: null,
        address: session.address,
        requestedAt: now,
        expiresAt,
      }
    }
    await tx.putRequest(request)
    if (isRow) {
      await tx.audit(
        audit(this.#context, 'pairing.requested', {
          actor: nodeId,
          nodeId,
          outcome: 'pending',
          detail: { requestId: request.requestId, revision: request.revision, kind: request.kind },
        }),
      )
    }
    return request
  }

  /** Checks the bytes of what grows, and of nothing else. */
  #checkBytes(registration: Registration, before?: PairingRequestRecord): void {
    const { maxPendingBytes } = this.#context.settings.pairing
    const now = before === undefined ? 0 : registrationSize(before.registration)
    if (registrationSize(registration) <= now || this.#pending.bytes - now <= maxPendingBytes) return
    throw new Refusal(
      'too_many_requests',
      'the requests that are pending take too many bytes already (pairing.maxPendingBytes); wait until an operator decides',
    )
  }

  #asked(nodeId: string, address: string): ClaimAsked {
    const { maxPending, maxPendingPerAddress } = this.#context.settings.pairing
    return {
      nodeId,
      // A proxy on the same machine is one address for all devices behind it; the total holds for them too.
      address: isLoopbackAddress(address) ? undefined : address,
      now: this.#context.running.now(),
      maxPending,
      maxPendingPerAddress,
    }
  }

  #checkLimits({ pending, pendingFrom }: ClaimFacts): void {
    const { maxPending, maxPendingPerAddress } = this.#context.settings.pairing
    if (pendingFrom >= maxPendingPerAddress) {
      throw new Refusal(
        'too_many_requests',
        `${maxPendingPerAddress} requests from this address are pending already; wait until an operator decides`,
      )
    }
    if (pending >= maxPending) {
      throw new Refusal(
        'too_many_requests',
        `${maxPending} requests are pending already; wait until an operator decides`,
      )
    }
  }
}

/** Returns the key under which wishes for more are counted, apart from what a limb may change by itself. */
function wideningKey(nodeId: string): string {
  return `widening ${nodeId}`
}

function wideningFingerprint(registration: Registration): string {
  return sha256Hex(canonicalCapabilities(registration.capabilities))
}

/** @throws Refusal when a level is looser than what the request asks for, or names no capability of it. */
function changedApproval(node: NodeRecord, { displayName, area, levels = {} }: ApprovalChanges): NodeRecord {
  for (const [cap, level] of Object.entries(levels)) {
    const asked = node.capabilities.find((entry) => entry.cap === cap)?.authLevel
    const path = `levels.${cap}`
    if (asked === undefined)
      throw new Refusal('invalid_request', `${path}: it asks for no such capability`, path)
    if (stricter(asked, level)) {
      const message = `${path}: it asks for ${asked}, and ${level} is looser; approve it, then use policy/set`
      throw new Refusal('invalid_request', message, path)
    }
  }
  const changed = Object.keys(levels).length > 0
  return {
    ...node,
    ...(displayName === undefined ? {} : { operatorName: displayName }),
    ...(area === undefined ? {} : { operatorSettings: { ...node.operatorSettings, area } }),
    ...(changed && {
      capabilities: node.capabilities.map((entry) => ({
        ...entry,
        authLevel: levels[entry.cap] ?? entry.authLevel,
      })),
    }),
  }
}
