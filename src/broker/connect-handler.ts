import type { Authentication, Credentials, Identity, RefusedCode } from '../bridge/ports.ts'
import { newId } from '../kernel/secrets.ts'
import { KeyedMutex, Semaphore, within } from '../kernel/semaphore.ts'
import { hasUnwanted } from '../protocol/filters.ts'
import type { AedesClient, BrokerPersistence, Callback, ConnectPacket } from './aedes-internals.ts'
import type { RefusedReason } from './counters.ts'
import { LiveSessions } from './live-sessions.ts'
import { REASON } from './mqtt5/reasons.ts'
import type { Translator } from './mqtt5/translator.ts'
import type { ConnectRefusal, MqttSession } from './session.ts'
import type { SessionContext } from './session-context.ts'
import { nameOf, sessionKey } from './session-key.ts'
import { isTopic } from './strings.ts'

/** Connections of one client id that wait for each other. */
const MAX_WAITING_PER_ID = 8
/** The time that an older connection may take to be gone. */
const TAKEOVER_MS = 2000
/**
 * The sessions that were let in and have no CONNACK yet. All who waited for one password, or for one commit, are let in at
 * the same moment, and each costs as much as a hundred messages.
 */
const MAX_OPENING = 24
/** The time after which one that waits for the store keeps nobody else waiting. */
const OPENING_MS = 50

/** The refusal as CONNACK says it, and its name in the counters. */
type Refused = ConnectRefusal & { readonly counted: RefusedReason }

/** The client id of a session, and whether the bridge made it. */
interface GivenId {
  readonly clientId: string
  readonly assigned: string | undefined
}

/** Decides about CONNECT: who it is, and which of their sessions it takes over or goes on with. */
export class ConnectHandler {
  readonly #context: SessionContext
  readonly #stored: BrokerPersistence['sessions']
  readonly #perId = new KeyedMutex(MAX_WAITING_PER_ID)
  readonly #opening = new Semaphore(MAX_OPENING, Number.POSITIVE_INFINITY)
  /** The session of each key (identity and client id), from its admission to its end. Candidates are never in it. */
  readonly #holders = new Map<string, MqttSession>()
  readonly #ofName: LiveSessions

  constructor(context: SessionContext, stored: BrokerPersistence['sessions']) {
    this.#context = context
    this.#stored = stored
    this.#ofName = new LiveSessions(context)
  }

  /** The live session of a key. */
  holder(key: string): MqttSession | undefined {
    return this.#holders.get(key)
  }

  /** Every live session that is somebody's. */
  get holders(): ReadonlyMap<string, MqttSession> {
    return this.#holders
  }

