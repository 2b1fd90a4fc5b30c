import type { Letter } from './ports.ts'

/** A queue may fill some memory, whatever the number of its messages. */
const MAX_BYTES = 32 * 1024 * 1024
/** What a message takes beside topic and payload. */
const OVERHEAD_BYTES = 200

/**
 * What waits for the other broker, in order. Retained messages are conflated: of each topic only the newest
 * waits, in the place of the newest, so that `status` still follows the `state` it was said with. Bounded: the
 * oldest goes first. A retained message that had to go is not lost but owed (`owesRetained`).
 */
export class Outbox {
  /** Keys are topics of retained messages, and numbers of all others. */
  readonly #letters = new Map<string | number, Letter>()
  readonly maxMessages: number
  #bytes = 0
  #next = 0
  /** Rises with each message that is given up. */
  dropped = 0
  /** Since it was last reset a retained message was dropped: all must be told anew. */
  owesRetained = false

  constructor(maxMessages: number) {
    this.maxMessages = maxMessages
  }

  get length(): number {
    return this.#letters.size
  }

  put(letter: Letter): void {
    const key = letter.retain ? letter.topic : this.#next++
    this.#remove(key)
    this.#letters.set(key, letter)
    this.#bytes += sizeOf(letter)
    while (this.#letters.size > this.maxMessages || (this.#bytes > MAX_BYTES && this.#letters.size > 1)) {
      this.#dropOldest()
    }
  }

  take(): Letter | undefined {
    for (const [key, letter] of this.#letters) {
      this.#remove(key)
      return letter
    }
    return undefined
  }

  /** What was sent and never acknowledged goes before all else, unless something newer replaces it. */
  putBack(letters: readonly Letter[]): void {
    const later = [...this.#letters.values()]
    this.#letters.clear()
    this.#bytes = 0
    for (const letter of [...letters, ...later]) this.put(letter)
  }

  /**
   * The connection is gone. QoS 0 is for who is there now; retained messages will be told anew as they are then.
   * What clears a topic stays, and so does what must arrive.
   */
  disconnected(): void {
    for (const [key, letter] of [...this.#letters]) {
      if (outlivesConnection(letter)) continue
      this.#remove(key)
      if (!letter.retain) this.dropped++
    }
  }

  /** While there is no connection. */
  putAside(letter: Letter): void {
    if (outlivesConnection(letter)) this.put(letter)
    else if (!letter.retain) this.dropped++
  }

  #dropOldest(): void {
    for (const [key, letter] of this.#letters) {
      this.#remove(key)
      this.dropped++
      if (letter.retain) this.owesRetained = true
      return
    }
  }

  #remove(key: string | number): void {
    const letter = this.#letters.get(key)
    if (letter === undefined) return
    this.#bytes -= sizeOf(letter)
    this.#letters.delete(key)
  }
}

function outlivesConnection({ qos, retain, payload }: Letter): boolean {
  return retain ? payload.length === 0 : qos > 0
}

function sizeOf(letter: Letter): number {
  return OVERHEAD_BYTES + letter.topic.length + letter.payload.length
}
