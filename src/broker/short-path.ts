import type { Inbound, Session } from '../bridge/ports.ts'

/**
 * The main path: a heartbeat of a limb at QoS 0 or 1 is recognised by its bytes and ends here; it reaches
 * neither the parser nor Aedes, which would cost half as much again. A bucket of tokens belongs here too.
 */
export class ShortPath {
  readonly topic: string
  readonly #bytes: Buffer
  readonly #inbound: Inbound

  constructor(topic: string, inbound: Inbound) {
    this.topic = topic
    this.#bytes = Buffer.from(topic)
    this.#inbound = inbound
  }

  /** Whether a PUBLISH that passed its checks is a heartbeat at QoS 0 or 1. */
  matches(first: number, bytes: Buffer, body: number): boolean {
    const { length } = this.#bytes
    return (
      bytes[body + 1] === (length & 0xff) &&
      bytes[body] === length >> 8 &&
      (first & 0x04) === 0 &&
      bytes.compare(this.#bytes, 0, length, body + 2, body + 2 + length) === 0
    )
  }

  /** Hands the heartbeat to the core; returns where its packet identifier stands, 0 at QoS 0. */
  take(session: Session, first: number, bytes: Buffer, body: number, end: number): number {
    const afterTopic = body + 2 + this.#bytes.length
    const acknowledged = (first & 0x06) > 0
    this.#inbound.heartbeat(session, bytes.subarray(acknowledged ? afterTopic + 2 : afterTopic, end))
    return acknowledged ? afterTopic : 0
  }
}
