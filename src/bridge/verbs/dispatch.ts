import { messageOf, Refusal } from '../../kernel/errors.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import { check, parseJson } from '../../protocol/decode.ts'
import { encodeJson } from '../../protocol/encode.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { roleReaches } from '../../protocol/names.ts'
import { SkimmedKeys } from '../../protocol/skimmed-keys.ts'
import { isVerb, noVerb, VERBS, type VerbDefinition, type VerbName } from '../../protocol/verbs.ts'
import { RefusedRequests } from '../live/refused-requests.ts'
import type { Identity, MessageContext, Session, UnreadMessage } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import { signInEnded } from '../sign-in/refusals.ts'
import type { VerbCaller, VerbHandler, VerbHandlers } from '../verb-context.ts'
import { AnswerRoom } from './answer-room.ts'
import { PrincipalTurns, type TurnOwner } from './turns.ts'
import type { RequestsUnderWay } from './under-way.ts'

/** The bytes that a refusal costs until its session has taken it: objects, not payload. */
const REFUSAL_BYTES = 4096

/** Requests of one session that may be under way at once. */
const MAX_UNDER_WAY = 64
/** The cost of a byte of an answer beyond its making: it is encoded, copied, and written for each who hears it. */
const MS_PER_BYTE = 0.00002
/** The cost of an answer for each further session that hears it, and of a byte of it: measured as half a millisecond for a megabyte. */
const MS_PER_HEARER = 0.003
const MS_PER_BYTE_HEARD = 0.0000005
/** A principal that is held back is named in the log once in this time. */
const HELD_BACK = { quietMs: 60_000, lines: 1, maxKeys: 200, maxLines: 200 } as const
/** A request that is read as a whole for its number alone; a larger one may be dear to read. */
const SMALL_REQUEST_BYTES = 4096
/** A request with parameters, and with blanks between them. */
const MAX_REQUEST_BYTES = 2_097_152

/** Requests of principals: check, run, answer. The only place that turns an error into a response. */
export class VerbDispatcher {
  readonly #context: BridgeContext
  readonly #handlers: VerbHandlers
  readonly #underWay = new WeakMap<Session, number>()
  readonly #requests: RequestsUnderWay
  readonly #refused: RefusedRequests
  readonly #turns: PrincipalTurns
  readonly #room: AnswerRoom
  readonly #heldBack: LogThrottle
  readonly #isCurrent: (identity: Identity) => boolean
  /** Gives up those who wait for one more turn. */
  readonly #turnless = new Set<() => void>()
  #isStopped = false

  /**
   * `isCurrent`: whether who was let in as this identity still may be. `isBehind`: what earlier requests brought about is not told
   * to all.
   */
  constructor(
    context: BridgeContext,
    handlers: VerbHandlers,
    parts: {
      isCurrent: (identity: Identity) => boolean
      isBehind: () => boolean
      underWay: RequestsUnderWay
    },
  ) {
    this.#isCurrent = parts.isCurrent
    this.#requests = parts.underWay
    this.#context = context
    this.#handlers = handlers
    this.#refused = new RefusedRequests(context)
    const { clock, settings, publisher } = context
    this.#turns = new PrincipalTurns(clock, settings.turns, () => publisher.isBehind || parts.isBehind())
    this.#room = new AnswerRoom(context.clock)
    this.#heldBack = new LogThrottle(context.clock, HELD_BACK)
  }

  /**
   * Takes no request any more. Resolves when those under way are answered, and their sessions have taken the answers; long ones
   * end by themselves.
   */
  async finish(): Promise<void> {
    const finished = this.#requests.finish(() => this.#room.taken())
    this.#giveUpTurns()
    await finished
  }

  stop(): void {
    this.#isStopped = true
    this.#giveUpTurns()
    this.#turns.stop()
    this.#heldBack.stop()
    this.#refused.stop()
  }

