import { MisconfiguredError, Refusal } from '../kernel/errors.ts'
import { hashPassword, newPassword, passwordMatches } from '../kernel/secrets.ts'
import { within } from '../kernel/semaphore.ts'
import { decodeRegistration } from '../protocol/decode.ts'
import { LIMITS } from '../protocol/limits.ts'
import type { Address } from '../protocol/topics.ts'
import { ForeignFirmware } from './adapters/foreign-firmware.ts'
import { audit } from './audit.ts'
import { PendingApprovals } from './invocation/approvals.ts'
import { Control } from './invocation/control.ts'
import { Announcer } from './live/announcer.ts'
import { LimbTroubles } from './live/limb-troubles.ts'
import { PendingPairingRequests } from './live/pending.ts'
import { RefusedRequests } from './live/refused-requests.ts'
import { Registry } from './live/registry.ts'
import { createView } from './live/retained-view.ts'
import { hasEnded, isLocal, nameOf, type SessionRole, SessionTable } from './live/sessions.ts'
import { PairingAnswers } from './pairing/answers.ts'
import { PairingRequestExpiry } from './pairing/expiry.ts'
import { Pairings } from './pairing/pairings.ts'
import { WindowKeeper } from './pairing/window.ts'
import type {
  Identity,
  Inbound,
  MessageContext,
  PublishedMessage,
  RefusedConnect,
  RetainedView,
  Session,
  SessionEnd,
  UnreadMessage,
} from './ports.ts'
import { History } from './presence/history.ts'
import { PresenceKeeper } from './presence/presence-keeper.ts'
import type { BridgeContext } from './settings.ts'
import { Attempts } from './sign-in/attempts.ts'
import { Authenticator } from './sign-in/authenticator.ts'
import { isShown, RefusedSignIns } from './sign-in/refusals.ts'
import { Takeovers } from './sign-in/takeovers.ts'
import { Tokens } from './sign-in/tokens.ts'
import { VerifiedPasswords } from './sign-in/verified-passwords.ts'
import { chores, saveRunning } from './upkeep/chores.ts'
import { Housekeeping } from './upkeep/housekeeping.ts'
import { Retries } from './upkeep/retries.ts'
import { VerbDispatcher } from './verbs/dispatch.ts'
import { verbHandlers } from './verbs/table.ts'
import { RequestsUnderWay } from './verbs/under-way.ts'
import { Webhooks } from './webhooks/webhooks.ts'

/** The time that the ends of invocations have to be stored when the bridge stops, before it tells that all is offline. */
const INVOCATIONS_END_MS = 1000

/**
 * The bridge without its adapters. Data goes one way: bytes, message, decision, commit, publish. This file is
 * the inbound path: what comes from a session, and which use case takes it.
 */
export class Core implements Inbound {
  readonly view: RetainedView
  readonly registry = new Registry()
  readonly pending: PendingPairingRequests
  readonly approvals = new PendingApprovals()
  readonly control: Control
  readonly webhooks: Webhooks
  readonly #context: BridgeContext
  readonly #table = new SessionTable()
  readonly #announcer: Announcer
  readonly #answers: PairingAnswers
  readonly #presence: PresenceKeeper
  readonly #history: History
  readonly #housekeeping: Housekeeping
  readonly #pairings: Pairings
  readonly #window: WindowKeeper
  readonly #requestExpiry: PairingRequestExpiry
  readonly #requests: VerbDispatcher
  readonly #tokens: Tokens
  readonly #refusedSignIns: RefusedSignIns
  readonly #refusedLeases: RefusedRequests
  readonly #attempts: Attempts
  readonly #takeovers: Takeovers
  readonly #authenticator: Authenticator
  readonly #foreign: ForeignFirmware
  #stopped = false

