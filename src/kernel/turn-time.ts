import { type Clock, type MonotonicMs, plusMs } from './clock.ts'

/**
 * The time of one turn of the event loop that one kind of work may take, whoever brings it: a bound for one session is
 * none for a thousand that come in the same turn. Who finds none left waits in a line, and goes on in a later turn.
 */
export class TurnTime {
  readonly #clock: Clock
  readonly #ms: number
  /** The callbacks of who waits, the longest wait first. */
  readonly #waiting = new Set<() => void>()
  #endsAt: MonotonicMs | undefined
  /** Shows whether an immediate calls them, or will. */
  #draining = false

  constructor(clock: Clock, ms: number) {
    this.#clock = clock
    this.#ms = ms
  }

  /** Shows whether work may go on in this turn; the first to ask begins its time. Nobody goes before those who wait. */
  get isLeft(): boolean {
    if (this.#waiting.size > 0) return false
    if (this.#endsAt === undefined) {
      this.#begin()
      // Immediates come when all was told that the system had to tell in this turn.
      setImmediate(() => this.#end())
      return true
    }
    return this.#isInTime
  }

  get #isInTime(): boolean {
    return this.#endsAt === undefined || this.#clock.monotonicMs() < this.#endsAt
  }

  /** Calls `go` when those before it have had their time; the returned function takes it back. */
  wait(go: () => void): () => void {
    this.#waiting.add(go)
    if (!this.#draining) this.#drainInTurn()
    return () => this.#waiting.delete(go)
  }

  /** Resolves when those before have had their time. */
  next(): Promise<void> {
    return new Promise((resolve) => this.wait(resolve))
  }

  #begin(): void {
    this.#endsAt = plusMs(this.#clock.monotonicMs(), this.#ms)
  }

  #end(): void {
    this.#endsAt = undefined
  }

  /** Begins with those who wait; in the next turn when work of this one has taken its time. */
  #drainInTurn(): void {
    this.#draining = true
    if (this.#endsAt === undefined) this.#drainLater()
    else setImmediate(() => this.#drainLater())
  }

  #drainLater(): void {
    setImmediate(() => {
      this.#begin()
      this.#goOn()
    })
  }

  #goOn(): void {
    const [go] = this.#waiting
    if (go === undefined) {
      this.#draining = false
      this.#end()
      return
    }
    this.#waiting.delete(go)
    go()
    // After all microtasks: what it brings about belongs to its time.
    queueMicrotask(() => process.nextTick(() => this.#goOnInTime()))
  }

  #goOnInTime(): void {
    if (this.#waiting.size === 0 || this.#isInTime) this.#goOn()
    else this.#drainLater()
  }
}
