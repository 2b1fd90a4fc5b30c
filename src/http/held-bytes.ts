import { Counts } from '../kernel/counts.ts'

/** Bounds what those who signed in over HTTP make the bridge hold: requests that are not whole, answers that are not read. */

const MIB = 1_048_576

/** The bytes of one principal, whatever it asks by, and of all of them. */
export const HELD_BOUNDS = { ofPrincipal: 16 * MIB, inAll: 32 * MIB } as const

/** One response whose client may not read it. */
export interface UnreadResponse {
  readonly principal: string
  /** Returns the bytes that are not read now. */
  measure(): number
  /** Ends the connection. */
  end(): void
}

/** The place of a response among all that are open. */
export interface UnreadPlace {
  /** Is called when more was written: it may end the responses that hold most. */
  changed(): void
  leave(): void
}

/** Counts the bytes of open responses that nobody has read yet; beyond a bound, the responses that hold most end. */
export class UnreadBytes {
  readonly #ended: (principal: string) => void
  readonly #open = new Map<UnreadResponse, number>()
  readonly #ofPrincipal = new Counts()
  #bytes = 0

  /** `ended` is told of each that had to go. */
  constructor(ended: (principal: string) => void) {
    this.#ended = ended
  }

  get bytes(): number {
    return this.#bytes
  }

  enter(response: UnreadResponse): UnreadPlace {
    this.#open.set(response, 0)
    return {
      changed: () => this.#changed(response),
      leave: () => this.#leave(response),
    }
  }

  /** Ends a response for its own sake: its client does not read. */
  end(response: UnreadResponse): void {
    this.#leave(response)
    this.#ended(response.principal)
    response.end()
  }

  #changed(response: UnreadResponse): void {
    if (!this.#open.has(response)) return
    this.#measure(response)
    const { principal } = response
    if (this.#ofPrincipal.of(principal) > HELD_BOUNDS.ofPrincipal) {
      const own = [...this.#open.keys()].filter((each) => each.principal === principal)
      this.#shrink(own, () => this.#ofPrincipal.of(principal) > HELD_BOUNDS.ofPrincipal)
    }
    if (this.#bytes > HELD_BOUNDS.inAll)
      this.#shrink([...this.#open.keys()], () => this.#bytes > HELD_BOUNDS.inAll)
  }

  #shrink(responses: readonly UnreadResponse[], isTooMuch: () => boolean): void {
    // What was read since the last look holds nothing any more.
    for (const each of responses) this.#measure(each)
    const largestFirst = responses.toSorted((a, b) => this.#of(b) - this.#of(a))
    for (const each of largestFirst) {
      if (!isTooMuch()) return
      this.end(each)
    }
  }

  #of(response: UnreadResponse): number {
    return this.#open.get(response) ?? 0
  }

  #measure(response: UnreadResponse): void {
    this.#set(response, response.measure())
  }

  #set(response: UnreadResponse, bytes: number): void {
    const change = bytes - this.#of(response)
    this.#open.set(response, bytes)
    this.#bytes += change
    this.#ofPrincipal.add(response.principal, change)
  }

  #leave(response: UnreadResponse): void {
    if (!this.#open.has(response)) return
    this.#set(response, 0)
    this.#open.delete(response)
  }
}

/** Counts the bodies of requests from their head on, so that many that are never whole have a bound together. */
export class BodyBytes {
  readonly #ofPrincipal = new Counts()
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  /** Returns the function that gives the room back; undefined: there is none now. One body alone always has room. */
  reserve(principal: string, bytes: number): (() => void) | undefined {
    const own = this.#ofPrincipal.of(principal)
    if (own > 0 && own + bytes > HELD_BOUNDS.ofPrincipal) return undefined
    if (this.#bytes > 0 && this.#bytes + bytes > HELD_BOUNDS.inAll) return undefined
    this.#change(principal, bytes)
    return () => this.#change(principal, -bytes)
  }

  #change(principal: string, change: number): void {
    this.#ofPrincipal.add(principal, change)
    this.#bytes += change
  }
}
