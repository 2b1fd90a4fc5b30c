import { inConflict, reregister } from '../../domain/pairing.ts'
import type { NodeRecord, PairingRequestRecord } from '../../domain/records.ts'
import { addressGroup } from '../../kernel/address.ts'
import { Counts } from '../../kernel/counts.ts'
import { Refusal } from '../../kernel/errors.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import type { RunningMs } from '../../kernel/running-clock.ts'
import { type KeyHash, newKey } from '../../kernel/secrets.ts'
import { Semaphore } from '../../kernel/semaphore.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { PairingAnswer, Registration } from '../../protocol/schemas.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import { PacedLog } from '../live/paced-log.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import type { LiveLimb, Registry } from '../live/registry.ts'
import { nameOf, type SessionTable } from '../live/sessions.ts'
import type { Session, Tx } from '../ports.ts'
import type { PresenceKeeper } from '../presence/presence-keeper.ts'
import type { BridgeContext } from '../settings.ts'
import type { Attempts } from '../sign-in/attempts.ts'
import type { Retries } from '../upkeep/retries.ts'
import { approvedAnswer, type PairingAnswers, pendingAnswer } from './answers.ts'
import {
  type ApprovalChanges,
  type ClaimDecision,
  type PairingApproved,
  PairingDecisions,
  type RegistrationAttempt,
} from './decisions.ts'
import type { WindowKeeper } from './window.ts'

/** Refused registrations are told so often for each address. */
const REFUSALS = { quietMs: 60_000, lines: 5, maxKeys: 500, maxLines: 100 } as const
/** A request is told at once, and while it changes once a minute with its newest revision. */
const ASKED = { quietMs: 60_000, lines: 1, maxKeys: 200, maxLines: 200 } as const

/** The window approves so many at once, in one commit: everybody is told of them in one turn of the event loop. */
const ADMITTED_AT_ONCE = 8

/** Registration, approval and rejection: the way of a device into the fleet. */
export class Pairings {
  readonly #context: BridgeContext
  readonly #registry: Registry
  readonly #pending: PendingPairingRequests
  readonly #table: SessionTable
  readonly #presence: PresenceKeeper
  readonly #announcer: Announcer
  readonly #answers: PairingAnswers
  readonly #refusals: LogThrottle
  readonly #asked: PacedLog
  readonly #decisions: PairingDecisions
  readonly #window: WindowKeeper
  readonly #attempts: Attempts
  readonly #retries: Retries
  /** Limbs whose registrations are on their way to the store. */
  readonly #reregistering = new Counts()
  /** Candidates whose key the bridge made, and who were not told it yet. */
  readonly #unanswered = new WeakSet<Session['identity']>()

  readonly #admitting = new Semaphore(ADMITTED_AT_ONCE, Number.POSITIVE_INFINITY)

  constructor(
    context: BridgeContext,
    parts: {
      registry: Registry
      pending: PendingPairingRequests
      table: SessionTable
      presence: PresenceKeeper
      announcer: Announcer
      answers: PairingAnswers
      retries: Retries
      window: WindowKeeper
      attempts: Attempts
    },
  ) {
    this.#context = context
    this.#registry = parts.registry
    this.#pending = parts.pending
    this.#table = parts.table
    this.#presence = parts.presence
    this.#announcer = parts.announcer
    this.#answers = parts.answers
    this.#refusals = new LogThrottle(context.clock, REFUSALS)
    this.#asked = new PacedLog(context, ASKED)
    this.#window = parts.window
    this.#attempts = parts.attempts
    this.#decisions = new PairingDecisions(context, this.#pending)
    this.#retries = parts.retries
  }

