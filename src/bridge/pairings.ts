import { canonicalCapabilities } from '../domain/capabilities.ts'
import { approvedNode, inConflict, newClaim, renewClaim, reregister } from '../domain/pairing.ts'
import type { NodeRecord, RequestRecord } from '../domain/records.ts'
import { type PairingWindow, windowAdmits, windowAfterApproval } from '../domain/window.ts'
import { addressGroup } from '../kernel/address.ts'
import { plusMs } from '../kernel/clock.ts'
import { messageOf, Refusal } from '../kernel/errors.ts'
import { Quiet } from '../kernel/quiet.ts'
import { hashKey, keyMatches, newId, newKey, pairingCode, sha256Hex } from '../kernel/secrets.ts'
import { LIMITS } from '../protocol/limits.ts'
import type { PairingAnswer, Registration } from '../protocol/schemas.ts'
import type { Announcer } from './announcer.ts'
import { type Answers, approvedAnswer, invokeSecretOf, pendingAnswer } from './answers.ts'
import { ChangePace } from './change-pace.ts'
import type { Leftovers } from './leftovers.ts'
import type { PendingRequests } from './pending.ts'
import type { Session, Tx } from './ports.ts'
import type { PresenceKeeper } from './presence-keeper.ts'
import type { Registry } from './registry.ts'
import { nameOf, type SessionTable } from './session-table.ts'
import type { World } from './settings.ts'

/** Refused registrations are told so often for each address. */
const REFUSALS = { quietMs: 60_000, lines: 5, maxKeys: 500 } as const

/** How a registration was decided in its transaction; memory and the network follow after the commit. */
type Decided =
  | { readonly kind: 'claimed'; readonly request: RequestRecord; readonly fresh: boolean }
  | { readonly kind: 'promoted'; readonly approval: Approval }
  | { readonly kind: 'known'; readonly node: NodeRecord; readonly invokeSecret: string | null }
  | { readonly kind: 'refused' }

/** What an approval changed in the store. */
export interface Approval {
  readonly request: RequestRecord
  readonly node: NodeRecord
  /** For the limb that it is about; null unless it is invoked over HTTP. */
  readonly invokeSecret: string | null
  /** Claims that stood against it and are rejected with it. */
  readonly losers: readonly RequestRecord[]
  /** The limb's own wish for more, which a replaced device has to repeat. */
  readonly withdrawn: readonly RequestRecord[]
}

/** Registration, approval and rejection: the way of a device into the fleet. */
export class Pairings {
  readonly #world: World
  readonly #registry: Registry
  readonly #pending: PendingRequests
  readonly #table: SessionTable
  readonly #presence: PresenceKeeper
  readonly #announcer: Announcer
  readonly #answers: Answers
  readonly #refusals: Quiet
  readonly #changes: ChangePace
  readonly #leftovers: Leftovers
  #window: PairingWindow | null = null
  #cancelWindow: (() => void) | null = null

  constructor(
    world: World,
    parts: {
      registry: Registry
      pending: PendingRequests
      table: SessionTable
      presence: PresenceKeeper
      announcer: Announcer
      answers: Answers
      leftovers: Leftovers
    },
  ) {
    this.#world = world
    this.#registry = parts.registry
    this.#pending = parts.pending
    this.#table = parts.table
    this.#presence = parts.presence
    this.#announcer = parts.announcer
    this.#answers = parts.answers
    this.#refusals = new Quiet(world.clock, REFUSALS)
    this.#changes = new ChangePace(world.clock)
    this.#leftovers = parts.leftovers
  }

