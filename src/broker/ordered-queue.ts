import type { MonotonicMs } from '../kernel/clock.ts'

/** A place in the queue whose turn comes when it was released and everything before it has run. */
export interface Ticket {
  readonly task: () => void
  /** The moment since which it waits, for who asks. */
  since?: MonotonicMs
  ready: boolean
  next: Ticket | undefined
}

/** Says how much of what was released may run in one turn of the event loop. */
export interface QueuePace {
  /** Shows whether the next task may run in this turn. */
  readonly isInTime: boolean
  /** Calls `go` in a later turn; until then the queue is behind. */
  later(go: () => void): void
}

/**
 * Runs tasks in the order in which they were handed in, though some of them wait for something first. A task
 * that need not wait, with nothing before it, runs at once. Tasks must not throw: one that does goes to
 * `failed` and the next one runs.
 */
export class OrderedQueue {
  #head: Ticket | undefined
  #tail: Ticket | undefined
  #running = false
  #length = 0
  /** The rest of what was released runs in a later turn. */
  #isLate = false
  readonly #failed: (error: unknown) => void
  readonly #pace: QueuePace | undefined

  /** `pace`: where many may be released at one moment; without it all of them run then. */
  constructor(failed: (error: unknown) => void, pace?: QueuePace) {
    this.#failed = failed
    this.#pace = pace
  }

  get length(): number {
    return this.#length
  }

  /** The task whose turn is next; it waits for its release. */
  get head(): Ticket | undefined {
    return this.#head
  }

  /** Runs `task` now, or after what waits already. */
  run(task: () => void): void {
    if (this.#head === undefined && !this.#running) {
      this.#running = true
      this.#call(task)
      this.#running = false
      if (this.#head !== undefined) this.#drain()
    } else {
      this.#push(task, true)
    }
  }

  /** Keeps a place for `task` until `release`. */
  hold(task: () => void): Ticket {
    return this.#push(task, false)
  }

  release(ticket: Ticket): void {
    ticket.ready = true
    this.#drain()
  }

  /** Lets everything that waits go on; the order stays. */
  releaseAll(): void {
    for (let ticket = this.#head; ticket !== undefined; ticket = ticket.next) ticket.ready = true
    this.#drain()
  }

  /** Lets everything that waits go on in this turn, however much it is. */
  runAll(): void {
    this.#isLate = false
    for (let ticket = this.#head; ticket !== undefined; ticket = ticket.next) ticket.ready = true
    this.#drain(false)
  }

  #push(task: () => void, ready: boolean): Ticket {
    const ticket: Ticket = { task, ready, next: undefined }
    if (this.#tail === undefined) this.#head = ticket
    else this.#tail.next = ticket
    this.#tail = ticket
    this.#length++
    return ticket
  }

  #drain(isPaced = true): void {
    // A task may hand in, or release, others: the outer loop takes them, so that nothing overtakes.
    if (this.#running || this.#isLate) return
    this.#running = true
    const pace = isPaced ? this.#pace : undefined
    for (let ticket = this.#head; ticket?.ready; ticket = this.#head) {
      if (pace?.isInTime === false) {
        this.#goOnLater(pace)
        break
      }
      this.#head = ticket.next
      if (this.#head === undefined) this.#tail = undefined
      this.#length--
      this.#call(ticket.task)
    }
    this.#running = false
  }

  #goOnLater(pace: QueuePace): void {
    this.#isLate = true
    pace.later(() => {
      this.#isLate = false
      this.#drain()
    })
  }

  #call(task: () => void): void {
    try {
      task()
    } catch (error) {
      this.#failed(error)
    }
  }
}
