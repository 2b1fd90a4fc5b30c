import { didYouMean } from '../../kernel/did-you-mean.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import { check, parseJson } from '../../protocol/decode.ts'
import { encodeJson } from '../../protocol/encode.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { type Role, roleReaches } from '../../protocol/names.ts'
import { isVerb, VERBS, type VerbDefinition, type VerbName } from '../../protocol/verbs.ts'
import type { Session } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbCaller, VerbHandler, VerbHandlers } from '../verb-context.ts'

/** Requests of one session that may be under way at once. */
const MAX_UNDER_WAY = 64
/** A request carries at most an import of LIMITS.importNodes; the broker's packet limit is the tighter one. */
const MAX_REQUEST_BYTES = 16_777_216

/** Requests of principals: check, run, answer. The only place that turns an error into a response. */
export class VerbDispatcher {
  readonly #world: BridgeContext
  readonly #handlers: VerbHandlers
  readonly #underWay = new WeakMap<Session, number>()

  constructor(world: BridgeContext, handlers: VerbHandlers) {
    this.#world = world
    this.#handlers = handlers
  }

  /**
   * Resolves when the request is decided and its response published; for a long verb at once, because a PUBACK
   * that waits for a limb or an operator would stop the session's other messages.
   */
  async handle(session: Session, verb: string, payload: Uint8Array): Promise<void> {
    const { identity } = session
    if (identity.kind !== 'principal') return
    const { name, role } = identity
    const caller: VerbCaller = { name, role, address: session.address, session, alive: () => session.alive }
    const answered = this.#answer(session, caller, verb, payload)
    if (!isVerb(verb) || !VERBS[verb].long) return answered
    answered.catch((error: unknown) =>
      this.#world.log.error(
        { verb, principal: name, error: messageOf(error) },
        'a response was not published',
      ),
    )
  }

  async #answer(session: Session, caller: VerbCaller, verb: string, payload: Uint8Array): Promise<void> {
    const underWay = this.#underWay.get(session) ?? 0
    this.#underWay.set(session, underWay + 1)
    let transaction: string | number | undefined
    let response: object
    try {
      const body = parseBody(payload)
      transaction = transactionOf(body)
      if (underWay >= MAX_UNDER_WAY) {
        throw new Refusal(
          'too_many_requests',
          `${MAX_UNDER_WAY} requests are under way; wait for their responses`,
        )
      }
      const { transaction: _, ...args } = body
      response = { ok: true, data: await this.#run(verb, args, { ...caller, transaction }) }
      this.#world.counters.count('verbs', 'ok')
    } catch (error) {
      response = { ok: false, error: this.#refusal(verb, caller, error).body() }
      this.#world.counters.count('verbs', 'refused')
    } finally {
      this.#underWay.set(session, (this.#underWay.get(session) ?? 1) - 1)
    }
    const answer = transaction === undefined ? response : { transaction, ...response }
    if (session.respond !== undefined) {
      session.respond(verb, encodeJson(answer))
      return
    }
    const topic = this.#world.topics.response(caller.name, verb)
    this.#world.publisher.publish(topic, encodeJson(answer), { qos: 1, retain: false })
  }

  async #run(verb: string, given: Record<string, unknown>, caller: VerbCaller): Promise<unknown> {
    if (!isVerb(verb)) {
      const meant = didYouMean(verb, Object.keys(VERBS))
      const hint = meant === undefined ? 'see docs/protocol.md, section 8' : `did you mean ${meant}?`
      throw new Refusal('invalid_request', `there is no verb ${JSON.stringify(verb.slice(0, 64))}; ${hint}`)
    }
    const definition: VerbDefinition = VERBS[verb]
    if (!roleReaches(caller.role, definition.role)) {
      this.#world.log.warn(
        { principal: caller.name, role: caller.role, verb },
        `${verb} refused: needs role ${definition.role}`,
      )
      this.#record(verb, definition.role, caller)
      throw new Refusal(
        'forbidden',
        `${verb} needs the role ${definition.role}; ${caller.name} is ${caller.role}`,
      )
    }
    const args = definition.plain?.(given) ?? check(definition.args, given)
    // The table pairs each verb's schema with its handler; TypeScript cannot follow a key chosen at run time.
    const handler = this.#handlers[verb] as VerbHandler<typeof verb>
    return (await handler(args as never, caller)) ?? {}
  }

  /** Who tries what its role does not allow is on record. Nobody waits for it; a store that fails says so itself. */
  #record(verb: VerbName, needs: Role, { name, role }: VerbCaller): void {
    const { clock, store } = this.#world
    const detail = { verb, role, needs }
    const entry = {
      at: clock.wallMs(),
      actor: name,
      kind: 'request.refused',
      nodeId: null,
      outcome: 'forbidden',
      detail,
    }
    store.recordCall(null, entry).catch(() => undefined)
  }

  #refusal(verb: string, caller: VerbCaller, error: unknown): Refusal {
    if (error instanceof Refusal) {
      this.#world.log.debug({ verb, principal: caller.name, error: error.body() }, `${verb} refused`)
      return error
    }
    this.#world.log.error(
      { verb, principal: caller.name, error: messageOf(error), stack: (error as Error).stack },
      `${verb} failed`,
    )
    return new Refusal('internal', 'the bridge failed; its log says why')
  }
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
