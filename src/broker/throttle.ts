import type { Duplex } from 'node:stream'
import type { Clock } from '../kernel/clock.ts'
import type { PacedReading } from './read-turns.ts'
import { type Rates, TokenBuckets } from './token-buckets.ts'

export interface ThrottleOptions {
  readonly conn: Duplex
  readonly clock: Clock
  /** The turns of this connection at being read: many may be let go on at one moment. */
  readonly turns: Pick<PacedReading, 'isOver' | 'wait'>
  readonly rates: () => Rates
  /** Stops, and lets go on, what was read already. */
  readonly pause: () => void
  readonly resume: () => void
  /** Returns whether the reader of `conn` waits for more, and must be told that there is. */
  readonly isIdle: () => boolean
  readonly held: (lacking: 'messages' | 'bytes') => void
}

/**
 * Calls `goOn` when there is no more to wait for, and returns the function that takes it back; undefined when there is nothing
 * to wait for now.
 */
type Wait = (goOn: () => void) => (() => void) | undefined

/** An acknowledgement costs this share of a message: a reader of many messages sends as many of them. */
const ACK_SHARE = 1 / 8
/** The packets of one connection that are worked on in one go: 64 KiB may hold 32,768 of them. */
const MAX_PACKETS = 32
const FIRST_ACK = 4
const LAST_ACK = 7
const SUBSCRIBE = 8
const UNSUBSCRIBE = 10
/** A filter in a list has so many bytes, more or less, and costs about as much as a packet. */
const FILTER_BYTES = 16

/**
 * Reads a session that sends more than its budget more slowly: its socket gives nothing for a while, and TCP
 * holds the sender back. Nothing is lost and nothing is kept in memory. Aedes' own `pause` is no way to do it:
 * it forgets the packets that it finishes meanwhile, and would never read again.
 */
export class Throttle {
  readonly #options: ThrottleOptions
  readonly #buckets: TokenBuckets
  #goOn: (() => void) | undefined
  /** Something else that reading must wait for before it goes on. */
  #until: Wait | undefined
  /** Packets of the chunk that is worked on, since it went on. */
  #packets = 0

  constructor(options: ThrottleOptions) {
    this.#options = options
    const { conn, clock, rates } = options
    this.#buckets = new TokenBuckets(clock, rates)
    const read = conn.read
    conn.read = (size?: number) => {
      // Streams look at themselves with a size of 0.
      if (this.#goOn !== undefined && size !== 0) return null
      this.newChunk()
      return read.call(conn, size)
    }
  }

  /** Begins to count anew: what comes now had its turn by itself. */
  newChunk(): void {
    this.#packets = 0
  }

  /** A whole packet, before any work. */
  received(first: number, bytes: number): void {
    const type = first >> 4
    const share = type >= FIRST_ACK && type <= LAST_ACK ? ACK_SHARE : 1
    const wait = this.#buckets.take(share, bytes)
    this.#packets += type === SUBSCRIBE || type === UNSUBSCRIBE ? Math.ceil(bytes / FILTER_BYTES) : 1
    if (wait > 0) this.#holdBack(wait)
    else if (this.#packets >= MAX_PACKETS || this.#options.turns.isOver) this.#waitForTurn()
  }

  /** Reading is held back. */
  get isHolding(): boolean {
    return this.#goOn !== undefined
  }

  stop(): void {
    this.#goOn?.()
    this.#goOn = undefined
    this.#until = undefined
  }

  #holdBack(ms: number): void {
    const { clock, pause, held } = this.#options
    pause()
    if (this.#goOn !== undefined) return
    held(this.#buckets.exhausted)
    this.#goOn = clock.after(ms, () => this.#goOnInTurn())
  }

  /** Holds reading back for `wait`, which is asked again when what reading waits for already is over. */
  holdUntil(wait: Wait): void {
    this.#options.pause()
    this.#until = wait
    if (this.#goOn === undefined) this.#goOnInTurn()
  }

  #waitForTurn(): void {
    this.#options.pause()
    if (this.#goOn === undefined) this.#goOnInTurn()
  }

  #goOnInTurn(): void {
    this.#packets = 0
    this.#goOn = this.#until?.(() => this.#goOnInTurn())
    if (this.#goOn !== undefined) return
    this.#until = undefined
    this.#goOn = this.#options.turns.wait(() => {
      this.#goOn = undefined
      if (this.#until === undefined) this.#resume()
      else this.#goOnInTurn()
    })
  }

  #resume(): void {
    const { conn, resume, isIdle } = this.#options
    resume()
    // What waited may have used up what there was.
    if (this.#goOn === undefined && isIdle()) conn.emit('readable')
  }
}
