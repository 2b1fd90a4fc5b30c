import { LazyMap } from '../kernel/lazy-collections.ts'

/**
 * Keeps what one session was sent at QoS 1 and 2 and has not finished acknowledging, by packet identifier. It numbers
 * outgoing messages without using one twice [MQTT-2.3.1-4], and knows which answer each of them waits for.
 */

export const PUBACK = 4
export const PUBREC = 5
export const PUBCOMP = 7

type Answer = typeof PUBACK | typeof PUBREC | typeof PUBCOMP

const MAX_ID = 65_535

export class PacketIds {
  /** The answer that would go on with each. */
  readonly #open = new LazyMap<number, Answer>()
  #next = 1
  readonly #ended: (id: number) => void

  /** `ended`: is called with each identifier whose handshake is over. */
  constructor(ended: (id: number) => void = () => undefined) {
    this.#ended = ended
  }

  get size(): number {
    return this.#open.size
  }

  /** Iterates over the identifiers in the order in which their messages were sent. */
  ids(): IterableIterator<number> {
    return this.#open.keys()
  }

  /** A message is sent again: it comes after all that were sent before. */
  again(id: number): void {
    const answer = this.#open.get(id)
    if (answer === undefined || !this.#open.delete(id)) return
    this.#open.set(id, answer)
  }

  has(id: number): boolean {
    return this.#open.has(id)
  }

  /** A free identifier, for a message at this QoS. The window and the queues are far below their number. */
  begin(qos: 1 | 2): number {
    while (this.#open.has(this.#next)) this.#advance()
    const id = this.#next
    this.#advance()
    this.expect(id, qos)
    return id
  }

  /** A message that has its identifier from an earlier connection, or whose QoS has changed. */
  expect(id: number, qos: 1 | 2): void {
    this.#open.set(id, qos === 1 ? PUBACK : PUBREC)
  }

  /** PUBREC came on an earlier connection. */
  expectPubcomp(id: number): void {
    this.#open.set(id, PUBCOMP)
  }

  forget(id: number): void {
    if (this.#open.delete(id)) this.#ended(id)
  }

  /** PUBREC came: what is left is PUBREL. */
  isReleased(id: number): boolean {
    return this.#open.get(id) === PUBCOMP
  }

  /**
   * An answer came. False when it is none that the message with this identifier can have. An identifier that
   * is not known is no fault: the answer may belong to a message that was dropped, and PUBREC is answered
   * whatever it is for.
   */
  answered(type: number, id: number): boolean {
    const expected = this.#open.get(id)
    if (expected === undefined) return true
    if (type === PUBREC) {
      if (expected === PUBREC) this.#open.set(id, PUBCOMP)
      return expected !== PUBACK
    }
    if (type !== expected) return false
    this.forget(id)
    return true
  }

  #advance(): void {
    this.#next = this.#next >= MAX_ID ? 1 : this.#next + 1
  }
}
