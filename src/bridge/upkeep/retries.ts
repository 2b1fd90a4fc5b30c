import { messageOf, Refusal } from '../../kernel/errors.ts'
import type { Log } from '../ports.ts'

/**
 * The number of works that are remembered of a store that was full for long; a name that is revoked twice counts
 * once.
 */
const MAX_LEFTOVERS = 10_000

/**
 * Does what follows a decision that is on disk already: stored sessions and retained data of who is no more. When the
 * disk fails in between, the decision stands and its answer says so; what is left is tried again until it works.
 */
export class Retries {
  readonly #log: Log
  readonly #waiting = new Map<string, () => Promise<void>>()

  constructor(log: Log) {
    this.#log = log
  }

  get size(): number {
    return this.#waiting.size
  }

  /** Never rejects for a store that is unavailable. `what` names the work, in the log and among those that wait. */
  async run(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
      this.#waiting.delete(what)
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== 'storage_unavailable') throw error
      if (!this.#waiting.has(what))
        this.#log.warn({ error: messageOf(error) }, `${what}: not yet; it is tried again`)
      if (this.#waiting.size < MAX_LEFTOVERS) this.#waiting.set(what, work)
    }
  }

  /** Tries again, in order, until one fails. */
  async retry(): Promise<void> {
    for (const [what, work] of this.#waiting) {
      await this.run(what, work)
      if (this.#waiting.has(what)) return
    }
  }
}
