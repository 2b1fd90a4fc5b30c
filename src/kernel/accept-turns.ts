import type { Server } from 'node:net'

/** The turns of the event loop that work leaves to connections which come in each of them, one after the other. */
const LEFT_TURNS = 16

/**
 * The turns in which connections are accepted. libuv accepts one of a listener in each turn of the event loop: while work
 * takes its whole time of each turn, a thousand connections that come at the same moment would wait for half a minute, and a
 * limb behind them. So work waits for some short turns while they come.
 */
export class AcceptTurns {
  #isLeaving = false
  #isWatching = false
  #hasCome = false
  #left = 0

  /** Shows whether connections are coming: work that can wait leaves them this turn. */
  get isLeaving(): boolean {
    return this.#isLeaving
  }

  /** Has work leave turns to the connections of this listener. */
  follow(server: Server): void {
    server.prependListener('connection', () => this.#accepted())
  }

  #accepted(): void {
    this.#hasCome = true
    if (this.#isWatching) return
    this.#isWatching = true
    this.#isLeaving = true
    setImmediate(() => this.#look())
  }

  #look(): void {
    this.#left++
    if (this.#hasCome && this.#left < LEFT_TURNS) {
      this.#hasCome = false
      setImmediate(() => this.#look())
      return
    }
    this.#isLeaving = false
    this.#left = 0
    // One whole turn is for the work that has waited, in whatever order the immediates of a turn are.
    setImmediate(() => setImmediate(() => this.#rested()))
  }

  #rested(): void {
    this.#isWatching = false
  }
}

/** The turns of this process: it has one event loop. */
export const acceptTurns = new AcceptTurns()
