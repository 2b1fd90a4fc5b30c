import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Clock } from '../kernel/clock.ts'
import { within } from '../kernel/semaphore.ts'
import { onceOver } from './once-over.ts'

/** The time that a server which closes has for the answers that are due. */
const WRITTEN_MS = 250

/** The answers that are due and not written yet: a server that closes would cut their connections. */
export class DueAnswers {
  readonly #clock: Clock
  readonly #open = new Set<Promise<void>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts the answer to a request until it is written, or its client has gone. */
  enter(request: FastifyRequest, reply: FastifyReply): void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#open.add(promise)
    onceOver(request, reply, () => {
      this.#open.delete(promise)
      resolve()
    })
  }

  /** Resolves when the answers that are due now are written, or their time is up. */
  async written(): Promise<void> {
    await within(this.#clock, WRITTEN_MS, Promise.all(this.#open))
  }
}
