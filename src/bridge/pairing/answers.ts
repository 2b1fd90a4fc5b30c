import type { NodeRecord, PairingRequestRecord } from '../../domain/records.ts'
import { iso } from '../../kernel/clock.ts'
import { deriveInvokeSecret } from '../../kernel/invoke-signature.ts'
import type { RunningClock, RunningMs } from '../../kernel/running-clock.ts'
import type { KeyHash } from '../../kernel/secrets.ts'
import { encodeJson } from '../../protocol/encode.ts'
import type { Capability, PairingAnswer } from '../../protocol/schemas.ts'
import type { Topics } from '../../protocol/topics.ts'
import { nameOf } from '../live/sessions.ts'
import type { Session } from '../ports.ts'
import { type BridgeContext, type BridgeSettings, intervalsOf } from '../settings.ts'

/**
 * Sends what is said on `pairing`, to one session alone. A client that publishes `register` before it subscribes
 * still gets it: its last answer is owed to it until it subscribes or goes.
 */
export class PairingAnswers {
  readonly #topics: Topics
  readonly #owed = new WeakMap<Session, PairingAnswer>()
  /** Sessions that asked for short answers with their last registration. */
  readonly #brief = new WeakSet<Session>()

  constructor(topics: Topics) {
    this.#topics = topics
  }

  /** A device with a small buffer is told that it is approved without what it knows: its capabilities. */
  setBrief(session: Session, brief: boolean): void {
    if (brief) this.#brief.add(session)
    else this.#brief.delete(session)
  }

  send(session: Session, answer: PairingAnswer): void {
    const whole = withOwedKey(answer, this.#owed.get(session))
    if (this.#send(session, whole)) this.#owed.delete(session)
    else this.#owed.set(session, whole)
  }

  /** Told once, and the session ends. */
  rejected(session: Session): void {
    this.send(session, { status: 'rejected' })
    session.end('refused', true)
  }

  /** The session has a new subscription: tell it what it is owed. */
  settle(session: Session): void {
    const answer = this.#owed.get(session)
    if (answer && this.#send(session, answer)) this.#owed.delete(session)
  }

  #send(session: Session, answer: PairingAnswer): boolean {
    const sent = this.#brief.has(session) && answer.status === 'approved' ? shortened(answer) : answer
    return session.send(this.#topics.node(nameOf(session), 'pairing'), encodeJson(sent))
  }
}

function shortened(answer: Extract<PairingAnswer, { status: 'approved' }>): PairingAnswer {
  const { capabilities: _, ...rest } = answer
  return rest
}

/** A key that the bridge made is not lost because the next answer came before the limb subscribed. */
function withOwedKey(answer: PairingAnswer, owed: PairingAnswer | undefined): PairingAnswer {
  const key = owed && 'apiKey' in owed ? owed.apiKey : undefined
  const takesKey = answer.status === 'pending' || answer.status === 'approved'
  return key === undefined || !takesKey || answer.apiKey !== undefined ? answer : { ...answer, apiKey: key }
}

export function pendingAnswer(
  running: RunningClock,
  request: PairingRequestRecord,
  madeKey: string | undefined,
): PairingAnswer {
  return {
    status: 'pending',
    requestId: request.requestId,
    code: request.code ?? '',
    expiresAt: iso(running.wallMs(request.expiresAt as RunningMs)),
    ...(madeKey === undefined ? {} : { apiKey: madeKey }),
  }
}

export function approvedAnswer(
  settings: BridgeSettings,
  node: NodeRecord,
  awaiting: string | undefined,
  invokeSecret?: string,
): Extract<PairingAnswer, { status: 'approved' }> {
  return {
    status: 'approved',
    ...intervalsOf(settings, node),
    capabilities: node.capabilities as Capability[],
    ...(awaiting === undefined ? {} : { awaiting }),
    ...(invokeSecret === undefined ? {} : { invokeSecret }),
  }
}

/** Makes the secret with which a limb checks invocations over HTTP; undefined for one that does not ask for them. */
export function invokeSecretOf(
  context: BridgeContext,
  node: NodeRecord,
  key: KeyHash | null | undefined,
): string | undefined {
  const { invokeOverHttp } = context
  if (!invokeOverHttp || node.invoke !== 'http' || !key) return undefined
  return deriveInvokeSecret(invokeOverHttp.master, node.nodeId, key)
}
