import { type Deadlined, DeadlineHeap } from '../domain/deadlines.ts'
import type { Clock } from '../kernel/clock.ts'

/** A timer that fires this much late says that the process stood still, not that somebody was slow. */
const STALL_MS = 1000
/** The time after a standstill to read the answers that waited in the sockets. */
const STALL_GRACE_MS = 1000

/** Deadlines of many things with one timer. */
export class DeadlineTimer<T extends Deadlined> {
  readonly #clock: Clock
  readonly #due: (item: T) => void
  readonly #heap = new DeadlineHeap<T>()
  #cancel: (() => void) | null = null
  #at = Number.POSITIVE_INFINITY

  /** `due` is called once for each item whose deadline has come; it must not throw. */
  constructor(clock: Clock, due: (item: T) => void) {
    this.#clock = clock
    this.#due = due
  }

  /** The item is due `delayMs` from now. */
  set(item: T, delayMs: number): void {
    this.#heap.forget(item)
    item.deadline = this.#clock.monotonicMs() + delayMs
    this.#heap.schedule(item)
    this.#arm()
  }

  clear(item: T): void {
    item.deadline = Number.POSITIVE_INFINITY
    this.#heap.forget(item)
  }

  stop(): void {
    this.#cancel?.()
    this.#cancel = null
    this.#at = Number.NEGATIVE_INFINITY
  }

  #arm(): void {
    const { next } = this.#heap
    if (next >= this.#at) return
    this.#cancel?.()
    this.#at = next
    this.#cancel = this.#clock.after(next - this.#clock.monotonicMs(), () => this.#ring())
  }

  #ring(): void {
    const now = this.#clock.monotonicMs()
    const late = now - this.#at
    if (late > STALL_MS) {
      this.#at = now + STALL_GRACE_MS
      this.#cancel = this.#clock.after(STALL_GRACE_MS, () => this.#ring())
      return
    }
    this.#at = Number.POSITIVE_INFINITY
    this.#cancel = null
    for (let item = this.#heap.takeDue(now); item; item = this.#heap.takeDue(now)) this.#due(item)
    this.#arm()
  }
}