  /** A candidate registers: its claim is pending, or decided by an open window. */
  async claim(
    session: Session,
    nodeId: string,
    ownKey: string | undefined,
    registration: Registration,
  ): Promise<void> {
    checkOwnKey(ownKey)
    const key = ownKey ?? newKey()
    // At once: a second `register` in the same chunk is the same claim, not a rival with a key of its own.
    if (ownKey === undefined) {
      session.identity = { kind: 'candidate', nodeId, key }
      this.#unanswered.add(session.identity)
    }
    const claimant = session.identity
    const decided = await this.#registered(registration, (tx, attempt) =>
      this.#decisions.claim(tx, attempt, session, nodeId, key, registration),
    )
    this.#attempts.registered(nodeId)
    // With the first answer that says what became of it, be it that of a later registration.
    await this.#applyClaim(session, decided, this.#unanswered.delete(claimant) ? key : undefined)
  }

  /** Runs the work of one registration; what it takes of shared bounds counts once that is on disk. */
  async #registered<T>(
    registration: Registration,
    work: (tx: Tx, attempt: RegistrationAttempt) => Promise<T>,
  ): Promise<T> {
    const attempt = this.#decisions.attempt(this.#window.reserve())
    const release = this.#pending.reserve(registration)
    let stored = false
    try {
      const outcome = await this.#inLine(() => this.#context.store.transact((tx) => work(tx, attempt)))
      stored = true
      return outcome
    } finally {
      attempt.settle(stored)
      release()
    }
  }

  /** Runs what the window may approve some at a time, and all while others wait: nobody overtakes an earlier claim. */
  async #inLine<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#window.isOpen && !this.#admitting.isBusy) return await work()
    // Any number may wait: those that do are bounded as sessions and requests.
    return (await this.#admitting.run(work)) as T
  }

  async #applyClaim(session: Session, decided: ClaimDecision, madeKey: string | undefined): Promise<void> {
    switch (decided.kind) {
      case 'refused':
        this.#answers.rejected(session)
        return
      case 'known':
        // A connection that has gone meanwhile must not take the place of the one that came after it.
        if (!session.alive) return
        // Provisioned while it was connected as a candidate.
        this.#promote(session, decided.node.nodeId)
        this.#answers.send(session, this.#approved(decided.node, madeKey, decided.invokeSecret))
        return
      case 'promoted':
        this.#context.counters.count('pairing_decisions', 'window')
        await this.#applyApproval(decided.approval, session, madeKey)
        this.#window.used()
        return
      case 'claimed': {
        const { request } = decided
        this.#pending.put(request)
        if (decided.fresh) {
          const { nodeId, requestId, address, code, kind } = request
          const conflict = inConflict(request, this.#pending.ofNode(nodeId))
          const fields = { nodeId, requestId, address, code, kind, conflict }
          this.#asked.info(requestId, fields, askedText(request, conflict))
          this.#announcer.requestChanged(request)
        }
        this.#answers.send(session, pendingAnswer(this.#context.running, request, madeKey))
        const others = request.key ? this.#table.candidatesWith(request.nodeId, request.key) : []
        for (const other of others)
          if (other !== session)
            this.#answers.send(other, pendingAnswer(this.#context.running, request, undefined))
      }
    }
  }

  /** An approved limb registers again: most of it holds at once and is stored; more ability waits. */
  async reregister(session: Session, nodeId: string, registration: Registration): Promise<void> {
    const known = this.#unchanged(session.address, nodeId, registration)
    if (known) {
      this.#answers.send(session, approvedAnswer(this.#context.settings, known, undefined))
    } else {
      this.#reregistering.add(nodeId)
      try {
        await this.#storeReregistration(session, nodeId, registration)
      } finally {
        this.#reregistering.remove(nodeId)
      }
    }
    this.#attempts.registered(nodeId)
  }

  /**
   * The limb, if it says what is known of it and nothing waits for it: devices register after every connect, and ten
   * thousand that come back must not need a transaction each. Not one whose earlier words are still on their way to the
   * store, and not one that is invoked over HTTP, whose answer has a secret made of its key.
   */
  #unchanged(address: string, nodeId: string, registration: Registration): NodeRecord | undefined {
    const limb = this.#registry.get(nodeId)
    if (!limb || limb.newKeyWaits || limb.record.invoke === 'http') return undefined
    if (this.#reregistering.of(nodeId) > 0 || this.#pending.wideningOf(nodeId)) return undefined
    const claimContext = { now: limb.record.updatedAt, address }
    const { changed, widens } = reregister(limb.record, registration, claimContext)
    return changed || widens ? undefined : limb.record
  }

  async #storeReregistration(session: Session, nodeId: string, registration: Registration): Promise<void> {
    const { settings } = this.#context
    const outcome = await this.#registered(registration, (tx, attempt) =>
      this.#decisions.reregister(tx, attempt, session, nodeId, registration),
    )

    const limb = this.#registry.get(nodeId)
    if (limb && outcome.changed) {
      this.#presence.update(limb, outcome.node)
      const { endpointUrl } = outcome.node
      this.#asked.info(`changed ${nodeId}`, { nodeId, endpointUrl }, `${nodeId} changed its registration`)
      this.#announcer.state(limb)
      this.#announcer.eventSoon('node_updated', { nodeId })
    }
    if (outcome.withdrawn) this.forget(outcome.withdrawn)
    if (outcome.widening) {
      const before = this.#pending.get(outcome.widening.requestId)
      this.#pending.put(outcome.widening)
      if (before?.revision !== outcome.widening.revision) {
        const { requestId } = outcome.widening
        this.#asked.info(nodeId, { nodeId, requestId }, `${nodeId} asks for more capabilities`)
        this.#announcer.requestChanged(outcome.widening)
      }
    }
    this.#answers.send(session, {
      ...approvedAnswer(settings, outcome.node, outcome.widening?.requestId, outcome.invokeSecret),
      ...(outcome.newKey === undefined ? {} : { apiKey: outcome.newKey }),
    })
  }

  /** An operator approves what was looked at. */
  async approve(
    requestId: string,
    revision: number | undefined,
    by: string,
    changes: ApprovalChanges = {},
  ): Promise<NodeRecord> {
    const approval = await this.#context.store.transact(async (tx) => {
      const request = await pendingRequest(tx, requestId)
      if (revision !== undefined && revision !== request.revision) {
        throw new Refusal(
          'conflict',
          `the request changed meanwhile (revision ${request.revision}); look at it again, then approve that revision`,
          'revision',
        )
      }
      await tx.deleteRequest(requestId)
      return await this.#decisions.approve(tx, request, by, changes)
    })
    await this.#applyApproval(approval, undefined, undefined)
    return approval.node
  }

  /**
   * The open window approves who waits already, the oldest first, as it would if they asked now. Resolves with the
   * limbs that it approved.
   */
  async admitWaiting(): Promise<string[]> {
    const waiting = [...this.#pending.values()].sort((a, b) => a.requestedAt - b.requestedAt)
    const admitted: string[] = []
    for (let at = 0; at < waiting.length; at += ADMITTED_AT_ONCE) {
      const some = waiting.slice(at, at + ADMITTED_AT_ONCE).map(({ requestId }) => this.#admit(requestId))
      for (const node of await Promise.all(some)) if (node) admitted.push(node.nodeId)
    }
    return admitted
  }

  async #admit(requestId: string): Promise<NodeRecord | undefined> {
    const seat = this.#window.reserve()
    try {
      const approval = await this.#context.store.transact((tx) => this.#decisions.admit(tx, seat, requestId))
      seat.settle(true)
      if (!approval) return undefined
      this.#context.counters.count('pairing_decisions', 'window')
      await this.#applyApproval(approval, undefined, undefined)
      this.#window.used()
      return approval.node
    } catch (error) {
      seat.settle(false)
      // A principal has its name: it waits on, and the others do not wait for it.
      if (error instanceof Refusal && error.code === 'conflict') return undefined
      throw error
    }
  }

  /** `session`: the candidate whose own registration was approved by the window, else undefined. */
  async #applyApproval(
    approval: PairingApproved,
    session: Session | undefined,
    madeKey: string | undefined,
  ): Promise<void> {
    const { request, node, losers, invokeSecret } = approval
    const { nodeId } = node
    const { log } = this.#context
    for (const gone of [request, ...losers, ...approval.withdrawn]) this.forget(gone)

    let limb = this.#registry.get(nodeId)
    const known = limb !== undefined
    if (limb) this.#presence.update(limb, node)
    else limb = this.#presence.add(node, 'approved', request.address)
    if (!known) {
      this.#announcer.description(limb)
      this.#table.endLocal(nodeId)
    }

    log.info(
      { nodeId, by: node.approvedBy, requestId: request.requestId, kind: request.kind },
      `${nodeId} is approved`,
    )
    if (request.kind === 'widen') {
      this.#announcer.state(limb)
      const live = this.#table.limb(nodeId)
      if (live) this.#answers.send(live, this.#approved(node, undefined, invokeSecret))
    } else {
      const holders = request.key ? this.#table.candidatesWith(nodeId, request.key) : []
      // The one that registered may have gone, and come back, before this was on disk.
      const winner = session?.alive ? session : holders.at(-1)
      if (known) this.#endOldSession(limb)
      this.#endOthers(holders, winner, node)
      if (winner) this.#promote(winner, nodeId)
      this.#presence.announce(limb)
      if (winner) this.#answers.send(winner, this.#approved(node, madeKey, invokeSecret))
    }
    for (const loser of losers) this.#sendRejected(loser)
    this.#announcer.event('pairing_approved', { nodeId, requestId: request.requestId, by: node.approvedBy })
    if (known && request.kind === 'replace') {
      await this.#retries.run(`forget the sessions of ${nodeId}`, () => this.#context.sessions.forget(nodeId))
    }
  }

  /** The device that held the key until now is another one from today on. */
  #endOldSession(limb: LiveLimb): void {
    // Also when it has lost its connection already, and its grace goes on.
    this.#presence.replaced(limb)
    this.#table.invalidate(limb.record.nodeId)
    this.#table.limb(limb.record.nodeId)?.end('replaced', true)
  }

  #promote(session: Session, nodeId: string): void {
    const older = this.#table.limb(nodeId)
    this.#table.promote(session, nodeId)
    this.#presence.opened(session, nodeId)
    if (older && older !== session) older.end('replaced', false)
    const adapter = this.#registry.get(nodeId)?.record.adapter
    // Foreign firmware knows no approval, and what it published and subscribed before was refused: it comes again.
    if (adapter && adapter.via === undefined) session.end('stopped', true)
  }

  /** Other connections with the key that is approved: one is the limb, and they may come again. */
  #endOthers(holders: readonly Session[], winner: Session | undefined, node: NodeRecord): void {
    for (const holder of holders) {
      if (holder === winner) continue
      this.#answers.send(holder, this.#approved(node, undefined))
      holder.end('replaced', true)
    }
  }

  /** Candidates that are connected with this key become the limb they now are, and local sessions of its name end (after `node/provision`). */
  promoteHolders(node: NodeRecord, key: PairingRequestRecord['key']): void {
    this.#table.endLocal(node.nodeId)
    const holders = key ? this.#table.candidatesWith(node.nodeId, key) : []
    const holder = holders.at(-1)
    if (!holder) return
    this.#endOthers(holders, holder, node)
    this.#promote(holder, node.nodeId)
    this.#answers.send(holder, this.#approved(node, undefined))
  }

  /** Candidates that are connected with this key, which may hold no more, come again, and local sessions of the limb's name end. */
  endHolders({ nodeId }: NodeRecord, key: KeyHash): void {
    this.#table.endLocal(nodeId)
    for (const holder of this.#table.candidatesWith(nodeId, key)) holder.end('replaced', true)
  }

  /** Resolves with the request, and the end of the refusal on the running clock. */
  async reject(requestId: string, by: string): Promise<{ request: PairingRequestRecord; until: RunningMs }> {
    const rejected = await this.#context.store.transact(async (tx) => {
      const request = await pendingRequest(tx, requestId)
      return { request, until: await this.#decisions.reject(tx, request, by) }
    })
    this.forget(rejected.request)
    this.#sendRejected(rejected.request)
    return rejected
  }

  /** Lifts what was refused of a limb: its devices may connect, and ask again. How much it was. */
  async forgive(nodeId: string, by: string): Promise<number> {
    const { store, log } = this.#context
    const forgiven = await store.transact(async (tx) => {
      const count = await tx.forgive(nodeId)
      if (count > 0) {
        await tx.audit(
          audit(this.#context, 'pairing.forgiven', { actor: by, nodeId, detail: { forgiven: count } }),
        )
      }
      return count
    })
    if (forgiven > 0) {
      log.info({ nodeId, by, forgiven }, `what was refused of ${nodeId} is forgiven; it may ask again`)
      this.#announcer.event('pairing_forgiven', { nodeId, by })
    }
    return forgiven
  }

  #sendRejected(request: PairingRequestRecord): void {
    const { nodeId, requestId, kind } = request
    this.#context.log.info({ nodeId, requestId, kind }, `request ${requestId} of ${nodeId} is rejected`)
    this.#announcer.event('pairing_rejected', { nodeId, requestId })
    if (request.key) {
      for (const session of this.#table.candidatesWith(nodeId, request.key)) this.#answers.rejected(session)
      return
    }
    // A rejected wish for more leaves the limb what it has.
    const limb = this.#registry.get(nodeId)
    const live = this.#table.limb(nodeId)
    if (limb && live) this.#answers.send(live, this.#approved(limb.record, undefined))
  }

  /** It is decided, withdrawn or expired: nobody is shown it any more. */
  forget(request: PairingRequestRecord): void {
    if (!this.#pending.get(request.requestId)) return
    this.#pending.delete(request.requestId)
    this.#announcer.requestGone(request.requestId)
    // Those that stood beside it may not be in conflict any more.
    this.#announcer.requestsOfNode(request.nodeId)
  }

  #approved(node: NodeRecord, madeKey: string | undefined, invokeSecret?: string): PairingAnswer {
    const awaiting = this.#pending.wideningOf(node.nodeId)?.requestId
    const answer = approvedAnswer(this.#context.settings, node, awaiting, invokeSecret)
    return madeKey === undefined ? answer : { ...answer, apiKey: madeKey }
  }

  stop(): void {
    this.#refusals.stop()
    this.#asked.stop()
  }

  /** Says to `session` why its message was not taken; nothing was stored. */
  refuse(session: Session, error: Refusal): void {
    const name = nameOf(session)
    this.#context.counters.count('registrations_refused', error.code)
    this.#attempts.registrationRefused(name, session.address, error.message)
    this.#refusals.write(addressGroup(session.address), (suppressed) => {
      this.#context.log.warn(
        { nodeId: name, address: session.address, error: error.body(), suppressed },
        `registration of ${name} refused: ${error.message}`,
      )
    })
    this.#answers.send(session, { status: 'error', error: error.body() })
  }
}

async function pendingRequest(tx: Tx, requestId: string): Promise<PairingRequestRecord> {
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
function askedText(
  { nodeId, kind, code, requestId, revision }: PairingRequestRecord,
  conflict: boolean,
): string {
  const asks =
    kind === 'replace'
      ? `${nodeId} is paired already, and asks to be paired with another key`
      : `${nodeId} asks to be paired`
  const others = conflict ? '; another request for this name waits too' : ''
  const compare = `; compare the code ${code} with the device before you approve`
  return `${asks}${others}${compare}: limb-bridge pairing approve ${requestId} --revision ${revision}`
}

function checkOwnKey(key: string | undefined): void {
  if (key === undefined) return
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
