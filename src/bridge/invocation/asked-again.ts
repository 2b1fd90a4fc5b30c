import { Refusal } from '../../kernel/errors.ts'
import type { VerbCaller } from '../verb-context.ts'

/** The requests that wait for the answer of an invocation under way: of one principal, and of all. */
const MAX_OF_PRINCIPAL = 64
const MAX_OF_ALL = 1000

export interface Asker {
  /** The invocation has ended. */
  readonly goOn: () => void
}

interface Waiting extends Asker {
  readonly caller: VerbCaller
  readonly askers: Set<Asker>
  readonly giveUp: (error: Refusal) => void
}

/**
 * Requests that ask again, with its idempotency key, for an invocation that is under way. It may be so for a week, and each of
 * them keeps its session, even one that is gone.
 */
export class AskedAgain {
  readonly #ofPrincipal = new Map<string, Set<Waiting>>()
  #ofAll = 0

  /**
   * Adds the caller to the askers of an invocation. The result resolves when that has ended, and rejects when the caller is
   * gone and another one wants its place. @throws Refusal `too_many_requests`
   */
  enter(caller: VerbCaller, askers: Set<Asker>): Promise<void> {
    const own = this.#ofPrincipal.get(caller.name) ?? new Set<Waiting>()
    if (own.size >= MAX_OF_PRINCIPAL) this.#makeRoom(own)
    if (this.#ofAll >= MAX_OF_ALL) for (const each of this.#ofPrincipal.values()) this.#makeRoom(each)
    if (own.size >= MAX_OF_PRINCIPAL || this.#ofAll >= MAX_OF_ALL) throw askAgain()
    this.#ofPrincipal.set(caller.name, own)
    return new Promise<void>((resolve, reject) => {
      const leave = () => this.#leave(own, waiting)
      const waiting: Waiting = {
        caller,
        askers,
        goOn: () => {
          leave()
          resolve()
        },
        giveUp: (error) => {
          leave()
          reject(error)
        },
      }
      own.add(waiting)
      askers.add(waiting)
      this.#ofAll++
    })
  }

  /** Gives up those of a principal who are gone. */
  #makeRoom(ofOne: Set<Waiting>): void {
    for (const { caller, giveUp } of ofOne) if (!caller.alive()) giveUp(askAgain())
  }

  #leave(own: Set<Waiting>, waiting: Waiting): void {
    if (!own.delete(waiting)) return
    waiting.askers.delete(waiting)
    this.#ofAll--
    const { name } = waiting.caller
    if (own.size === 0 && this.#ofPrincipal.get(name) === own) this.#ofPrincipal.delete(name)
  }
}

/** The refusal of a request that is not kept waiting for the answer of an invocation under way. */
export function askAgain(): Refusal {
  return new Refusal(
    'too_many_requests',
    'too many requests ask for the answers of invocations that are under way; ask again with the same key later',
  )
}
