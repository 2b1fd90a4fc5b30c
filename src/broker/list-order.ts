import type { Duplex } from 'node:stream'

export interface ListOrderOptions {
  readonly conn: Duplex
  /** Goes on with what was read already. */
  readonly resume: () => void
  /** Returns whether the reader of `conn` waits for more, and must be told that there is. */
  readonly isIdle: () => boolean
}

type List = 'subscribe' | 'unsubscribe'

/**
 * The order of SUBSCRIBE and UNSUBSCRIBE. Aedes works at all packets that it has read at once, and each of these may
 * wait for the store: a SUBSCRIBE that overtakes an UNSUBSCRIBE of the same filter is undone by it. So one kind waits
 * until the other is answered, and nothing is read meanwhile.
 */
export class ListOrder {
  readonly #options: ListOrderOptions
  readonly #underWay = { subscribe: 0, unsubscribe: 0 }
  #waiting = false

  constructor(options: ListOrderOptions) {
    this.#options = options
    const { conn } = options
    const read = conn.read
    conn.read = (size?: number) => {
      // Streams look at themselves with a size of 0; one that flows is that of a session that is over, and is dropped.
      const isHeld = this.#waiting && size !== 0 && conn.readableFlowing !== true
      return isHeld ? null : read.call(conn, size)
    }
  }

  get isWaiting(): boolean {
    return this.#waiting
  }

  /** A packet of this kind is next; false when it must wait. */
  mayGo(list: List): boolean {
    this.#waiting = this.#underWay[list === 'subscribe' ? 'unsubscribe' : 'subscribe'] > 0
    if (!this.#waiting) this.#underWay[list]++
    return !this.#waiting
  }

  /** It is answered. */
  answered(list: List): void {
    if (this.#underWay[list] > 0) this.#underWay[list]--
    if (!this.#waiting || this.#underWay[list] > 0) return
    this.#waiting = false
    const { conn, resume, isIdle } = this.#options
    resume()
    if (!this.#waiting && isIdle()) conn.emit('readable')
  }
}