  /**
   * Resolves when the request is decided and its response published; for a long verb at once, because a PUBACK
   * that waits for a limb or an operator would stop the session's other messages.
   */
  async handle(
    session: Session,
    verb: string,
    payload: Uint8Array,
    messageContext?: MessageContext,
  ): Promise<void> {
    const { identity } = session
    if (identity.kind !== 'principal') return
    const { name, role } = identity
    const caller: VerbCaller = {
      name,
      role,
      address: session.address,
      session,
      alive: () => session.alive,
      charge: (ms) => this.#turns.charge(identity, ms),
      turn: () => this.#turnOf(identity),
    }
    const held: HeldRequest = { payload, isRead: false, transaction: undefined }
    const answered = this.#inTurn(session, caller, verb, held, messageContext)
    if (!isVerb(verb) || !VERBS[verb].long) return answered
    answered.catch((error: unknown) =>
      this.#context.log.error(
        { verb, principal: name, error: messageOf(error) },
        'a response was not published',
      ),
    )
  }

  /** A stop would wait for who waits for a turn, which comes seconds later for a principal that has spent its time. */
  #giveUpTurns(): void {
    for (const giveUp of this.#turnless) giveUp()
  }

  async #turnOf(owner: TurnOwner): Promise<boolean> {
    if (this.#requests.isStopping || this.#isStopped) return false
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const giveUp = () => resolve(false)
    if (!this.#turns.take(owner, () => resolve(true))) return false
    this.#turnless.add(giveUp)
    try {
      return await promise
    } finally {
      this.#turnless.delete(giveUp)
    }
  }

  /** Answers a request that was too large to be kept. */
  unread(session: Session, verb: string, { bytes, maxBytes, keys, context }: UnreadMessage): void {
    const { identity } = session
    if (identity.kind !== 'principal') return
    const message = `the request is too large: its packet has ${bytes} bytes, and may have ${maxBytes} (mqtt.maxPacketBytes)`
    const answer = { ok: false, error: new Refusal('invalid_request', message).body() }
    this.#context.counters.count('verbs', 'refused')
    const known = encodeJson({ transaction: keys.get('transaction') })
    this.#refuse(session, identity.name, verb, withTransaction(known, answer), context)
  }

  /** Answers when it is the principal's turn, or says that too many of its requests wait for one. */
  async #inTurn(
    session: Session,
    caller: VerbCaller,
    verb: string,
    held: HeldRequest,
    messageContext?: MessageContext,
  ): Promise<void> {
    const { identity } = session
    if (identity.kind !== 'principal') return
    await new Promise<void>((resolve) => {
      const begin = () => resolve(this.#whenRoom(session, caller, verb, held, messageContext))
      const taken = this.#turns.take(identity, begin, held.payload.length)
      this.#turns.charge(identity, session.overheadMs ?? 0)
      if (!taken) resolve(this.#holdBack(session, identity, verb, held.payload, messageContext))
    })
  }

  /**
   * Begins the request when the session's peer has taken the answers before it, in a turn of its own then. A long
   * request begins at once: its answer waits instead.
   */
  async #whenRoom(
    session: Session,
    caller: VerbCaller,
    verb: string,
    held: HeldRequest,
    messageContext?: MessageContext,
  ): Promise<void> {
    const isLong = isVerb(verb) && VERBS[verb].long
    if (isLong) return this.#answer(session, caller, verb, held, messageContext)
    if (this.#room.has(session))
      return this.#requests.follow(this.#answer(session, caller, verb, held, messageContext))
    if (await this.#room.wait(session)) return this.#inTurn(session, caller, verb, held, messageContext)
    const message = 'the answers before this one were not read in time; read them, then ask again'
    const error = new Refusal('too_many_requests', message).body()
    this.#context.counters.count('verbs', 'refused')
    const answer = withTransaction(held.payload, { ok: false, error })
    this.#refuse(session, caller.name, verb, answer, messageContext)
  }

  /** The session is not read further for a while: refusals are work too. */
  async #holdBack(
    session: Session,
    owner: TurnOwner,
    verb: string,
    payload: Uint8Array,
    messageContext?: MessageContext,
  ): Promise<void> {
    const { clock, counters, log, settings } = this.#context
    const { name } = owner
    counters.count('verbs', 'held_back')
    const setting = `mqtt.maxWorkMsPerSecond is ${settings.turns.maxWorkMsPerSecond}`
    this.#heldBack.write(name, (suppressed) =>
      log.warn(
        { principal: name, address: session.address, suppressed },
        `${name} is held back: its requests take more time than one principal may have (${setting})`,
      ),
    )
    const message = `the requests of ${name} take more time than one principal may have (${setting}); wait for the answers, then ask less often`
    const error = new Refusal('too_many_requests', message).body()
    const refuse = () =>
      this.#refuse(session, name, verb, withTransaction(payload, { ok: false, error }), messageContext)
    // Over HTTP nothing but the answer can wait, and its connection asks for nothing more meanwhile.
    const answersLast = session.respond !== undefined
    if (!answersLast) refuse()
    const holdMs = this.#turns.holdMs(owner)
    if (holdMs > 0) await new Promise<void>((resolve) => clock.after(holdMs, resolve))
    if (answersLast) refuse()
    // Whoever does not read its refusals is not read either.
    await this.#room.wait(session)
  }

  /**
   * Tells the session that asked, where it hears it: the more sessions a principal has, the more it would cost to tell
   * each of them what is refused to one.
   */
  #refuse(
    session: Session,
    name: string,
    verb: string,
    answer: object,
    messageContext?: MessageContext,
  ): void {
    const topic = messageContext?.responseTopic ?? this.#context.topics.response(name, verb)
    const isSent =
      session.respond === undefined &&
      session.send(topic, encodeJson(answer), { correlation: messageContext?.correlation })
    if (!isSent) this.#respond(session, name, verb, encodeJson(answer), messageContext)
    else this.#room.sent(session, REFUSAL_BYTES)
  }

  /** Responds where the client wants it, and with what it gave along; the broker has checked the topic. */
  #respond(
    session: Session,
    name: string,
    verb: string,
    encoded: Uint8Array,
    messageContext?: MessageContext,
  ): void {
    const { identity } = session
    if (identity.kind === 'principal') this.#turns.charge(identity, encoded.length * MS_PER_BYTE)
    if (session.respond !== undefined) session.respond(verb, encoded)
    else {
      const topic = messageContext?.responseTopic ?? this.#context.topics.response(name, verb)
      const { correlation } = messageContext ?? {}
      // The control socket does not wait behind what is being told to others; what the store keeps comes in its order.
      const isAhead = identity.kind === 'principal' && identity.local && session.isStored !== true
      const told = isAhead && session.send(topic, encoded, { correlation })
      const reached = (sessions: number) => this.#chargeOthers(session, sessions - 1, encoded.length)
      this.#context.publisher.publish(topic, encoded, {
        qos: 1,
        retain: false,
        correlation,
        asker: session,
        told,
        reached,
      })
      this.#room.sent(session, encoded.length)
    }
  }

  /** An answer that other sessions of the principal hear is work that it made. */
  #chargeOthers({ identity }: Session, others: number, bytes: number): void {
    if (identity.kind !== 'principal' || others <= 0) return
    this.#turns.charge(identity, others * (MS_PER_HEARER + bytes * MS_PER_BYTE_HEARD))
  }

  async #answer(
    session: Session,
    caller: VerbCaller,
    verb: string,
    held: HeldRequest,
    messageContext?: MessageContext,
  ): Promise<void> {
    const underWay = this.#underWay.get(session) ?? 0
    this.#underWay.set(session, underWay + 1)
    let response: object
    try {
      response = { ok: true, data: (await this.#begin(caller, verb, held, underWay)) ?? {} }
      this.#context.counters.count('verbs', 'ok')
    } catch (error) {
      response = { ok: false, error: this.#refusal(verb, caller, error).body() }
      this.#context.counters.count('verbs', 'refused')
    }
    const encoded = await this.#encodedInRoom(session, caller.name, verb, held, response)
    this.#underWay.set(session, (this.#underWay.get(session) ?? 1) - 1)
    this.#respond(session, caller.name, verb, encoded, messageContext)
  }

  /** Resolves when there is room for the response. It waits as bytes: a list of numbers is five times as large. */
  async #encodedInRoom(
    session: Session,
    name: string,
    verb: string,
    held: HeldRequest,
    response: object,
  ): Promise<Uint8Array> {
    const encode = (answer: object) => {
      const { isRead, transaction } = held
      const known = transaction === undefined ? answer : { transaction, ...answer }
      return encodeJson(isRead ? known : withTransaction(held.payload, answer))
    }
    const encoded = encode(response)
    // What is refused is small, and waits for nothing.
    if (!('data' in response) || (await this.#room.hold(session, name, encoded.length))) return encoded
    if (encoded.length <= REFUSAL_BYTES || showsSecret(verb)) {
      // A refusal in its place would need as much, or would lose what is shown once.
      await this.#room.wait(session)
      return encoded
    }
    const message = `the answer, of ${encoded.length} bytes, found no room beside others that wait to be read; read them, and ask for less at once`
    return encode({ ok: false, error: new Refusal('too_many_requests', message).body() })
  }

  /**
   * Reads the request and begins with it. What waits for its end, a limb or a person, keeps nothing of what was asked but
   * what its handler keeps.
   */
  #begin(caller: VerbCaller, verb: string, held: HeldRequest, underWay: number): unknown {
    const { payload } = held
    const body = parseBody(payload)
    held.isRead = true
    held.payload = NOTHING
    held.transaction = transactionOf(body)
    this.#requests.check()
    if (underWay >= MAX_UNDER_WAY) {
      throw new Refusal(
        'too_many_requests',
        `${MAX_UNDER_WAY} requests are under way; wait for their responses`,
      )
    }
    // It may have waited for its turn, or for its session to read, with the rights of before.
    if (!this.#isCurrent(caller.session.identity)) throw signInEnded(caller.name)
    const { transaction: _, ...args } = body
    return this.#run(verb, args, { ...caller, transaction: held.transaction })
  }

  #run(verb: string, given: Record<string, unknown>, caller: VerbCaller): unknown {
    if (!isVerb(verb)) {
      throw new Refusal('invalid_request', noVerb(verb, 'see docs/protocol.md, section 8'))
    }
    const definition: VerbDefinition = VERBS[verb]
    if (!roleReaches(caller.role, definition.role)) {
      throw new Refusal(
        'forbidden',
        `${verb} needs the role ${definition.role}; ${caller.name} is ${caller.role}`,
      )
    }
    const args = definition.fast?.(given) ?? check(definition.args, given)
    // The table pairs each verb's schema with its handler; TypeScript cannot follow a key chosen at run time.
    const handler = this.#handlers[verb] as VerbHandler<typeof verb>
    return handler(args as never, caller)
  }

  /** Records who tries what its role does not allow: the verb, or what it was to do. */
  #record(verb: VerbName, { name, role }: VerbCaller, reason: string): void {
    const { role: needs } = VERBS[verb]
    const isBelow = !roleReaches(role, needs)
    const why = isBelow ? `needs role ${needs}` : reason
    this.#refused.record({
      principal: name,
      what: verb,
      line: { message: `${verb} refused: ${why}`, fields: { role, verb } },
      row: {
        kind: 'request.refused',
        nodeId: undefined,
        outcome: 'forbidden',
        detail: { verb, role, ...(isBelow ? { needs } : { reason }) },
      },
    })
  }

  #refusal(verb: string, caller: VerbCaller, error: unknown): Refusal {
    if (error instanceof Refusal) {
      if (error.code === 'forbidden' && isVerb(verb)) this.#record(verb, caller, error.message)
      this.#context.log.debug({ verb, principal: caller.name, error: error.body() }, `${verb} refused`)
      return error
    }
    this.#context.log.error(
      { verb, principal: caller.name, error: messageOf(error), stack: (error as Error).stack },
      `${verb} failed`,
    )
    return new Refusal('internal', 'the bridge failed; its log says why')
  }
}

