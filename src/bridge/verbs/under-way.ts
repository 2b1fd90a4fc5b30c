import type { Clock } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { within } from '../../kernel/semaphore.ts'
import type { Log, Store } from '../ports.ts'

/** The time that a stop has for the requests under way, and then the time for those that are on their way to the disk. */
const FINISH_MS = 500
const STORED_MS = 250

/**
 * The requests that have begun and are not answered. A stop waits for them, while those who asked are there: some answers show a
 * secret that nobody is shown again, and none is made whose answer would come too late.
 */
export class RequestsUnderWay {
  readonly #clock: Clock
  readonly #log: Log
  readonly #answers = new Set<Promise<void>>()
  #isStopping = false
  #isTimeUp = false

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = clock
    this.#log = log
  }

  /** Shows whether the bridge stops: no request begins any more, and those under way wait for no turns. */
  get isStopping(): boolean {
    return this.#isStopping
  }

  /** Counts a request until it is answered. */
  async follow(answered: Promise<void>): Promise<void> {
    this.#answers.add(answered)
    try {
      await answered
    } finally {
      this.#answers.delete(answered)
    }
  }

  /** @throws Refusal `storage_unavailable` when the bridge stops: nothing has begun. */
  check(): void {
    if (this.#isStopping) throw stops('it takes no requests any more')
  }

  /** Returns the store as the handlers of verbs have it: nothing is stored whose answer would come too late. */
  storeOf(store: Store): Store {
    return {
      ...store,
      transact: async (work) => {
        if (this.#isTimeUp) throw stops('nothing was changed')
        return await store.transact(work)
      },
    }
  }

  /** Ends: no request begins any more. Resolves when all are answered and `taken` has resolved, or their time is up. */
  async finish(taken: () => Promise<void>): Promise<void> {
    this.#isStopping = true
    const finished = (async () => {
      await Promise.allSettled(this.#answers)
      await taken()
      return true
    })()
    if (await within(this.#clock, FINISH_MS, finished)) return
    this.#isTimeUp = true
    if (await within(this.#clock, STORED_MS, finished)) return
    const unanswered = this.#answers.size
    const text = 'the bridge stops before all requests are answered, or all answers are read'
    this.#log.warn({ unanswered }, text)
  }
}

function stops(what: string): Refusal {
  return new Refusal('storage_unavailable', `the bridge is stopping, and ${what}; ask again when it is back`)
}
