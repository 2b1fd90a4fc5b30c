import { addressGroup } from '../../kernel/address.ts'
import { passwordMatches } from '../../kernel/secrets.ts'
import { FairQueue } from './fair-queue.ts'
import type { PasswordDigest, VerifiedPasswords } from './verified-passwords.ts'

/** Hashes computed at once: each takes some 32 MiB for some 60 ms of a core. */
const MAX_HASHING = 2
/** Different passwords that may wait for their hash; how long they may wait is the bound of the sign-in. */
const MAX_WAITING = 256

/** `gone`: nobody is there any more who wants to know. `busy`: too many wait. */
export type PasswordOutcome = 'right' | 'wrong' | 'gone' | 'busy'

export interface PasswordCheck {
  readonly name: string
  readonly passwordHash: string
  readonly password: string
  readonly address: string
  readonly isGone: () => boolean
}

interface Hashing {
  readonly check: PasswordCheck
  readonly digest: PasswordDigest
  /** Functions of each who waits for it, which return whether its client has gone. */
  readonly waiting: (() => boolean)[]
  readonly settle: (outcome: PasswordOutcome) => void
  readonly fail: (error: unknown) => void
  readonly outcome: Promise<PasswordOutcome>
}

/**
 * Verifies passwords of principals, with as few hashes as can be: none for one that was just verified, one for all
 * who wait with the same, none when all of them have gone. Addresses take turns, so that a crowd at one of them does
 * not keep others out.
 */
export class PasswordChecks {
  readonly #verified: VerifiedPasswords
  readonly #matches: typeof passwordMatches
  readonly #queue = new FairQueue<Hashing>(
    MAX_WAITING,
    ({ waiting }) => waiting.every((isGone) => isGone()),
    (hashing, why) => this.#end(hashing, why === 'full' ? 'busy' : 'gone'),
  )
  /** The checks that wait or are computed, by their digest. */
  readonly #underWay = new Map<PasswordDigest, Hashing>()
  #running = 0

  constructor(verified: VerifiedPasswords, matches = passwordMatches) {
    this.#verified = verified
    this.#matches = matches
  }

  async check(check: PasswordCheck): Promise<PasswordOutcome> {
    const { name, passwordHash, password, isGone } = check
    const digest = this.#verified.digest(name, passwordHash, password)
    if (this.#verified.has(name, digest)) return 'right'
    const joined = this.#underWay.get(digest)
    if (joined !== undefined) {
      joined.waiting.push(isGone)
      return await joined.outcome
    }
    const hashing = newHashing(check, digest)
    this.#underWay.set(digest, hashing)
    this.#queue.push(addressGroup(check.address), hashing)
    this.#next()
    return await hashing.outcome
  }

  #next(): void {
    while (this.#running < MAX_HASHING) {
      const hashing = this.#queue.next()
      if (hashing === undefined) return
      this.#running++
      void this.#compute(hashing).finally(() => {
        this.#running--
        this.#next()
      })
    }
  }

  async #compute(hashing: Hashing): Promise<void> {
    const { name, passwordHash, password } = hashing.check
    try {
      const right = await this.#matches(passwordHash, password)
      if (right) this.#verified.add(name, hashing.digest)
      this.#end(hashing, right ? 'right' : 'wrong')
    } catch (error) {
      this.#underWay.delete(hashing.digest)
      hashing.fail(error)
    }
  }

  #end(hashing: Hashing, outcome: PasswordOutcome): void {
    this.#underWay.delete(hashing.digest)
    hashing.settle(outcome)
  }
}

function newHashing(check: PasswordCheck, digest: PasswordDigest): Hashing {
  const { promise, resolve, reject } = Promise.withResolvers<PasswordOutcome>()
  return { check, digest, waiting: [check.isGone], settle: resolve, fail: reject, outcome: promise }
}
