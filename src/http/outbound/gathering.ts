import { Gathered } from './gathered.ts'

/** One body of all that come at the same time. */
export interface GatheringBody {
  readonly body: Gathered
  /** Ends its exchange: it holds most, and there is no room for all. */
  readonly end: () => void
}

/** The memory that the bodies of all answers under way may take: a bound for one is none for a thousand. */
const MAX_BYTES = 33_554_432

/** Counts the memory of bodies that come, and ends the largest ones where it is too much. */
export class Gathering {
  readonly #all = new Set<GatheringBody>()
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  enter(end: () => void): GatheringBody {
    const place = { body: new Gathered(), end }
    this.#all.add(place)
    return place
  }

  push(place: GatheringBody, chunk: Buffer): void {
    if (!this.#all.has(place)) return
    const before = place.body.memory
    place.body.push(chunk)
    this.#bytes += place.body.memory - before
    while (this.#bytes > MAX_BYTES) {
      const largest = [...this.#all].reduce((one, other) =>
        other.body.memory > one.body.memory ? other : one,
      )
      this.leave(largest)
      largest.end()
    }
  }

  leave(place: GatheringBody): void {
    if (this.#all.delete(place)) this.#bytes -= place.body.memory
  }
}
