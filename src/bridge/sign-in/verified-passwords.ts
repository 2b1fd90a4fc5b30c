import { createHmac, randomBytes } from 'node:crypto'
import { putNewest } from '../../kernel/newest.ts'

/** A password as this process knows it again: a digest with a key that only this process has. */
export type PasswordDigest = string

/** Names whose password is known again; beyond, the one that signed in longest ago is hashed anew. */
const MAX_NAMES = 10_000

/**
 * Knows passwords again that were verified since the start, so that the same one costs no hash the next time. It keeps
 * no password: a digest for each name, keyed with random bytes that are never written anywhere.
 */
export class VerifiedPasswords {
  readonly #key = randomBytes(32)
  readonly #max: number
  /** The name that signed in longest ago comes first. */
  readonly #byName = new Map<string, PasswordDigest>()

  constructor(max = MAX_NAMES) {
    this.#max = max
  }

  get size(): number {
    return this.#byName.size
  }

  /** The stored hash is part of it: with another password of the principal no older digest counts. */
  digest(name: string, passwordHash: string, password: string): PasswordDigest {
    const parts = JSON.stringify([name, passwordHash, password.normalize('NFC')])
    return createHmac('sha256', this.#key).update(parts).digest('base64')
  }

  /** Equal digests mean equal passwords; they are no secret to whom they are compared for, so time tells nothing. */
  has(name: string, digest: PasswordDigest): boolean {
    return this.#byName.get(name) === digest
  }

  add(name: string, digest: PasswordDigest): void {
    putNewest(this.#byName, name, digest, this.#max)
  }

  /** The principal has another password, or is gone. */
  forget(name: string): void {
    this.#byName.delete(name)
  }
}
