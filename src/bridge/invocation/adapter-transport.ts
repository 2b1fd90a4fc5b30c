import { commandOf, type ForeignMessage, messagesOf } from '../../domain/adapter.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { Invocation, InvocationResult } from '../../protocol/schemas.ts'
import type { LiveLimb } from '../live/registry.ts'
import type { SessionTable } from '../live/sessions.ts'
import type { InvocationDelivery, Session } from '../ports.ts'
import type { InvokeTransport, Settle } from './mqtt-transport.ts'

const NOT_SENT: InvocationDelivery = { sent: false, giveUp: () => {} }
const SENT: InvocationDelivery = { sent: true, giveUp: () => {} }
/** A longer answer is none of firmware's. */
const MAX_ANSWER_BYTES = 16_384

interface Awaited {
  /** The last level of the topic that it was sent on, which the answer repeats. */
  readonly command: string
  readonly settle: Settle
  readonly invocationId: string
}

/**
 * Runs commands of foreign firmware: an invocation is a publish on the topic that the firmware has named, to its own
 * session alone. Firmware that answers on a topic of its own is waited for.
 */
export class AdapterTransport implements InvokeTransport {
  readonly #table: SessionTable
  /** Invocations that wait for an answer, the oldest first, by its topic. The invocations under way are their bound. */
  readonly #awaited = new Map<string, Awaited[]>()

  constructor(table: SessionTable) {
    this.#table = table
  }

  unreachable(limb: LiveLimb): Refusal | undefined {
    const { nodeId, adapter } = limb.record
    if (this.#sessionOf(limb)) return undefined
    const who = adapter?.via === undefined ? nodeId : `${adapter.via}, which speaks for ${nodeId},`
    return new Refusal('node_offline', `${who} is not connected; try again when it is online`)
  }

  deliver(limb: LiveLimb, invocation: Invocation, settle: Settle): InvocationDelivery {
    const session = this.#sessionOf(limb)
    const messages = this.#messages(limb, invocation)
    const problem =
      messages instanceof Refusal
        ? messages
        : session
          ? this.#deaf(session, limb, messages)
          : this.unreachable(limb)
    if (problem !== undefined || session === undefined || messages instanceof Refusal) {
      settle(problem ?? new Refusal('node_offline', `${limb.record.nodeId} is not connected`))
      return NOT_SENT
    }
    const last = messages.findLast(({ answer }) => answer !== undefined)
    const delivery = last === undefined ? SENT : this.#await(last, invocation.invocationId, settle)
    for (const { topic, payload } of messages) session.send(topic, Buffer.from(payload))
    if (last === undefined) {
      const published = messages.map(({ topic, payload }) => ({ topic, payload }))
      settle({ invocationId: invocation.invocationId, success: true, data: { published } })
    }
    return delivery
  }

  /** Firmware has published something: it may be the answer that an invocation waits for. Total and quick. */
  heard(topic: string, payload: Uint8Array): void {
    if (this.#awaited.size === 0) return
    const waiting = this.#awaited.get(topic)
    if (waiting === undefined || payload.length > MAX_ANSWER_BYTES) return
    const answer = objectIn(payload)
    const found = answer && waiting.find(({ command }) => answers(answer, command))
    if (found === undefined || answer === undefined) return
    this.#forget(topic, found)
    found.settle(resultOf(found, answer))
  }

  #sessionOf({ record: { nodeId, adapter } }: LiveLimb): Session | undefined {
    return this.#table.limb(adapter?.via ?? nodeId)
  }

  #messages({ record }: LiveLimb, { command, params }: Invocation): readonly ForeignMessage[] | Refusal {
    const { nodeId, adapter } = record
    const known = adapter === null ? undefined : commandOf(adapter, command)
    if (known === undefined) {
      return new Refusal('unknown_command', `the firmware of ${nodeId} does not announce ${command} any more`)
    }
    const given = typeof params === 'object' && params !== null ? (params as Record<string, unknown>) : {}
    const messages = messagesOf(known, given)
    if (messages.length > 0) return messages
    const names = Object.keys(known.input?.properties ?? {}).join(', ')
    const problem = { path: 'params', message: `must have one of ${names}` }
    return new Refusal('invalid_request', `params: ${problem.message}`, 'params', { deviceText: problem })
  }

  /** It is not sent what it does not listen to. */
  #deaf(session: Session, { record }: LiveLimb, messages: readonly ForeignMessage[]): Refusal | undefined {
    const missed = messages.find(({ topic }) => !session.subscribedTo(topic))
    if (missed === undefined) return undefined
    return new Refusal(
      'node_offline',
      `${record.adapter?.via ?? record.nodeId} is connected and does not listen on ${missed.topic}; mqtt.grants must let it subscribe there`,
    )
  }

  #await({ topic, answer = '' }: ForeignMessage, invocationId: string, settle: Settle): InvocationDelivery {
    const awaited = { command: topic.slice(topic.lastIndexOf('/') + 1).toLowerCase(), settle, invocationId }
    const waiting = this.#awaited.get(answer)
    if (waiting) waiting.push(awaited)
    else this.#awaited.set(answer, [awaited])
    return { sent: true, giveUp: () => this.#forget(answer, awaited) }
  }

  #forget(topic: string, awaited: Awaited): void {
    const left = (this.#awaited.get(topic) ?? []).filter((each) => each !== awaited)
    if (left.length === 0) this.#awaited.delete(topic)
    else this.#awaited.set(topic, left)
  }
}

type Answer = Readonly<Record<string, unknown>>

function objectIn(payload: Uint8Array): Answer | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(payload))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Answer)
      : undefined
  } catch {
    return undefined
  }
}

/** `{"POWER": "ON"}` answers `POWER1` of a device with one relay; `{"Command": "Unknown"}` answers any. */
function answers(answer: Answer, command: string): boolean {
  return Object.keys(answer)
    .map((key) => key.toLowerCase())
    .some((key) => key === 'command' || key.startsWith(command) || command.startsWith(key))
}

function resultOf({ invocationId }: Awaited, answer: Answer): InvocationResult {
  const { Command: verdict } = answer
  if (verdict === undefined) return { invocationId, success: true, data: answer }
  return {
    invocationId,
    success: false,
    error: `the firmware answered ${JSON.stringify(verdict).slice(0, 200)}`,
  }
}
