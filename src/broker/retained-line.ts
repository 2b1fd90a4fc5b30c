import { Semaphore } from '../kernel/semaphore.ts'

/** Says for which SUBSCRIBE something retained is sent. */
export interface RetainedFor {
  /** The number of the live message before it; see LiveMeanwhile. */
  readonly since: number
  /** The identifier of the subscription, for clients that speak MQTT 5. */
  readonly identifiers: readonly number[] | undefined
}

export interface RetainedWish {
  readonly filters: readonly string[]
  readonly asked: RetainedFor
  /** Returns whether the session is still subscribed. */
  readonly isSubscribed: (filter: string) => boolean
  readonly send: (filters: readonly string[], asked: RetainedFor) => Promise<void>
}

interface Batch {
  readonly filters: Set<string>
  asked: RetainedFor
  /** The number of filters at which those are left out that ended meanwhile. */
  pruneAt: number
}

/** The memory of the SUBSCRIBEs of a session that wait; each filter counts for some bytes more. */
const MAX_WAITING_BYTES = 128 * 1024
const FILTER_BYTES = 64
const LEAST_PRUNED = 1024

/**
 * The SUBSCRIBEs of one session whose retained messages are sent, one after the other: a session has one place in the line of
 * all, however many it sends. Each of them is answered before that, so one that takes nothing could send any number: beyond
 * a bound they join the last one that waits, which has each filter once.
 */
export class RetainedLine {
  readonly #one = new Semaphore(1, Number.POSITIVE_INFINITY)
  /** The one behind all others, while it waits. */
  #last: Batch | undefined
  #bytes = 0

  /** Resolves when it was sent, or has joined another one. */
  async run(wish: RetainedWish): Promise<void> {
    const { filters, asked, send } = wish
    const bytes = filters.reduce((sum, filter) => sum + filter.length + FILTER_BYTES, 0)
    if (this.#last !== undefined && this.#bytes + bytes > MAX_WAITING_BYTES) {
      join(this.#last, wish)
      return
    }
    const batch: Batch = { filters: new Set(filters), asked, pruneAt: LEAST_PRUNED }
    this.#last = batch
    this.#bytes += bytes
    await this.#one.run(async () => {
      if (this.#last === batch) this.#last = undefined
      this.#bytes -= bytes
      await send([...batch.filters], batch.asked)
    })
  }
}

/** Adds a SUBSCRIBE to one that waits: what came live between them may be sent once more. */
function join(batch: Batch, { filters, asked, isSubscribed }: RetainedWish): void {
  for (const filter of filters) batch.filters.add(filter)
  batch.asked = { ...batch.asked, since: Math.max(batch.asked.since, asked.since) }
  if (batch.filters.size <= batch.pruneAt) return
  for (const filter of batch.filters) if (!isSubscribed(filter)) batch.filters.delete(filter)
  batch.pruneAt = Math.max(LEAST_PRUNED, 2 * batch.filters.size)
}