  /** Aedes' hook `preConnect`. It always calls back with an error or `true`: anything else leaves the socket open. */
  preConnect = (
    client: AedesClient<MqttSession>,
    packet: ConnectPacket,
    callback: (error: Error | null, success: boolean) => void,
  ): void => {
    const { session } = client
    if (session === undefined) {
      callback(new Error('connection without a session'), false)
      return
    }
    // Aedes goes on reading meanwhile, and would handle what it reads as if CONNECT were accepted.
    client.pause()
    this.#admit(session, packet, (error) => callback(error ?? null, !error)).catch((error: unknown) => {
      session.fail(error, 'a sign-in failed')
      // Aedes closes the connection when it is told, so its last packet goes out first.
      void session.gone.then(() => callback(new Error('sign-in failed'), false))
    })
  }

  async #admit(session: MqttSession, packet: ConnectPacket, proceed: Callback): Promise<void> {
    session.claimedName = packet.username || packet.clientId
    session.claimedLevel = session.translator === undefined ? packet.protocolVersion : 5
    const problem = this.#checkForm(session, packet) ?? (await this.#identify(session, packet))
    if ('code' in problem) {
      this.#refuse(session, packet, problem, proceed)
    } else if (problem.kind === 'candidate') {
      await this.#admitCandidate(session, packet, problem, proceed)
    } else {
      // Who leaves its id to the bridge is a session of its own, and waits for no other.
      const assigned = packet.clientId === '' ? newId('auto-') : undefined
      const clientId = assigned ?? packet.clientId
      const done = await this.#perId.run(sessionKey(problem, clientId), () =>
        this.#admitKnown(session, packet, problem, { clientId, assigned }, proceed),
      )
      if (done === undefined) this.#refuse(session, packet, BUSY, proceed, problem)
    }
  }

  #checkForm(session: MqttSession, packet: ConnectPacket): Refused | undefined {
    const { limits } = this.#context
    const { translator } = session
    const { clientId, clean, keepalive, protocolVersion } = packet
    if (!limits.versions.includes(translator === undefined ? protocolVersion : 5)) {
      const reason = `the bridge does not speak this version of MQTT; it speaks ${limits.versions.join(', ')}`
      return { code: 1, code5: REASON.unsupportedVersion, counted: 'protocol_version', reason }
    }
    if (translator === undefined && clientId === '' && (!clean || protocolVersion < 4))
      return refused(2, 'client_id', 'the client id is empty')
    if (clientId.length > limits.maxClientIdChars || hasUnwanted(clientId)) {
      return refused(2, 'client_id', 'the client id is too long, or has control characters')
    }
    if (keepalive === 0 ? !limits.allowKeepaliveZero : keepalive > limits.maxKeepaliveSeconds) {
      if (translator !== undefined) {
        translator.granted = { ...translator.granted, serverKeepAlive: limits.maxKeepaliveSeconds }
        packet.keepalive = limits.maxKeepaliveSeconds
        return undefined
      }
      // MQTT 3.1.1 has no code for it; Mosquitto answers 2 too.
      return refused(2, 'keepalive', `the keepalive must be 1 to ${limits.maxKeepaliveSeconds} s`)
    }
    return undefined
  }

  async #identify(session: MqttSession, packet: ConnectPacket): Promise<Refused | Identity> {
    const { peer } = session
    const credentials: Credentials = {
      clientId: packet.clientId,
      // Clients that have a field for it send an empty user name where there is none.
      username: packet.username === '' ? undefined : packet.username,
      ...passwordOf(packet.password),
      address: peer.address,
      local: peer.local,
      certificateName: peer.certificateName,
      version: session.version,
      isGone: () => session.hasLeft,
    }
    const { clock, limits, inbound } = this.#context
    // No queue of ours: what is slow about some of them, the hash of a password, the core bounds for itself.
    const deciding: Promise<Authentication> = inbound.admit(credentials)
    // A decision that comes too late is nobody's; that it may fail must not end the process.
    deciding.catch(() => undefined)
    const admission = await within(clock, limits.admissionTimeoutMs, deciding)
    if (admission === undefined) return BUSY
    if (!admission.admitted) return refused(admission.code, 'credentials', admission.reason)
    return admission.identity
  }

  /**
   * A candidate never holds a client id: whoever claims a node's name could otherwise keep the node, or a
   * rival claim, from connecting. It has an id of its own within the broker and nothing of it is stored.
   */
  async #admitCandidate(
    session: MqttSession,
    packet: ConnectPacket,
    identity: Extract<Identity, { kind: 'candidate' }>,
    proceed: Callback,
  ): Promise<void> {
    const { clientId } = packet
    packet.clientId = newId('candidate-')
    packet.clean = true
    packet.will = undefined
    session.translator?.assign(clientId === '' ? packet.clientId : undefined, 0)
    session.admit(identity, clientId, packet.clientId)
    await this.#open(session, proceed)
  }

  async #admitKnown(
    session: MqttSession,
    packet: ConnectPacket,
    identity: Identity,
    { clientId, assigned }: GivenId,
    proceed: Callback,
  ): Promise<boolean> {
    if (session.hasLeft) {
      proceed(new Error('connection closed'))
      return true
    }
    const key = sessionKey(identity, clientId)
    packet.clientId = key
    const owner = this.#stored.ownerOf(key)
    const holder = this.#holders.get(key)
    if (holder !== undefined) await this.#takeOver(holder)
    if (session.isGone) {
      proceed(new Error('connection closed'))
      return true
    }
    // The client is back: its will is not sent, unless its session ends here.
    const { clean } = packet
    const goesOn = owner !== undefined && !(session.translator?.connect.cleanStart ?? clean)
    if (!goesOn || this.#stored.isOver(key)) this.#context.wills.sessionEnds(key)
    this.#context.wills.cancel(key)
    await this.#prepareStored(session, packet, identity, owner !== undefined)
    session.translator?.assign(assigned, session.translator.sessionExpirySeconds)
    session.admit(identity, clientId, key)
    this.#checkWill(session, packet, identity)
    await this.#keepWill(session)
    this.#hold(key, session)
    await this.#open(session, proceed)
    // The next CONNECT of this id is looked at when this one has its CONNACK, or is gone.
    await within(this.#context.clock, this.#context.limits.admissionTimeoutMs, session.settled)
    return true
  }

  /** Has Aedes open a session when those before it are open. The control socket waits for nobody. */
  async #open(session: MqttSession, proceed: Callback): Promise<void> {
    const open = async () => {
      proceed(session.isGone ? new Error('connection closed') : null)
      await within(this.#context.clock, OPENING_MS, session.settled)
    }
    if (session.peer.local) await open()
    else await this.#opening.run(open)
  }

  /** Ends the older connection of the same identity and waits until Aedes has forgotten it. */
  async #takeOver(holder: MqttSession): Promise<void> {
    holder.end('replaced', false)
    await within(this.#context.clock, TAKEOVER_MS, holder.forgotten)
  }

  async #prepareStored(
    session: MqttSession,
    packet: ConnectPacket,
    identity: Identity,
    stored: boolean,
  ): Promise<void> {
    const { clientId } = packet
    const { translator } = session
    session.storedBefore = stored
    if (translator !== undefined) {
      await this.#prepareStored5(session, translator, packet, identity)
      return
    }
    if (packet.clean) return
    try {
      await this.#stored.put(clientId, nameOf(identity))
    } catch (error) {
      // On a full disk a session lives all the same, and is stored when there is room again.
      this.#storeFailed(session, error, 'the store cannot keep a session now')
    }
  }

  /**
   * A session of MQTT 5 lasts as long as it asks, up to the limit. What is promised is stored: a session that the
   * store cannot keep now ends with its connection, and CONNACK says so.
   */
  async #prepareStored5(
    session: MqttSession,
    translator: Translator,
    packet: ConnectPacket,
    identity: Identity,
  ): Promise<void> {
    const { clientId } = packet
    const { connect } = translator
    const { limits } = this.#context
    if (session.storedBefore && (connect.cleanStart || this.#stored.isOver(clientId))) {
      await this.#stored.delete(clientId)
      session.storedBefore = false
    }
    translator.sessionExpirySeconds = Math.min(connect.sessionExpirySeconds, limits.sessionExpirySeconds)
    packet.clean = translator.sessionExpirySeconds === 0 && !session.storedBefore
    if (packet.clean) return
    const { sessionExpirySeconds } = translator
    try {
      await this.#stored.put(clientId, nameOf(identity), sessionExpirySeconds)
    } catch (error) {
      this.#storeFailed(session, error, 'the store cannot keep a session now; it ends with its connection')
      translator.sessionExpirySeconds = 0
      packet.clean = !session.storedBefore
    }
  }

  /** A will with a delay is on disk before CONNACK; where it cannot be, it is sent without one. */
  async #keepWill(session: MqttSession): Promise<void> {
    const { will5, translator, key } = session
    if (will5 === undefined || translator === undefined) return
    const seconds = Math.min(will5.delaySeconds, translator.sessionExpirySeconds)
    if (seconds === 0) return
    try {
      await this.#context.wills.keep(key, will5, seconds)
      session.delayedWill = true
    } catch (error) {
      this.#storeFailed(session, error, 'the store cannot keep a will now; it has no delay')
      this.#context.wills.cancel(key)
    }
  }

  /** Says so at a pace: whoever connects again and again meanwhile must not fill the log as well. */
  #storeFailed({ address, clientId }: MqttSession, error: unknown, message: string): void {
    this.#context.peerLog.warn('store', address, { err: error, clientId }, message)
  }

  #checkWill(session: MqttSession, packet: ConnectPacket, identity: Identity): void {
    const will = session.translator?.connect.will ?? packet.will
    if (will === undefined) return
    const { rights, limits } = this.#context
    const fine =
      isTopic(will.topic) &&
      will.topic.split('/').length <= limits.maxTopicLevels &&
      will.payload.length <= limits.maxWillBytes
    if (fine && rights.will(identity, will.topic, session.clientId)) {
      session.will5 = session.translator?.connect.will
      return
    }
    packet.will = undefined
    // A limb's last words are common and harmless: the bridge itself sees the session end.
    if (identity.kind === 'principal') session.denied('will', will.topic)
  }

  #hold(key: string, session: MqttSession): void {
    this.#holders.set(key, session)
    this.#ofName.enter(session)
    void session.gone.then(() => {
      if (this.#holders.get(key) === session) this.#holders.delete(key)
      this.#ofName.leave(session)
    })
  }

  #refuse(
    session: MqttSession,
    packet: ConnectPacket,
    refusal: Refused,
    proceed: Callback,
    identity?: Identity,
  ): void {
    const { counters, inbound } = this.#context
    const { counted } = refusal
    counters.refused[counted]++
    // Who was refused for their credentials the core has told already.
    if (counted !== 'credentials') {
      const { clientId } = packet
      const username = packet.username === '' ? undefined : packet.username
      const { reason } = refusal
      inbound.connectRefused?.(session.claimedName, session.address, reason)
      session.guarded(() =>
        inbound.refused({
          username,
          clientId,
          address: session.address,
          version: session.version,
          identity,
          why: counted,
          reason,
        }),
      )
    }
    session.refuse(refusal)
    // Aedes closes the socket when it is told, so CONNACK goes out first.
    void session.gone.then(() => proceed(new Error(refusal.reason)))
  }
}

function refused(code: RefusedCode, counted: RefusedReason, reason: string): Refused {
  return { code, code5: CODES_5[code], counted, reason }
}

const CODES_5: Readonly<Record<RefusedCode, number>> = {
  2: REASON.invalidClientId,
  3: REASON.serverBusy,
  4: REASON.badUserNameOrPassword,
  5: REASON.notAuthorized,
}

const BUSY = refused(3, 'busy', 'too many sign-ins at once')

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Reads the password as text. */
function passwordOf(bytes: Buffer | undefined): Pick<Credentials, 'password' | 'passwordIsBinary'> {
  if (bytes === undefined || bytes.length === 0) return { password: undefined }
  try {
    return { password: utf8.decode(bytes) }
  } catch {
    return { password: undefined, passwordIsBinary: true }
  }
}
