import type { Clock, MonotonicMs } from '../kernel/clock.ts'

/** The messages and bytes that a session may send in a second. */
export interface Rates {
  readonly messages: number
  readonly bytes: number
}

/** The burst that may come at once, in seconds of the rate; after a pause up to twice that. */
const BURST_SECONDS = 2
/** A session that is held back is not woken for every single message. */
const MIN_WAIT_MS = 50

/**
 * Two token buckets, messages and bytes. As long as there are tokens a message costs two subtractions and two
 * comparisons; the clock is read when one of them is empty.
 */
export class TokenBuckets {
  readonly #clock: Clock
  readonly #rates: () => Rates
  #messages: number
  #bytes: number
  #filledAt: MonotonicMs

  constructor(clock: Clock, rates: () => Rates) {
    this.#clock = clock
    this.#rates = rates
    const { messages, bytes } = rates()
    this.#messages = messages * BURST_SECONDS
    this.#bytes = bytes * BURST_SECONDS
    this.#filledAt = clock.monotonicMs()
  }

  /** Returns for how many milliseconds nothing more may be read; 0 when there is enough. */
  take(messages: number, bytes: number): number {
    this.#messages -= messages
    this.#bytes -= bytes
    return this.#messages >= 0 && this.#bytes >= 0 ? 0 : this.#refill()
  }

  /** Names the one of the two that is empty. */
  get exhausted(): 'messages' | 'bytes' {
    return this.#messages < 0 ? 'messages' : 'bytes'
  }

  #refill(): number {
    const rates = this.#rates()
    const now = this.#clock.monotonicMs()
    const seconds = (now - this.#filledAt) / 1000
    this.#filledAt = now
    this.#messages = Math.min(rates.messages * BURST_SECONDS, this.#messages + seconds * rates.messages)
    this.#bytes = Math.min(rates.bytes * BURST_SECONDS, this.#bytes + seconds * rates.bytes)
    const lacking = Math.max(-this.#messages / rates.messages, -this.#bytes / rates.bytes)
    return lacking <= 0 ? 0 : Math.max(MIN_WAIT_MS, lacking * 1000)
  }
}
