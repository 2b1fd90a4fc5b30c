import { performance } from 'node:perf_hooks'
import { acceptTurns } from './accept-turns.ts'
import { type Clock, type MonotonicMs, plusMs } from './clock.ts'

/** The time of a turn of the event loop that all kinds of work have together. */
const ALL_MS = 20
/** The share of its own time that a kind gets all the same when the others have taken that: nobody starves another. */
const LEAST_SHARE = 0.25

/** The moment at which the kinds of work of a clock, which are those of a process, began with a turn. */
interface LoopTurn {
  readonly number: number
  readonly beganAt: MonotonicMs
}

const loopTurns = new WeakMap<Clock, LoopTurn>()

/** Returns how much of this turn of the event loop all kinds of work have left; the first to ask begins its time. */
function leftOfTurnMs(clock: Clock): number {
  const number = performance.nodeTiming.uvMetricsInfo.loopCount
  const now = clock.monotonicMs()
  const turn = loopTurns.get(clock)
  if (turn?.number !== number) {
    loopTurns.set(clock, { number, beganAt: now })
    return ALL_MS
  }
  return ALL_MS - (now - turn.beganAt)
}

/**
 * The time of one turn of the event loop that one kind of work may take, whoever brings it: a bound for one session is
 * none for a thousand that come in the same turn. Who finds none left waits in a line, and goes on in a later turn. All kinds
 * together have a bound too: seven that each take all of theirs in the same turn would make it a long one.
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
    return this.#waiting.size === 0 && !acceptTurns.isLeaving && this.isInTime
  }

  /** Shows the same for work that has begun, or that has waited: it goes before those who wait. */
  get isInTime(): boolean {
    if (this.#endsAt === undefined) {
      this.#begin()
      // Immediates come when all was told that the system had to tell in this turn.
      setImmediate(() => this.#end())
      return true
    }
    return this.#clock.monotonicMs() < this.#endsAt
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
    const ms = Math.min(this.#ms, Math.max(this.#ms * LEAST_SHARE, leftOfTurnMs(this.#clock)))
    this.#endsAt = plusMs(this.#clock.monotonicMs(), ms)
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
      if (acceptTurns.isLeaving) {
        this.#drainLater()
        return
      }
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
    const isInTime = this.#endsAt === undefined || this.#clock.monotonicMs() < this.#endsAt
    if (this.#waiting.size === 0 || isInTime) this.#goOn()
    else this.#drainLater()
  }
}

/**
 * The same for work that is mostly small: nobody looks at the clock before some of it was done, so that a heartbeat costs no
 * look.
 */
export class UnwatchedTurnTime {
  readonly #time: TurnTime
  readonly #unwatched: number
  #done = 0
  #resets = false

  /** `unwatched`: the work of a turn that costs no look, in the unit of `add`. */
  constructor(clock: Clock, ms: number, unwatched: number) {
    this.#time = new TurnTime(clock, ms)
    this.#unwatched = unwatched
  }

  /** Counts work that is about to be done, or was done just now. */
  add(work: number): void {
    this.#done += work
  }

  /** Shows whether work may go on in this turn; nobody goes before those who wait. */
  get isLeft(): boolean {
    return this.#isUnwatched || this.#time.isLeft
  }

  /** Shows the same for work that has begun, or that has waited. */
  get isInTime(): boolean {
    return this.#isUnwatched || this.#time.isInTime
  }

  /** Calls `go` when those before it have had their time; the returned function takes it back. */
  wait(go: () => void): () => void {
    return this.#time.wait(go)
  }

  get #isUnwatched(): boolean {
    if (this.#done < this.#unwatched) return !acceptTurns.isLeaving
    if (!this.#resets) {
      this.#resets = true
      setImmediate(() => {
        this.#resets = false
        this.#done = 0
      })
    }
    return false
  }
}
