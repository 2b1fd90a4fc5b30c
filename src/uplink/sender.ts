import type { UplinkConnection } from './connection.ts'
import type { UplinkOutbox } from './outbox.ts'
import type { UplinkMessage } from './ports.ts'

/** Messages under way that the other broker has not acknowledged. */
const WINDOW = 64
/** Who fills the outbox at leisure waits while this many are in it. */
const ROOM = 256

export interface UplinkSenderEvents {
  /** Nothing waits any more. */
  drained(): void
  refused(topic: string, error: Error): void
}

/** Takes what is in the outbox to the other broker, some at a time, while there is a link. */
export class UplinkSender {
  readonly #outbox: UplinkOutbox
  readonly #events: UplinkSenderEvents
  readonly #room: number
  readonly #underWay = new Set<UplinkMessage>()
  #link: UplinkConnection | undefined
  #waiting: (() => void)[] = []
  #pumping = false
  published = 0

  constructor(outbox: UplinkOutbox, events: UplinkSenderEvents) {
    this.#outbox = outbox
    this.#events = events
    this.#room = Math.min(ROOM, outbox.maxMessages / 2)
  }

  start(link: UplinkConnection): void {
    this.#link = link
    this.pump()
  }

  /** The link is gone; what it had not delivered is in the outbox again. */
  stop(): void {
    this.#link = undefined
    const sent = [...this.#underWay]
    this.#underWay.clear()
    this.#outbox.putBack(sent)
    this.#outbox.disconnected()
    this.#wake()
  }

  pump(): void {
    // What is done at once comes back here, and the loop below goes on anyway.
    if (this.#pumping) return
    this.#pumping = true
    const link = this.#link
    while (link !== undefined && this.#underWay.size < WINDOW) {
      const message = this.#outbox.take()
      if (message === undefined) break
      this.#underWay.add(message)
      link.send(message, (error) => this.#sent(link, message, error))
    }
    this.#pumping = false
    this.#wake()
    if (link !== undefined && this.idle) this.#events.drained()
  }

  /** An error is a refusal (MQTT 5 has words for it): once more would be refused once more. */
  #sent(link: UplinkConnection, message: UplinkMessage, error: Error | undefined): void {
    if (this.#link !== link) return
    this.#underWay.delete(message)
    if (error === undefined) this.published++
    else {
      this.#outbox.dropped++
      this.#events.refused(message.topic, error)
    }
    this.pump()
  }

  get idle(): boolean {
    return this.#outbox.length === 0 && this.#underWay.size === 0
  }

  /** Resolves when there is room, or no link any more. */
  async room(): Promise<void> {
    while (this.#link !== undefined && this.#outbox.length >= this.#room) await this.#change()
  }

  /** Resolves when everything is delivered, or there is no link any more. */
  async delivered(): Promise<void> {
    while (this.#link !== undefined && !this.idle) await this.#change()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resume of waiting) resume()
  }
}