  /** A candidate registers: its claim is pending, or decided by an open window. */
  async claim(
    session: Session,
    nodeId: string,
    ownKey: string | null,
    registration: Registration,
  ): Promise<void> {
    checkOwnKey(ownKey)
    const key = ownKey ?? newKey()
    // At once: a second `register` in the same chunk is the same claim, not a rival with a key of its own.
    const claimant: Session['identity'] = { kind: 'candidate', nodeId, key }
    if (ownKey === null) session.identity = claimant
    let decided: Decided
    try {
      decided = await this.#world.store.transact((tx) =>
        this.#decideClaim(tx, session, nodeId, key, registration),
      )
    } catch (error) {
      // Nobody was told this key: the next registration gets another one.
      if (session.identity === claimant) session.identity = { kind: 'candidate', nodeId, key: null }
      throw error
    }
    await this.#applyClaim(session, decided, ownKey === null ? key : null)
  }

  async #decideClaim(
    tx: Tx,
    session: Session,
    nodeId: string,
    key: string,
    registration: Registration,
  ): Promise<Decided> {
    const { clock, settings } = this.#world
    const now = clock.wallMs()
    const keys = await tx.nodeKeys(nodeId)
    if (keys && keyMatches(keys.current, key)) {
      const node = await tx.node(nodeId)
      if (node) return { kind: 'known', node, invokeSecret: invokeSecretOf(this.#world, node, keys.current) }
    }
    const refused = await tx.refusedKeys(nodeId, now)
    if (refused.some((entry) => keyMatches(entry.key, key))) return { kind: 'refused' }

    const ofNode = await tx.requestsOfNode(nodeId)
    const mine = ofNode.find((request) => request.key !== null && keyMatches(request.key, key))
    const context = { now, pendingMs: settings.pairing.pendingSeconds * 1000, address: session.address }
    let request: RequestRecord
    if (mine) {
      request = renewClaim(mine, registration, keys ? 'replace' : 'new', context)
      if (request.revision !== mine.revision) this.#changes.change(request.requestId)
    } else {
      await this.#checkLimits(tx, session.address)
      const hash = hashKey(key)
      request = newClaim(
        newId('pr_'),
        nodeId,
        registration,
        hash,
        pairingCode(nodeId, hash),
        keys !== null,
        context,
      )
    }
    const conflict = inConflict(request, [...ofNode.filter((other) => other !== mine), request])
    if (windowAdmits(this.#window, request, conflict, clock.monotonicMs())) {
      // Taken at once: the next registration of this batch must see what is left.
      const { openedBy } = this.#window
      this.#window = windowAfterApproval(this.#window)
      if (mine) await tx.deleteRequest(mine.requestId)
      return { kind: 'promoted', approval: await this.#approveIn(tx, request, `window:${openedBy}`) }
    }
    await tx.putRequest(request)
    if (!mine || request.revision !== mine.revision) {
      await tx.audit({
        at: now,
        actor: session.address,
        kind: 'pairing.requested',
        nodeId,
        outcome: 'pending',
        detail: {
          requestId: request.requestId,
          revision: request.revision,
          kind: request.kind,
          code: request.code,
        },
      })
    }
    return { kind: 'claimed', request, fresh: !mine || request.revision !== mine.revision }
  }

  async #checkLimits(tx: Tx, address: string): Promise<void> {
    const { maxPending, maxPendingPerAddress } = this.#world.settings.pairing
    if ((await tx.countRequestsFrom(address)) >= maxPendingPerAddress) {
      throw new Refusal(
        'too_many_requests',
        `${maxPendingPerAddress} requests from this address are pending already; wait until an operator decides`,
      )
    }
    if ((await tx.countRequests()) >= maxPending) {
      throw new Refusal(
        'too_many_requests',
        `${maxPending} requests are pending already; wait until an operator decides`,
      )
    }
  }

  async #applyClaim(session: Session, decided: Decided, madeKey: string | null): Promise<void> {
    const { log } = this.#world
    switch (decided.kind) {
      case 'refused':
        this.#answers.rejected(session)
        return
      case 'known':
        // Provisioned while it was connected as a candidate.
        this.#promote(session, decided.node.nodeId)
        this.#answers.tell(session, this.#approved(decided.node, madeKey, decided.invokeSecret))
        return
      case 'promoted':
        this.#world.counters.count('pairing_decisions', 'window')
        await this.#applyApproval(decided.approval, session, madeKey)
        this.#announcer.setWindow(this.#window)
        return
      case 'claimed': {
        const { request } = decided
        this.#pending.put(request)
        if (decided.fresh) {
          const { nodeId, requestId, address, code, kind } = request
          const conflict = inConflict(request, this.#pending.ofNode(nodeId))
          log.info({ nodeId, requestId, address, code, kind, conflict }, askedText(request, conflict))
          this.#announcer.requestsOfNode(request.nodeId)
          this.#announcer.event('pairing_requested', { request: this.#pending.show(request) })
        }
        this.#answers.tell(session, pendingAnswer(request, madeKey))
        const others = request.key ? this.#table.candidatesWith(request.nodeId, request.key) : []
        for (const other of others)
          if (other !== session) this.#answers.tell(other, pendingAnswer(request, null))
      }
    }
  }

  /** An approved limb registers again: most of it holds at once and is stored; more ability waits. */
  async reregister(session: Session, nodeId: string, registration: Registration): Promise<void> {
    const { clock, settings, log } = this.#world
    const outcome = await this.#world.store.transact(async (tx) => {
      const now = clock.wallMs()
      const node = await tx.node(nodeId)
      if (!node) throw new Refusal('not_found', 'this pairing has been revoked')
      const next = reregister(node, registration, now)
      if (next.changed) {
        this.#changes.change(nodeId)
        await tx.putNode(next.node)
        await tx.audit({
          at: now,
          actor: nodeId,
          kind: 'node.updated',
          nodeId,
          outcome: 'stored',
          detail: {
            endpointUrl: next.node.endpointUrl,
            firmware: next.node.firmware,
            displayName: next.node.displayName,
          },
        })
      }
      const waiting = (await tx.requestsOfNode(nodeId)).find((request) => request.kind === 'widen')
      const widening = next.widens
        ? await this.#decideWidening(tx, session, nodeId, registration, waiting, now)
        : null
      if (!widening && waiting) await tx.deleteRequest(waiting.requestId)
      const invokeSecret = invokeSecretOf(this.#world, next.node, (await tx.nodeKeys(nodeId))?.current)
      return { ...next, widening, withdrawn: widening ? null : (waiting ?? null), invokeSecret }
    })

    const limb = this.#registry.get(nodeId)
    if (limb && outcome.changed) {
      this.#presence.update(limb, outcome.node)
      log.info({ nodeId, endpointUrl: outcome.node.endpointUrl }, `${nodeId} changed its registration`)
      this.#announcer.state(limb)
      this.#announcer.event('node_updated', { nodeId })
    }
    if (outcome.withdrawn) this.#forgetRequest(outcome.withdrawn)
    if (outcome.widening) {
      const before = this.#pending.get(outcome.widening.requestId)
      this.#pending.put(outcome.widening)
      if (before?.revision !== outcome.widening.revision) {
        log.info({ nodeId, requestId: outcome.widening.requestId }, `${nodeId} asks for more capabilities`)
        this.#announcer.requestsOfNode(nodeId)
        this.#announcer.event('pairing_requested', { request: this.#pending.show(outcome.widening) })
      }
    }
    this.#answers.tell(
      session,
      approvedAnswer(settings, outcome.node, outcome.widening?.requestId, outcome.invokeSecret),
    )
  }

  async #decideWidening(
    tx: Tx,
    session: Session,
    nodeId: string,
    registration: Registration,
    waiting: RequestRecord | undefined,
    now: number,
  ): Promise<RequestRecord | null> {
    const { settings } = this.#world
    const refused = await tx.refusedWidening(nodeId, now)
    if (refused?.fingerprint === wideningFingerprint(registration)) return null
    const context = { now, pendingMs: settings.pairing.pendingSeconds * 1000, address: session.address }
    let request: RequestRecord
    if (waiting) {
      request = renewClaim(waiting, registration, 'widen', context)
      if (request.revision !== waiting.revision) this.#changes.change(request.requestId)
    } else {
      await this.#checkLimits(tx, session.address)
      request = {
        requestId: newId('pr_'),
        nodeId,
        kind: 'widen',
        revision: 1,
        registration,
        key: null,
        code: null,
        address: session.address,
        requestedAt: now,
        expiresAt: now + context.pendingMs,
      }
    }
    await tx.putRequest(request)
    if (request.revision !== waiting?.revision) {
      await tx.audit({
        at: now,
        actor: nodeId,
        kind: 'pairing.requested',
        nodeId,
        outcome: 'pending',
        detail: { requestId: request.requestId, revision: request.revision, kind: request.kind },
      })
    }
    return request
  }

  /** An operator approves what was looked at. */
  async approve(requestId: string, revision: number | undefined, by: string): Promise<NodeRecord> {
    const approval = await this.#world.store.transact(async (tx) => {
      const request = await pendingRequest(tx, requestId)
      if (revision !== undefined && revision !== request.revision) {
        throw new Refusal(
          'conflict',
          `the request changed meanwhile (revision ${request.revision}); look at it again, then approve that revision`,
          'revision',
        )
      }
      await tx.deleteRequest(requestId)
      return await this.#approveIn(tx, request, by)
    })
    await this.#applyApproval(approval, null, null)
    return approval.node
  }

  async #approveIn(tx: Tx, request: RequestRecord, by: string): Promise<Approval> {
    const { clock } = this.#world
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
    const node = approvedNode(request, existing, by, now)
    await tx.putNode(node)
    if (request.key) await tx.putNodeKeys(nodeId, { current: request.key, next: null, currentUntil: null })

    const others = (await tx.requestsOfNode(nodeId)).filter((other) => other.requestId !== request.requestId)
    const losers = request.kind === 'widen' ? [] : others.filter((other) => other.kind !== 'widen')
    const withdrawn = request.kind === 'widen' ? [] : others.filter((other) => other.kind === 'widen')
    for (const loser of losers) await this.#rejectIn(tx, loser, by)
    for (const other of withdrawn) await tx.deleteRequest(other.requestId)
    await tx.audit({
      at: now,
      actor: by,
      kind: 'pairing.approved',
      nodeId,
      outcome: 'approved',
      detail: { requestId: request.requestId, revision: request.revision, kind: request.kind },
    })
    const key = request.key ?? (await tx.nodeKeys(nodeId))?.current
    return { request, node, losers, withdrawn, invokeSecret: invokeSecretOf(this.#world, node, key) }
  }

  /** `session`: the candidate whose own registration was approved by the window, else null. */
  async #applyApproval(approval: Approval, session: Session | null, madeKey: string | null): Promise<void> {
    const { request, node, losers, invokeSecret } = approval
    const { nodeId } = node
    const { log } = this.#world
    for (const gone of [request, ...losers, ...approval.withdrawn]) this.#forgetRequest(gone)

    let limb = this.#registry.get(nodeId)
    const known = limb !== undefined
    if (limb) this.#presence.update(limb, node)
    else limb = this.#presence.add(node, 'approved')

    log.info(
      { nodeId, by: node.approvedBy, requestId: request.requestId, kind: request.kind },
      `${nodeId} is approved`,
    )
    if (request.kind === 'widen') {
      this.#announcer.state(limb)
      const live = this.#table.limb(nodeId)
      if (live) this.#answers.tell(live, this.#approved(node, null, invokeSecret))
    } else {
      const holders = request.key ? this.#table.candidatesWith(nodeId, request.key) : []
      const winner = session ?? holders.at(-1)
      if (known) this.#endOldSession(nodeId)
      for (const holder of holders) {
        if (holder !== winner) {
          this.#answers.tell(holder, this.#approved(node, null))
          holder.end('replaced', true)
        }
      }
      if (winner) this.#promote(winner, nodeId)
      this.#announcer.status(limb)
      if (winner) this.#answers.tell(winner, this.#approved(node, madeKey, invokeSecret))
    }
    for (const loser of losers) this.#tellRejected(loser)
    this.#announcer.event('pairing_approved', { nodeId, requestId: request.requestId, by: node.approvedBy })
    if (known && request.kind === 'replace') {
      await this.#leftovers.run(`forget the sessions of ${nodeId}`, () => this.#world.sessions.forget(nodeId))
    }
  }

  /** The device that held the key until now is another one from today on. */
  #endOldSession(nodeId: string): void {
    const old = this.#table.limb(nodeId)
    if (!old) return
    this.#presence.closed(old, nodeId, true)
    old.end('replaced', true)
  }

  #promote(session: Session, nodeId: string): void {
    const older = this.#table.limb(nodeId)
    this.#table.promote(session, nodeId)
    this.#presence.opened(session, nodeId)
    if (older && older !== session) older.end('replaced', false)
  }

  /** Candidates that are connected with this key become the limb they now are (after `node/provision`). */
  promoteHolders(node: NodeRecord, key: RequestRecord['key']): void {
    const holder = key && this.#table.candidatesWith(node.nodeId, key).at(-1)
    if (!holder) return
    this.#promote(holder, node.nodeId)
    this.#answers.tell(holder, this.#approved(node, null))
  }

  async reject(requestId: string, by: string): Promise<RequestRecord> {
    const request = await this.#world.store.transact(async (tx) => {
      const found = await pendingRequest(tx, requestId)
      await this.#rejectIn(tx, found, by)
      return found
    })
    this.#forgetRequest(request)
    this.#tellRejected(request)
    return request
  }

  async #rejectIn(tx: Tx, request: RequestRecord, by: string): Promise<void> {
    const { clock, settings } = this.#world
    const now = clock.wallMs()
    const until = now + settings.pairing.rejectedSeconds * 1000
    await tx.deleteRequest(request.requestId)
    if (request.key) await tx.putRefusedKey({ nodeId: request.nodeId, key: request.key, until })
    else {
      const fingerprint = wideningFingerprint(request.registration)
      await tx.putRefusedWidening({ nodeId: request.nodeId, fingerprint, until })
    }
    await tx.audit({
      at: now,
      actor: by,
      kind: 'pairing.rejected',
      nodeId: request.nodeId,
      outcome: 'rejected',
      detail: { requestId: request.requestId, kind: request.kind },
    })
  }

  #tellRejected(request: RequestRecord): void {
    const { nodeId, requestId, kind } = request
    this.#world.log.info({ nodeId, requestId, kind }, `request ${requestId} of ${nodeId} is rejected`)
    this.#announcer.event('pairing_rejected', { nodeId, requestId })
    if (request.key) {
      for (const session of this.#table.candidatesWith(nodeId, request.key)) this.#answers.rejected(session)
      return
    }
    // A rejected wish for more leaves the limb what it has.
    const limb = this.#registry.get(nodeId)
    const live = this.#table.limb(nodeId)
    if (limb && live) this.#answers.tell(live, this.#approved(limb.record, null))
  }

  /** Opens the window, or closes it with `seconds` 0. */
  permit(seconds: number, max: number | null, nodeId: string | null, by: string): void {
    const { clock, log } = this.#world
    this.#cancelWindow?.()
    this.#cancelWindow = null
    const bounded = Math.min(seconds, LIMITS.permitSecondsMax)
    this.#window =
      bounded === 0
        ? null
        : { closesAt: plusMs(clock.monotonicMs(), bounded * 1000), left: max, nodeId, openedBy: by }
    if (this.#window) {
      this.#cancelWindow = clock.after(bounded * 1000, () => this.permit(0, null, null, 'bridge'))
      log.warn(
        { seconds: bounded, max, nodeId, by },
        'the pairing window is open: new limbs are approved by themselves',
      )
    } else {
      log.info({ by }, 'the pairing window is closed')
    }
    this.#announcer.setWindow(this.#window)
    this.#announcer.event(this.#window ? 'pairing_window_opened' : 'pairing_window_closed', { by })
  }

  /** The requests whose time is up, unless their candidates are connected. */
  due(): readonly RequestRecord[] {
    const now = this.#world.clock.wallMs()
    return [...this.#pending.values()].filter((request) => request.expiresAt <= now)
  }

  /** Ends the requests whose candidates gave no sign for too long; those of live candidates go on. */
  async expire(): Promise<void> {
    const { clock, store, settings } = this.#world
    const now = clock.wallMs()
    const due = this.due()
    const alive = due.filter((request) => this.#showsSign(request))
    const over = due.filter((request) => !alive.includes(request))
    const expiresAt = now + settings.pairing.pendingSeconds * 1000
    try {
      await store.transact(async (tx) => {
        for (const request of alive) await tx.putRequest({ ...request, expiresAt })
        for (const request of over) {
          await tx.deleteRequest(request.requestId)
          await tx.audit({
            at: now,
            actor: 'bridge',
            kind: 'pairing.expired',
            nodeId: request.nodeId,
            outcome: 'expired',
            detail: { requestId: request.requestId },
          })
        }
      })
    } catch (error) {
      this.#world.log.debug({ error: messageOf(error) }, 'expired requests not removed, trying again later')
      return
    }
    for (const request of alive) this.#pending.put({ ...request, expiresAt })
    for (const request of over) {
      this.#world.counters.count('pairing_decisions', 'expired')
      this.#world.log.info(
        { nodeId: request.nodeId, requestId: request.requestId },
        `request ${request.requestId} has expired`,
      )
      this.#forgetRequest(request)
      this.#announcer.event('pairing_expired', { nodeId: request.nodeId, requestId: request.requestId })
    }
  }

  #showsSign(request: RequestRecord): boolean {
    return request.key
      ? this.#table.candidatesWith(request.nodeId, request.key).length > 0
      : this.#table.limb(request.nodeId) !== undefined
  }

  #forgetRequest(request: RequestRecord): void {
    if (!this.#pending.get(request.requestId)) return
    this.#pending.delete(request.requestId)
    this.#announcer.requestGone(request.requestId)
    // Those that stood beside it may not be in conflict any more.
    this.#announcer.requestsOfNode(request.nodeId)
  }

  #approved(node: NodeRecord, madeKey: string | null, invokeSecret: string | null = null): PairingAnswer {
    const awaiting = this.#pending.wideningOf(node.nodeId)?.requestId
    const answer = approvedAnswer(this.#world.settings, node, awaiting, invokeSecret)
    return madeKey === null ? answer : { ...answer, apiKey: madeKey }
  }

  stop(): void {
    this.#cancelWindow?.()
    this.#refusals.stop()
  }

  /** Says to `session` why its message was not taken; nothing was stored. */
  refuse(session: Session, error: Refusal): void {
    const name = nameOf(session)
    this.#world.counters.count('registrations_refused', error.code)
    this.#refusals.say(addressGroup(session.address), (suppressed) => {
      this.#world.log.warn(
        { nodeId: name, address: session.address, error: error.body(), suppressed },
        `registration of ${name} refused: ${error.message}`,
      )
    })
    this.#answers.tell(session, { status: 'error', error: error.body() })
  }
}