  constructor(context: BridgeContext) {
    this.#context = context
    this.#attempts = new Attempts(context.clock)
    this.pending = new PendingPairingRequests(
      context.running,
      (nodeId) => this.registry.get(nodeId)?.record.capabilities ?? [],
    )
    this.#announcer = new Announcer(context, this.registry, this.pending)
    this.webhooks = new Webhooks(context, this.registry)
    const troubles = new LimbTroubles(context.clock, (nodeId) => this.registry.get(nodeId) !== undefined)
    this.#announcer.onEvent = (kind, at, fields) => {
      troubles.event(kind, at, fields)
      this.webhooks.event(kind, at, fields)
    }
    this.#answers = new PairingAnswers(context.topics)
    this.#history = new History(context, this.registry)
    this.#presence = new PresenceKeeper(context, this.registry, this.#announcer, this.#history)
    const retries = new Retries(context.log)
    const parts = {
      registry: this.registry,
      pending: this.pending,
      table: this.#table,
      presence: this.#presence,
      announcer: this.#announcer,
      answers: this.#answers,
      retries,
    }
    this.#window = new WindowKeeper(context, this.#announcer)
    this.#pairings = new Pairings(context, { ...parts, window: this.#window, attempts: this.#attempts })
    this.#foreign = new ForeignFirmware(context, {
      ...parts,
      pairings: this.#pairings,
      opened: (session) => this.opened(session),
      closed: (session, why) => this.closed(session, why),
    })
    this.registry.onAdapter = (...change) => this.#foreign.changed(...change)
    this.#requestExpiry = new PairingRequestExpiry(context, parts, (request) =>
      this.#pairings.forget(request),
    )
    this.control = new Control(context, { ...parts, approvals: this.approvals })
    this.#tokens = new Tokens(context)
    const kept = chores(context, {
      registry: this.registry,
      retries,
      tokens: this.#tokens,
      sessions: this.#table,
      prune: () => this.control.prune(),
      announcer: this.#announcer,
      webhooks: this.webhooks,
    })
    this.#housekeeping = new Housekeeping(context.clock, context.log, kept)
    const verified = new VerifiedPasswords()
    this.#refusedLeases = new RefusedRequests(context)
    const underWay = new RequestsUnderWay(context)
    const handlers = verbHandlers(context, {
      ...parts,
      underWay,
      refusedLeases: this.#refusedLeases,
      history: this.#history,
      pairings: this.#pairings,
      window: this.#window,
      control: this.control,
      approvals: this.approvals,
      attempts: this.#attempts,
      tokens: this.#tokens,
      verified,
      webhooks: this.webhooks,
      troubles,
    })
    this.#requests = new VerbDispatcher(context, handlers, {
      isCurrent: (identity) => this.isCurrent(identity),
      isBehind: () => this.#announcer.isBehind,
      underWay,
    })
    this.#refusedSignIns = new RefusedSignIns(
      context,
      (kind, fields) => this.#announcer.event(kind, fields),
      this.#attempts,
    )
    this.#takeovers = new Takeovers(context, (kind, fields) => this.#announcer.event(kind, fields))
    this.#authenticator = new Authenticator(
      context,
      this.registry,
      this.#refusedSignIns,
      this.#tokens,
      verified,
    )
    const { topics, running } = context
    this.view = createView(
      topics,
      this.registry,
      this.pending,
      this.approvals,
      this.#announcer,
      running.steady,
    )
  }

  /** The number of live sessions of each role. */
  get sessionRoles(): Readonly<Record<SessionRole, number>> {
    return this.#table.roles
  }

  /** Everything that lasts comes back, every limb as offline. Before any listener opens. */
  async load(): Promise<void> {
    await this.#history.resume()
    for await (const page of this.#context.store.loadNodes()) {
      for (const node of page) this.#presence.add(node, 'bridge_restart')
    }
    await this.#loadRequests()
    await this.control.load()
    await this.#authenticator.load()
  }

  /** Loads the requests of strangers within the memory that they may have: the rest ends before it is loaded. */
  async #loadRequests(): Promise<void> {
    const { running, store, settings, log } = this.#context
    const { maxPending, maxPendingBytes } = settings.pairing
    const { requests, ended } = await store.loadRequests({
      now: running.now(),
      maxRequests: maxPending,
      maxBytes: maxPendingBytes,
    })
    for (const request of requests) this.pending.put(request)
    if (ended > 0)
      log.warn(
        { ended, kept: requests.length },
        `${ended} requests to be paired ended with this start: their time was over, or they were more than pairing.maxPending and pairing.maxPendingBytes allow`,
      )
  }

  /**
   * Creates `admin` when there is no principal at all, with the password given or else a new one, which is saved.
   * Whether it did.
   */
  async firstStart(
    savePassword: (password: string) => void | Promise<void>,
    given?: string,
  ): Promise<boolean> {
    const { store, clock, passwordCost } = this.#context
    const known = await store.read((tx) => tx.principals(undefined, 1))
    if (known.items.length > 0) return false
    if (given !== undefined) checkGiven(given)
    const password = given ?? newPassword()
    const passwordHash = await hashPassword(password, passwordCost)
    // The file first: a principal whose password nobody knows would be worse than a file without a principal.
    if (given === undefined) await savePassword(password)
    await store.transact(async (tx) => {
      const at = clock.wallMs()
      await tx.putPrincipal({
        name: 'admin',
        role: 'admin',
        passwordHash,
        createdAt: at,
        createdBy: 'bridge',
      })
      await tx.audit(
        audit(this.#context, 'principal.added', {
          actor: 'bridge',
          detail: { name: 'admin', role: 'admin' },
        }),
      )
    })
    return true
  }

  /** Returns whether this is the password of a principal, such as one that lies in a file. */
  async isPasswordOf(name: string, password: string): Promise<boolean> {
    const principal = await this.#context.store.read((tx) => tx.principal(name))
    return principal !== null && (await passwordMatches(principal.passwordHash, password))
  }

  /** The listeners are about to open: whatever somebody does from the first moment on reaches the webhooks. */
  opening(): void {
    this.webhooks.start()
  }

  /** The listeners are open. */
  ready(): void {
    this.#announcer.setBridgeStatus('online')
    this.#announcer.infoChanged()
    this.#housekeeping.start()
    this.#requestExpiry.start()
    this.#presence.start()
  }

  /** Takes no requests any more; resolves when those under way are answered, or their time is up. Everybody is still there. */
  async finishRequests(): Promise<void> {
    await this.#requests.finish()
  }

  /** The listeners are closed and the sessions still there: they are told. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#requestExpiry.stop()
    this.#window.stop()
    const kept = this.#housekeeping.stop()
    this.#pairings.stop()
    this.#refusedSignIns.stop()
    this.#refusedLeases.stop()
    this.#takeovers.stop()
    this.#authenticator.stop()
    this.#requests.stop()
    this.#foreign.stop()
    const controlled = this.control.stop()
    // It may be a store that is away for which the ends of invocations wait: everybody else hears that all is offline.
    await within(this.#context.clock, INVOCATIONS_END_MS, controlled)
    this.#presence.stop()
    this.#announcer.setBridgeStatus('offline')
    this.#announcer.stop()
    await Promise.all([
      controlled,
      this.#presence.save(),
      this.#tokens.save(),
      this.#history.stop(),
      this.webhooks.stop(),
      kept,
      saveRunning(this.#context),
    ])
  }

  admit: Inbound['admit'] = async (credentials) => {
    const { epoch: turn } = this.#table
    const admission = await this.#authenticator.admit(credentials)
    if (admission.admitted) this.#table.recordAdmission(admission.identity, turn)
    return admission
  }

  connectRefused(name: string, address: string, reason: string): void {
    if (isShown(name)) this.#attempts.refused(name, address, reason)
  }

  handshakeFailed(address: string, reason: string, name?: string): void {
    this.#attempts.handshakeFailed(address, reason, name)
  }

  denied(identity: Identity, what: string, topic: string): void {
    this.#attempts.denied(identity, what, topic)
  }

  /**
   * Returns whether a session that was let in as this identity still may be: its password, token and role are what
   * they were.
   */
  isCurrent(identity: Identity): boolean {
    return !hasEnded(identity, this.#context.running.now()) && !this.#table.isInvalidated({ identity })
  }

  /**
   * Calls `ended` once when somebody who was let in as this identity, and has no session here, may act no more. Returns what
   * ends the watch.
   */
  whenEnded(identity: Identity, ended: () => void): () => void {
    return this.#table.whenEnded(identity, ended)
  }

  opened(session: Session): void {
    const { identity } = session
    this.#attempts.opened(session)
    this.#context.log.debug(
      { who: identity.kind, clientId: session.clientId, address: session.address },
      'session opened',
    )
    const isLimbs = isLocal(session) && this.registry.get(nameOf(session)) !== undefined
    if (isLimbs || this.#table.isInvalidated(session)) {
      // Revoked, replaced, rotated or removed, or its name became a limb's, since its CONNECT was looked at: the next one is looked at anew.
      session.end('refused', false)
      return
    }
    if (identity.kind === 'limb') {
      const older = this.#table.limb(identity.nodeId)
      this.#takeovers.opened(identity.nodeId, session.address, older?.address)
      this.#presence.opened(session, identity.nodeId)
      this.#table.add(session)
      older?.end('replaced', false)
      this.#foreign.opened(session)
      return
    }
    this.#table.add(session)
  }

  refused(refusal: RefusedConnect): void {
    this.#refusedSignIns.connect(refusal)
  }

  closed(session: Session, why: SessionEnd): void {
    const { identity } = session
    // Of one that has a successor already, that was counted.
    if (why === 'replaced' && identity.kind === 'limb' && this.#table.limb(identity.nodeId) === undefined) {
      this.#takeovers.ended(identity.nodeId, session.address)
    }
    this.#table.delete(session)
    this.#foreign.closed(session, why)
    this.#context.log.debug({ who: identity.kind, clientId: session.clientId, why }, 'session closed')
    if (this.#stopped) return
    if (identity.kind === 'limb') this.#presence.closed(session, identity.nodeId, why === 'disconnect')
    if (identity.kind === 'principal') this.control.callerGone(session)
  }

  subscribed(session: Session): void {
    this.#answers.settle(session)
    // Those that wait for it are sent now: a sleepy limb has no time for more.
    if (session.identity.kind === 'limb') this.control.limbIsThere(session.identity.nodeId)
    this.#foreign.subscribed(session)
  }

  discovered(session: Session, topic: string, payload: Uint8Array): boolean {
    return this.#foreign.discovered(session, topic, payload)
  }

  heartbeat(session: Session, payload: Uint8Array): void {
    this.#context.counters.count('heartbeats')
    this.#presence.heartbeat(session, payload)
  }

  active(session: Session): void {
    this.#presence.active(session)
  }

  /**
   * Is called for what is published on the broker: some limbs' availability is read from it. It never throws, and is
   * quick.
   */
  published({ topic, payload }: PublishedMessage): void {
    this.#presence.published(topic, payload)
    this.#foreign.values.heard(topic, payload)
    this.control.published(topic, payload)
  }

  async message(
    session: Session,
    address: Address,
    payload: Uint8Array,
    messageContext?: MessageContext,
  ): Promise<void> {
    if (address.kind === 'node' && address.leaf !== 'deregister') this.#presence.active(session)
    if (address.kind === 'request') {
      this.#table.recordFirstUse(session.identity)
      await this.#requests.handle(session, address.verb, payload, messageContext)
    } else if (address.kind === 'node' && address.leaf === 'register') {
      await this.#register(session, payload)
    } else if (address.kind === 'node' && address.leaf === 'deregister') {
      this.#presence.deregistered(session, address.nodeId)
    } else if (address.kind === 'node' && address.leaf === 'result') {
      this.control.result(session, payload, messageContext?.correlation)
    }
  }

  unread(session: Session, address: Address, message: UnreadMessage): void {
    if (address.kind === 'request') this.#requests.unread(session, address.verb, message)
    if (address.kind !== 'node') return
    if (address.leaf === 'heartbeat') this.#presence.unreadHeartbeat(session, message.bytes)
    else this.#presence.active(session)
    if (address.leaf === 'result') this.control.unreadResult(session, message)
    if (address.leaf === 'register' && session.identity.kind === 'limb') {
      this.#pairings.refuse(session, tooLarge(message, LIMITS.registrationBytes))
    }
  }

  async #register(session: Session, payload: Uint8Array): Promise<void> {
    const { identity } = session
    if (identity.kind === 'principal') return
    this.#context.counters.count('registrations')
    try {
      if (identity.kind === 'candidate') checkSize(payload)
      const { brief, ...registration } = decodeRegistration(payload)
      this.#answers.setBrief(session, brief === true)
      if (identity.kind === 'limb') await this.#pairings.reregister(session, identity.nodeId, registration)
      else await this.#pairings.claim(session, identity.nodeId, identity.key, registration)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.#pairings.refuse(session, error)
    }
  }
}

function tooLarge({ bytes }: UnreadMessage, most: number): Refusal {
  return new Refusal(
    'invalid_request',
    `the payload is too large: its packet has ${bytes} bytes; the limit is ${most}`,
  )
}

/** Checks the size of a registration before it is parsed: a stranger's costs little. */
function checkSize({ length }: Uint8Array): void {
  const { candidateRegistrationBytes: most } = LIMITS
  if (length <= most) return
  throw new Refusal(
    'invalid_request',
    `a registration that nobody has approved may have ${most} bytes, this one has ${length}; register fewer or shorter capabilities and commands first, and the others after the approval`,
  )
}

/** Checks a given password as `principal/add` would: an empty file would make an admin that anybody can be. */
function checkGiven({ length }: string): void {
  const { passwordCharsMin, passwordCharsMax } = LIMITS
  if (length >= passwordCharsMin && length <= passwordCharsMax) return
  throw new MisconfiguredError(
    `the password of admin that was given (the credential admin-password) must have ${passwordCharsMin} to ${passwordCharsMax} characters`,
  )
}
