import { Refusal } from '../../kernel/errors.ts'
import { refusalOf } from './answers.ts'
import type { InvocationLog } from './log.ts'
import type { InvocationWish, InvokeAnswer } from './open-invocation.ts'

interface Keyed {
  readonly fingerprint: string | undefined
  readonly answer: Promise<InvokeAnswer>
}

interface FirstUse {
  readonly run: () => Promise<InvokeAnswer>
  /** Puts on record that the key was used for another invocation. */
  readonly otherInvocation: () => Refusal
  /** The invocation is under way, and is asked for again. */
  readonly again: () => void
}

/** The same idempotency key of a principal gives the same answer: of the invocation under way, or of the stored one. */
export class KeyedInvocations {
  readonly #log: InvocationLog
  /** Invocations by principal and key, until their answer is stored. */
  readonly #underWay = new Map<string, Map<string, Keyed>>()

  constructor(log: InvocationLog) {
    this.#log = log
  }

  /** @throws what `otherInvocation` makes when the key was used for another invocation. */
  async once(wish: InvocationWish, key: string, principal: string, first: FirstUse): Promise<InvokeAnswer> {
    const known = this.#underWay.get(principal)?.get(key)
    if (known) {
      if (known.fingerprint !== wish.fingerprint) throw first.otherInvocation()
      first.again()
      return known.answer
    }
    return this.goesOn(wish, key, principal, this.#storedOr(wish, key, principal, first))
  }

  /** Gives this answer to whoever asks again with the key meanwhile. */
  async goesOn(
    wish: InvocationWish,
    key: string,
    principal: string,
    answer: Promise<InvokeAnswer>,
  ): Promise<InvokeAnswer> {
    const own = this.#underWay.get(principal) ?? new Map<string, Keyed>()
    own.set(key, { fingerprint: wish.fingerprint, answer })
    this.#underWay.set(principal, own)
    try {
      return await answer
    } finally {
      own.delete(key)
      if (own.size === 0 && this.#underWay.get(principal) === own) this.#underWay.delete(principal)
    }
  }

  /** The principal is no more: another one of the same name has other keys. */
  forget(principal: string): void {
    this.#underWay.delete(principal)
  }

  async #storedOr(
    wish: InvocationWish,
    key: string,
    principal: string,
    { run, otherInvocation }: FirstUse,
  ): Promise<InvokeAnswer> {
    const found = await this.#log.byKey(principal, key)
    if (!found) return run()
    const { record, answer } = found
    if ((record.fingerprint ?? undefined) !== wish.fingerprint) throw otherInvocation()
    if (record.error) throw refusalOf(record.error)
    if (answer !== undefined) return JSON.parse(answer) as InvokeAnswer
    throw new Refusal(
      'internal',
      'the first invocation with this key ran, but its answer is not kept (invocation.maxAnswerBytesPerPrincipal, a full disk); use invocation/get',
    )
  }
}
