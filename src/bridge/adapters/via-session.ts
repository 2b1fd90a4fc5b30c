import type { Identity, Session, SessionEnd } from '../ports.ts'

/**
 * Stands for a device behind the session of another limb: to the use cases a session like any other. It lives as long
 * as that session does. What is said on `pairing` nobody hears: the device speaks another language.
 */
export class ViaSession implements Session {
  identity: Identity
  readonly clientId = 'via'
  readonly address: string
  readonly #gateway: Session
  readonly #onEnd: (why: SessionEnd) => void
  #ended = false

  constructor(identity: Identity, gateway: Session, onEnd: (why: SessionEnd) => void) {
    this.identity = identity
    this.address = gateway.address
    this.#gateway = gateway
    this.#onEnd = onEnd
  }

  get alive(): boolean {
    return !this.#ended && this.#gateway.alive
  }

  get version(): string | undefined {
    return this.#gateway.version
  }

  subscribedTo(topic: string): boolean {
    return this.#gateway.subscribedTo(topic)
  }

  /** Answers of the pairing are taken and dropped, so that none of them waits for a subscription. */
  send(): boolean {
    return true
  }

  end(why: SessionEnd): void {
    if (this.#ended) return
    this.#ended = true
    this.#onEnd(why)
  }
}
