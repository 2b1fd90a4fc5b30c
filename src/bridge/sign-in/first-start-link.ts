import type { Clock, MonotonicMs } from '../../kernel/clock.ts'
import { hashKey, type KeyHash, keyMatches, newKey } from '../../kernel/secrets.ts'

/** The time for which the link of a first start works. */
export const FIRST_START_LINK_MS = 600_000

/**
 * The secret of the link that a first start prints: it sets the password of `admin`, once and within ten minutes. It is
 * in memory only, as a hash, and a restart forgets it.
 */
export class FirstStartLink {
  readonly secret: string
  readonly #hash: KeyHash
  readonly #clock: Clock
  readonly #madeAt: MonotonicMs
  #used = false

  constructor(clock: Clock) {
    this.secret = newKey()
    this.#hash = hashKey(this.secret)
    this.#clock = clock
    this.#madeAt = clock.monotonicMs()
  }

  /** Returns whether this is the secret, in time, the first time. It is used up then. */
  take(secret: string): boolean {
    const late = this.#clock.monotonicMs() - this.#madeAt > FIRST_START_LINK_MS
    if (this.#used || late || !keyMatches(this.#hash, secret)) return false
    this.#used = true
    return true
  }

  /** Nothing was set: the link works again, as long as it would have. */
  giveBack(): void {
    this.#used = false
  }
}