function showsSecret(verb: string): boolean {
  if (!isVerb(verb)) return false
  const { returnsSecret }: VerbDefinition = VERBS[verb]
  return returnsSecret === true
}

/** Holds a request until it is read: one that waits must not keep its bytes. */
interface HeldRequest {
  payload: Uint8Array
  isRead: boolean
  transaction: string | number | undefined
}

const NOTHING = new Uint8Array(0)

/** A request that is not looked at is answered under its own number, if it has a sound one. */
function withTransaction(payload: Uint8Array, response: object): object {
  try {
    const isSmall = payload.length <= SMALL_REQUEST_BYTES
    const transaction = transactionOf(isSmall ? parseBody(payload) : { transaction: skimmed(payload) })
    return transaction === undefined ? response : { transaction, ...response }
  } catch {
    return response
  }
}

function skimmed(payload: Uint8Array): unknown {
  const keys = new SkimmedKeys(['transaction'])
  const bytes = Math.min(payload.length, MAX_REQUEST_BYTES)
  keys.feed(Buffer.from(payload.buffer, payload.byteOffset, bytes))
  return keys.get('transaction')
}

function parseBody(payload: Uint8Array): Record<string, unknown> {
  const value = payload.length === 0 ? {} : parseJson(payload, MAX_REQUEST_BYTES)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal('invalid_request', 'the payload must be a JSON object')
  }
  return value as Record<string, unknown>
}

function transactionOf(body: Record<string, unknown>): string | number | undefined {
  const { transaction } = body
  if (transaction === undefined || transaction === null) return undefined
  // 1e400 is infinite, and would come back as null.
  if (typeof transaction === 'number' && Number.isFinite(transaction)) return transaction
  if (typeof transaction === 'string' && transaction.length <= LIMITS.transactionChars) return transaction
  throw new Refusal(
    'invalid_request',
    `transaction: must be a finite number, or a string of at most ${LIMITS.transactionChars} characters`,
    'transaction',
  )
}