async function pendingRequest(tx: Tx, requestId: string): Promise<RequestRecord> {
  const request = await tx.request(requestId)
  if (!request) {
    throw new Refusal(
      'not_found',
      'there is no such pending request; it may be decided or expired, see pairing/list',
      'requestId',
    )
  }
  return request
}

/** Somebody else may be asking in the place of the device: then the line says what to look at first. */
function askedText({ nodeId, kind, code, requestId, revision }: RequestRecord, conflict: boolean): string {
  const asks =
    kind === 'replace'
      ? `${nodeId} is paired already, and asks to be paired with another key`
      : `${nodeId} asks to be paired`
  const others = conflict ? '; another request for this name waits too' : ''
  const compare =
    kind === 'replace' || conflict ? `; compare the code ${code} with the device before you approve` : ''
  return `${asks}${others}${compare}: limb-bridge pairing approve ${requestId} --revision ${revision}`
}

function checkOwnKey(key: string | null): void {
  if (key === null) return
  if (key.length < LIMITS.keyCharsMin) {
    throw new Refusal(
      'invalid_request',
      `the key (the MQTT password) has ${key.length} characters; use ${LIMITS.keyCharsMin} or more, or none and the bridge makes one`,
      'password',
    )
  }
  if (key.length > LIMITS.keyCharsMax) {
    throw new Refusal(
      'invalid_request',
      `the key (the MQTT password) is longer than ${LIMITS.keyCharsMax} characters`,
      'password',
    )
  }
}

function wideningFingerprint(registration: Registration): string {
  return sha256Hex(canonicalCapabilities(registration.capabilities))
}
