import type { StoredWill, WillStore } from '../../bridge/mqtt-store.ts'
import type { Log } from '../../bridge/ports.ts'
import type { Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { RunningClock } from '../../kernel/running-clock.ts'
import type { Route } from '../ordered-broker.ts'
import type { Will5 } from './connect.ts'

export interface DelayedWillsOptions {
  readonly store: WillStore
  readonly clock: Clock
  /** The clock by which a stored will is due. */
  readonly running: RunningClock
  readonly log: Log
  readonly send: (message: Route) => void
}

interface Waiting {
  readonly will: StoredWill
  /** Ends the wait; undefined while the client is connected. */
  readonly cancel: (() => void) | undefined
}

/** A timer takes at most 2^31 - 1 ms. */
const MAX_TIMER_MS = 2_147_483_647

/**
 * Wills with a delay (MQTT 5, section 3.1.3.2.2): they are on disk before CONNACK, and are sent when their delay is
 * over unless the client is back before, also when the bridge has ended meanwhile.
 */
export class DelayedWills {
  readonly #options: DelayedWillsOptions
  readonly #waiting = new Map<string, Waiting>()

  constructor(options: DelayedWillsOptions) {
    this.#options = options
  }

  /** Reads those of before the start. A client that was connected then has lost its connection now. */
  async load(): Promise<void> {
    const { store, running } = this.#options
    for (const will of await store.loadWills()) {
      const now = running.now()
      const dueAt = will.dueAt ?? now + will.delaySeconds * 1000
      this.#schedule({ ...will, dueAt }, dueAt - now)
      if (will.dueAt === null) this.#orLog(store.putWill({ ...will, dueAt }))
    }
  }

  /** The client connects with such a will. Resolves when it is on disk; rejects when it cannot be. */
  async keep(
    clientId: string,
    { topic, payload, qos, retain, properties }: Will5,
    seconds: number,
  ): Promise<void> {
    const { forwarded, messageExpiry } = properties
    const extra = JSON.stringify({ properties: forwarded.toString('base64'), messageExpiry })
    // The bytes are a part of what came from the socket, which nobody keeps.
    const own = Buffer.from(payload)
    const will = { clientId, topic, payload: own, qos, retain, extra, delaySeconds: seconds, dueAt: null }
    this.#forget(clientId)
    this.#waiting.set(clientId, { will, cancel: undefined })
    const { store } = this.#options
    // Without room it lives as long as the process: a full database keeps nobody out.
    await (store.hasRoom(own.length) ? store.putWill(will) : store.deleteWill(clientId))
  }

  /** The connection of a client has ended without a goodbye, or with one that leaves the will. */
  left(clientId: string): void {
    const waiting = this.#waiting.get(clientId)
    if (waiting === undefined || waiting.cancel !== undefined) return
    const { will } = waiting
    const { running, store } = this.#options
    const dueAt = running.now() + will.delaySeconds * 1000
    this.#schedule({ ...will, dueAt }, will.delaySeconds * 1000)
    if (store.hasRoom(will.payload.length)) this.#orLog(store.putWill({ ...will, dueAt }))
  }

  /** The client is back in time, or has said goodbye. */
  cancel(clientId: string): void {
    if (this.#forget(clientId)) this.#orLog(this.#options.store.deleteWill(clientId))
  }

  /** The session of the client ends before the delay does: the will is sent at once. */
  sessionEnds(clientId: string): void {
    const waiting = this.#waiting.get(clientId)
    if (waiting?.cancel !== undefined) this.#send(waiting.will)
  }

  stop(): void {
    for (const { cancel } of this.#waiting.values()) cancel?.()
    this.#waiting.clear()
  }

  #schedule(will: StoredWill, ms: number): void {
    this.#forget(will.clientId)
    const wait = Math.min(Math.max(0, ms), MAX_TIMER_MS)
    const cancel = this.#options.clock.after(wait, () => {
      if (ms > MAX_TIMER_MS) this.#schedule(will, ms - MAX_TIMER_MS)
      else this.#send(will)
    })
    this.#waiting.set(will.clientId, { will, cancel })
  }

  #send(will: StoredWill): void {
    const { clientId, topic, payload, qos, retain, extra } = will
    this.cancel(clientId)
    const { properties = '', messageExpiry } = JSON.parse(extra ?? '{}') as {
      properties?: string
      messageExpiry?: number
    }
    this.#options.send({
      topic,
      payload,
      qos,
      retain,
      from: clientId,
      properties: properties === '' ? undefined : Buffer.from(properties, 'base64'),
      expiresAt:
        messageExpiry === undefined ? undefined : this.#options.running.steady.now() + messageExpiry * 1000,
    })
  }

  #forget(clientId: string): boolean {
    this.#waiting.get(clientId)?.cancel?.()
    return this.#waiting.delete(clientId)
  }

  #orLog(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#options.log.warn(
        { error: messageOf(error) },
        'a will could not be noted; it may be sent twice, or not',
      )
    })
  }
}
