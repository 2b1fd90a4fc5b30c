import type { UplinkMessage } from './ports.ts'

/** A queue may fill some memory, whatever the number of its messages. */
const MAX_BYTES = 32 * 1024 * 1024
/** The bytes that a message takes beside topic and payload. */
const OVERHEAD_BYTES = 200

/**
 * Keeps what waits for the other broker, in order. Retained messages are conflated: of each topic only the newest
 * waits, in the place of the newest, so that `status` still follows the `state` it was said with. Bounded: the oldest
 * goes first. A retained message that had to go is not lost but owed (`owesRetained`).
 */
export class UplinkOutbox {
  /** Keys are topics of retained messages, and numbers of all others. */
  readonly #messages = new Map<string | number, UplinkMessage>()
  readonly maxMessages: number
  #bytes = 0
  #next = 0
  /** Rises with each message that is given up. */
  dropped = 0
  /** Is true if a retained message was dropped since it was last reset: all must be sent anew. */
  owesRetained = false

  constructor(maxMessages: number) {
    this.maxMessages = maxMessages
  }

  get length(): number {
    return this.#messages.size
  }

  put(message: UplinkMessage): void {
    const key = message.retain ? message.topic : this.#next++
    this.#remove(key)
    this.#messages.set(key, message)
    this.#bytes += sizeOf(message)
    while (this.#messages.size > this.maxMessages || (this.#bytes > MAX_BYTES && this.#messages.size > 1)) {
      this.#dropOldest()
    }
  }

  /** Returns what `take` would give. */
  peek(): UplinkMessage | undefined {
    for (const message of this.#messages.values()) return message
    return undefined
  }

  take(): UplinkMessage | undefined {
    for (const [key, message] of this.#messages) {
      this.#remove(key)
      return message
    }
    return undefined
  }

  /** Puts what was sent and never acknowledged before all else, unless something newer replaces it. */
  putBack(messages: readonly UplinkMessage[]): void {
    const later = [...this.#messages.values()]
    this.#messages.clear()
    this.#bytes = 0
    for (const message of [...messages, ...later]) this.put(message)
  }

  /**
   * The connection is gone. QoS 0 is for who is there now; retained messages will be told anew as they are then.
   * What clears a topic stays, and so does what must arrive.
   */
  disconnected(): void {
    for (const [key, message] of [...this.#messages]) {
      if (outlivesConnection(message)) continue
      this.#remove(key)
      if (!message.retain) this.dropped++
    }
  }

  /** Keeps a message while there is no connection. */
  putAside(message: UplinkMessage): void {
    if (outlivesConnection(message)) this.put(message)
    else if (!message.retain) this.dropped++
  }

  #dropOldest(): void {
    for (const [key, message] of this.#messages) {
      this.#remove(key)
      this.dropped++
      if (message.retain) this.owesRetained = true
      return
    }
  }

  #remove(key: string | number): void {
    const message = this.#messages.get(key)
    if (message === undefined) return
    this.#bytes -= sizeOf(message)
    this.#messages.delete(key)
  }
}

function outlivesConnection({ qos, retain, payload }: UplinkMessage): boolean {
  return retain ? payload.length === 0 : qos > 0
}

function sizeOf(message: UplinkMessage): number {
  return OVERHEAD_BYTES + message.topic.length + message.payload.length
}
