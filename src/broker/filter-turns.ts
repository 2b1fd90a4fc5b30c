import type { Clock } from '../kernel/clock.ts'
import { TurnTime } from '../kernel/turn-time.ts'

/** The time of a turn of the event loop in which subscriptions of sessions that come and go are made and ended. */
const FILTERS_MS = 5
/** The subscriptions of one session that are worked on in one go while others wait. */
export const PORTION = 64

type Task = () => void

/**
 * The turns of sessions at their subscriptions. One that returns has all that were stored made at once, and one that
 * goes has all ended: a dashboard has thousands, and hundreds of sessions may come back at the same moment.
 */
export class FilterTurns {
  readonly #time: TurnTime
  /** The tasks that wait, in their order for each owner. */
  readonly #lines = new Map<unknown, Task[]>()

  constructor(clock: Clock) {
    this.#time = new TurnTime(clock, FILTERS_MS)
  }

  /** Runs `task` now, or behind what its owner has waiting. It must not throw. */
  run(owner: unknown, task: Task): void {
    const line = this.#lines.get(owner)
    if (line !== undefined) line.push(task)
    else if (this.#time.isLeft) task()
    else {
      this.#lines.set(owner, [task])
      this.#wait(owner)
    }
  }

  /** Resolves when there is time for more of a longer work. */
  async next(): Promise<void> {
    if (!this.#time.isLeft) await this.#time.next()
  }

  /** One place in the line for each owner, however much it has. */
  #wait(owner: unknown): void {
    this.#time.wait(() => {
      const line = this.#lines.get(owner) ?? []
      for (const task of line.splice(0, PORTION)) task()
      if (line.length > 0) this.#wait(owner)
      else this.#lines.delete(owner)
    })
  }
}
