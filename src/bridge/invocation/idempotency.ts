import { Refusal } from '../../kernel/errors.ts'
import type { VerbCaller } from '../verb-context.ts'
import { refusalOf } from './answers.ts'
import { AskedAgain, type Asker, askAgain } from './asked-again.ts'
import type { InvocationLog } from './log.ts'
import type { InvocationWish, InvokeAnswer } from './open-invocation.ts'

/** An invocation whose answer is not stored yet. Nothing here keeps the answer: whoever asked again reads it from the store. */
interface Keyed {
  readonly fingerprint: string | undefined
  readonly askers: Set<Asker>
  /** The error that it ended with. */
  failed: { readonly error: unknown } | undefined
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
  readonly #log: Pick<InvocationLog, 'byKey'>
  /** Invocations by principal and key, until their answer is stored. */
  readonly #underWay = new Map<string, Map<string, Keyed>>()
  readonly #asking = new AskedAgain()

  constructor(log: Pick<InvocationLog, 'byKey'>) {
    this.#log = log
  }

  /** @throws what `otherInvocation` makes when the key was used for another invocation. */
  async once(wish: InvocationWish, key: string, caller: VerbCaller, first: FirstUse): Promise<InvokeAnswer> {
    const known = this.#underWay.get(caller.name)?.get(key)
    if (known === undefined) {
      return this.goesOn(wish, key, caller.name, this.#storedOr(wish, key, caller.name, first))
    }
    if (known.fingerprint !== wish.fingerprint) throw first.otherInvocation()
    const ended = this.#asking.enter(caller, known.askers)
    first.again()
    await ended
    // Hundreds may have waited, and each would have a copy of the answer at the same moment.
    const isItsTurn = await caller.turn?.()
    if (known.failed !== undefined) throw known.failed.error
    if (isItsTurn === false) throw askAgain()
    return this.#storedOr(wish, key, caller.name, { ...first, run: () => Promise.reject(notKept()) })
  }

  /** Tells whoever asks again with the key meanwhile when this answer is stored. */
  async goesOn(
    wish: InvocationWish,
    key: string,
    principal: string,
    answer: Promise<InvokeAnswer>,
  ): Promise<InvokeAnswer> {
    const own = this.#underWay.get(principal) ?? new Map<string, Keyed>()
    const keyed: Keyed = { fingerprint: wish.fingerprint, askers: new Set(), failed: undefined }
    own.set(key, keyed)
    this.#underWay.set(principal, own)
    try {
      return await answer
    } catch (error) {
      keyed.failed = { error }
      throw error
    } finally {
      own.delete(key)
      if (own.size === 0 && this.#underWay.get(principal) === own) this.#underWay.delete(principal)
      for (const { goOn } of keyed.askers) goOn()
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
    throw notKept()
  }
}

function notKept(): Refusal {
  return new Refusal(
    'internal',
    'the first invocation with this key ran, but its answer is not kept (invocation.maxAnswerBytesPerPrincipal, a full disk); use invocation/get',
  )
}
