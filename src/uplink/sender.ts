import type { Announced, UplinkConnection } from './connection.ts'
import type { UplinkOutbox } from './outbox.ts'
import type { UplinkMessage } from './ports.ts'
import type { SetAside } from './set-aside.ts'

/** Messages under way that the other broker has not acknowledged. */
const WINDOW = 64
/** The messages in the outbox at which whoever fills it at leisure waits. */
const ROOM = 256

/** Messages of QoS 0 that nothing has proved to have been read; at half of them it is asked. */
const MAX_UNPROVEN = 256

export interface UplinkSenderEvents {
  /** Nothing waits any more. */
  drained(): void
  refused(topic: string, error: Error): void
}

/** Takes what is in the outbox to the other broker, some at a time, while there is a link. */
export class UplinkSender {
  readonly #outbox: UplinkOutbox
  readonly #setAside: SetAside
  readonly #events: UplinkSenderEvents
  readonly #room: number
  /** Each with its number in the order of sending. */
  readonly #underWay = new Map<UplinkMessage, number>()
  #sentCount = 0
  /** The last message of QoS 0, written since something proved that the other broker reads. */
  #unproven: { readonly message: UplinkMessage; readonly number: number }[] = []
  #proving = false
  #alone: UplinkMessage | undefined
  #link: UplinkConnection | undefined
  #announced: Announced = {}
  #waiting: (() => void)[] = []
  #pumping = false
  published = 0

  constructor(outbox: UplinkOutbox, setAside: SetAside, events: UplinkSenderEvents) {
    this.#outbox = outbox
    this.#setAside = setAside
    this.#events = events
    this.#room = Math.min(ROOM, outbox.maxMessages / 2)
  }

  start(link: UplinkConnection, announced: Announced): void {
    this.#link = link
    this.#announced = announced
    this.#setAside.connected(announced.maxPacketBytes)
    this.pump()
  }

  /** The link is gone; what it had not delivered is in the outbox again, unless it was what ended the link. */
  stop(): void {
    this.#link = undefined
    const sent = [...this.#underWay.keys()]
    const unproven = this.#unproven.map(({ message }) => message)
    const isAside = this.#setAside.lost([...unproven, ...sent], this.#alone)
    if (isAside) this.#outbox.dropped++
    this.#underWay.clear()
    this.#unproven = []
    this.#proving = false
    this.#outbox.putBack(isAside ? sent.filter((message) => message !== this.#alone) : sent)
    this.#alone = undefined
    this.#outbox.disconnected()
    this.#wake()
  }

  pump(): void {
    // What is done at once comes back here, and the loop below goes on anyway.
    if (this.#pumping) return
    this.#pumping = true
    const link = this.#link
    while (link !== undefined && this.#mayGo()) {
      const message = this.#outbox.peek()
      if (message === undefined) break
      const judgement = this.#setAside.judge(message)
      if (judgement === 'alone' && this.#isBusy) {
        this.#prove(link)
        break
      }
      this.#outbox.take()
      if (judgement === 'aside') this.#outbox.dropped++
      else this.#send(link, message, judgement === 'alone')
    }
    this.#pumping = false
    this.#wake()
    if (link !== undefined && this.idle) this.#events.drained()
  }

  #mayGo(): boolean {
    return (
      this.#alone === undefined &&
      this.#underWay.size < Math.min(WINDOW, this.#announced.receiveMaximum ?? WINDOW) &&
      this.#unproven.length < MAX_UNPROVEN
    )
  }

  get #isBusy(): boolean {
    return this.#underWay.size > 0 || this.#unproven.length > 0
  }

  #send(link: UplinkConnection, message: UplinkMessage, alone: boolean): void {
    this.#underWay.set(message, ++this.#sentCount)
    if (alone) this.#alone = message
    link.send(this.#asTaken(message), (error) => this.#sent(link, message, error))
  }

  /** Returns a message as the other broker takes it: it may have said that it keeps nothing, or knows no QoS 1. */
  #asTaken(message: UplinkMessage): UplinkMessage {
    const { maximumQos = 1, retain = true } = this.#announced
    const qos = Math.min(message.qos, maximumQos) as 0 | 1
    return { ...message, qos, retain: message.retain && retain }
  }

  /** An error is a refusal (MQTT 5 has words for it): once more would be refused once more. */
  #sent(link: UplinkConnection, message: UplinkMessage, error: Error | undefined): void {
    if (this.#link !== link) return
    const number = this.#underWay.get(message) ?? 0
    this.#underWay.delete(message)
    if (error !== undefined) {
      this.#outbox.dropped++
      this.#events.refused(message.topic, error)
      if (this.#alone === message) this.#alone = undefined
    } else if (this.#asTaken(message).qos > 0) {
      this.published++
      this.#taken(message)
      // It was read after what was sent before it, and says nothing of what was sent later.
      this.#proveUpTo(number)
    } else {
      this.published++
      this.#unproven.push({ message, number })
      if (this.#alone === message || this.#unproven.length >= MAX_UNPROVEN / 2) this.#prove(link)
    }
    this.pump()
  }

  /** Asks whether what was written at QoS 0 has been read. */
  #prove(link: UplinkConnection): void {
    if (this.#proving || this.#unproven.length === 0) return
    this.#proving = true
    const asked = this.#sentCount
    link.settle(() => {
      if (this.#link !== link) return
      this.#proving = false
      this.#proveUpTo(asked)
      this.pump()
    })
  }

  #proveUpTo(number: number): void {
    for (const { message } of this.#unproven.filter((each) => each.number <= number)) this.#taken(message)
    this.#unproven = this.#unproven.filter((each) => each.number > number)
  }

  #taken(message: UplinkMessage): void {
    this.#setAside.taken(message)
    if (this.#alone === message) this.#alone = undefined
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
