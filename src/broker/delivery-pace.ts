import type { Clock } from '../kernel/clock.ts'
import { UnwatchedTurnTime } from '../kernel/turn-time.ts'
import type { QueuePace } from './ordered-queue.ts'
import type { ReadTurns } from './read-turns.ts'

/** The time of a turn in which messages that waited for the store are handed to those who are subscribed. */
const DELIVERING_MS = 8
/** The subscriptions of a turn before anybody looks at the clock, and how many a message counts for by itself. */
const UNWATCHED_SUBSCRIPTIONS = 512
const MESSAGE = 4

/** The pace of messages that were stored together: thousands may be, each of them for hundreds of sessions. */
export class DeliveryPace implements QueuePace {
  readonly #time: UnwatchedTurnTime
  readonly #reading: ReadTurns
  #isBehind = false

  constructor(clock: Clock, reading: ReadTurns) {
    this.#time = new UnwatchedTurnTime(clock, DELIVERING_MS, UNWATCHED_SUBSCRIPTIONS)
    this.#reading = reading
  }

  /** Counts a message that was delivered. */
  add(subscriptions: number): void {
    this.#time.add(MESSAGE + subscriptions)
  }

  /** Messages wait while the ones before them are not written: what is held of a stream is one message, however large. */
  get isInTime(): boolean {
    return !this.#reading.isBehindBeside(this) && this.#time.isInTime
  }

  later(go: () => void): void {
    this.#setBehind(true)
    this.#time.wait(() => {
      this.#isBehind = false
      go()
      this.#setBehind(this.#isBehind)
    })
  }

  #setBehind(isBehind: boolean): void {
    this.#isBehind = isBehind
    this.#reading.setBehind(this, isBehind)
  }
}
