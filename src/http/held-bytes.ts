import { Counts } from '../kernel/counts.ts'

/** Bounds what those who ask over HTTP make the bridge hold: requests that are not whole, answers that are not read. */

const MIB = 1_048_576

/** The bytes of one principal, whatever it asks by, and of all of them. */
export const HELD_BOUNDS = { ofPrincipal: 16 * MIB, inAll: 32 * MIB } as const
/** The bytes of the answers to all who have not signed in, beside those of principals. */
export const STRANGERS_BYTES = 16 * MIB
/** Ended until this share is left, so that the next answer does not mean another look at all. */
const STRANGERS_DOWN_TO = 7 / 8

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

/** One answer to somebody who has not signed in. */
export interface StrangersAnswer {
  readonly bytes: number
  /** Is false while it is being made, and when the system has taken all of it. */
  readonly isUnread: () => boolean
  /** Ends the connection. */
  readonly end: () => void
}

/**
 * Counts the bytes of answers to those who have not signed in, as {@link UnreadBytes} does for principals. Beyond the
 * bound the oldest that are not read end, so that nobody pushes out those who read what they ask for.
 */
export class StrangersUnreadBytes {
  readonly #ended: () => void
  /** The oldest first. */
  readonly #open = new Set<StrangersAnswer>()
  #bytes = 0
  #lookAbove = STRANGERS_BYTES

  /** `ended` is told of each that had to go. */
  constructor(ended: () => void) {
    this.#ended = ended
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Counts an answer until the function is called that it returns. */
  enter(answer: StrangersAnswer): () => void {
    this.#open.add(answer)
    this.#bytes += answer.bytes
    if (this.#bytes > this.#lookAbove) this.#shrink()
    return () => this.#leave(answer)
  }

  #shrink(): void {
    const aim = STRANGERS_BYTES * STRANGERS_DOWN_TO
    for (const answer of this.#open) {
      if (this.#bytes <= aim) break
      if (!answer.isUnread()) continue
      this.#leave(answer)
      this.#ended()
      answer.end()
    }
    // Answers that a whole fleet is being sent in one turn of the event loop are not unread: the next look comes later.
    this.#lookAbove = Math.max(STRANGERS_BYTES, this.#bytes / STRANGERS_DOWN_TO)
  }

  #leave(answer: StrangersAnswer): void {
    if (!this.#open.delete(answer)) return
    this.#bytes -= answer.bytes
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
