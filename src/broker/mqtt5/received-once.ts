import type { AedesClient, InboundPublish } from '../aedes-internals.ts'
import type { Outcome, Received } from '../received.ts'
import type { SessionContext } from '../session-context.ts'
import { FIRST_FAILURE, REASON } from './reasons.ts'

/** The copies of one QoS 2 message that may come before the first is dealt with. */
const MAX_COPIES = 8
const NOTHING = Buffer.alloc(0)

export interface ReceivedOnceOptions {
  readonly context: SessionContext
  readonly client: AedesClient<unknown>
  /** Brings a message to its end. */
  readonly publish: (message: Received, acknowledge: (outcome: Outcome) => void) => void
  readonly pubrec: (id: number, outcome: Outcome) => void
  readonly pubcomp: (id: number, outcome: Outcome) => void
  readonly alive: () => boolean
  readonly failed: (error: unknown) => void
}

/**
 * QoS 2 messages of a client that speaks MQTT 5 (section 4.3.3): one that is refused has no second half, so that
 * Aedes, which knows no refusals, cannot keep them. As for 3.1.1 a message takes effect before its identifier is
 * stored, and only the identifier is stored.
 */
export class ReceivedOnce {
  readonly #options: ReceivedOnceOptions
  /** Identifiers in progress, each with what waits for the first. */
  readonly #inProgress = new Map<number, (() => void)[]>()
  /** Identifiers that wait for PUBREL on this connection. */
  readonly #open = new Set<number>()

  constructor(options: ReceivedOnceOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#open.size
  }

  /** False: too many copies of one message. */
  receive(id: number, message: Received): boolean {
    if (this.#inProgress.has(id)) return this.#afterFirst(id, () => this.receive(id, message))
    this.#inProgress.set(id, [])
    this.#open.add(id)
    const { context, client, alive, pubrec } = this.#options
    context.persistence.incomingGetPacket(client, identifierOf(id)).then(
      () => {
        pubrec(id, undefined)
        this.#finished(id)
      },
      () => {
        if (alive()) this.#take(id, message)
      },
    )
    return true
  }

  release(id: number): boolean {
    if (this.#inProgress.has(id)) return this.#afterFirst(id, () => this.release(id))
    this.#open.delete(id)
    const { context, client, pubcomp } = this.#options
    context.persistence.incomingDelPacket(client, identifierOf(id)).then(
      () => pubcomp(id, undefined),
      () => pubcomp(id, UNKNOWN_ID),
    )
    return true
  }

  close(): void {
    this.#inProgress.clear()
    this.#open.clear()
  }

  #afterFirst(id: number, task: () => void): boolean {
    const waiting = this.#inProgress.get(id)
    if (waiting === undefined || waiting.length >= MAX_COPIES) return false
    waiting.push(task)
    return true
  }

  #take(id: number, message: Received): void {
    const { failed } = this.#options
    try {
      this.#options.publish(message, (outcome) => this.#settle(id, outcome))
    } catch (error) {
      failed(error)
    }
  }

  #settle(id: number, outcome: Outcome): void {
    const { context, client, pubrec } = this.#options
    if (outcome !== undefined && outcome.code >= FIRST_FAILURE) {
      this.#refuse(id, outcome)
      return
    }
    context.persistence.incomingStorePacket(client, identifierOf(id)).then(
      () => {
        pubrec(id, outcome)
        this.#finished(id)
      },
      (error: Error) => this.#refuse(id, { code: REASON.quotaExceeded, reason: error.message }),
    )
  }

  #refuse(id: number, outcome: Outcome): void {
    this.#open.delete(id)
    this.#options.pubrec(id, outcome)
    this.#finished(id)
  }

  #finished(id: number): void {
    const waiting = this.#inProgress.get(id) ?? []
    this.#inProgress.delete(id)
    for (const next of waiting) next()
  }
}

const UNKNOWN_ID: Outcome = { code: REASON.packetIdNotFound }

function identifierOf(messageId: number): InboundPublish {
  return { cmd: 'publish', topic: '', payload: NOTHING, qos: 2, retain: false, dup: false, messageId }
}
