import type { Clock, MonotonicMs } from '../../kernel/clock.ts'
import { plusMs } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { Log } from '../ports.ts'

/** A work that comes back. One turn of it is bounded: some 50 ms of event loop at most. */
export interface Chore {
  readonly name: string
  readonly everyMs: number
  /** The first time after the start; `everyMs`, but at most a minute: a bridge that restarts daily does it too. */
  readonly firstMs?: number
  /** Resolves with `more` when a next turn has something to do at once. */
  run(): Promise<'more' | 'done'>
}

/** The pause between two turns: everything else goes first. */
const PAUSE_MS = 50
const FIRST_MS = 60_000

interface Planned {
  readonly chore: Chore
  due: MonotonicMs
  failing: boolean
}

/** All of the bridge's housekeeping on one timer, one chore at a time. */
export class Housekeeping {
  readonly #clock: Clock
  readonly #log: Log
  readonly #plan: readonly Planned[]
  #cancel: (() => void) | undefined
  #running: Promise<void> | undefined
  #stopped = false

  constructor(clock: Clock, log: Log, chores: readonly Chore[]) {
    this.#clock = clock
    this.#log = log
    const now = clock.monotonicMs()
    this.#plan = chores.map((chore) => ({
      chore,
      due: plusMs(now, chore.firstMs ?? Math.min(chore.everyMs, FIRST_MS)),
      failing: false,
    }))
  }

  start(): void {
    this.#arm()
  }

  /** Resolves when the turn that is under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancel?.()
    await this.#running
  }

  #next(): Planned | undefined {
    return this.#plan.reduce<Planned | undefined>(
      (first, each) => (first === undefined || each.due < first.due ? each : first),
      undefined,
    )
  }

  #arm(): void {
    const next = this.#next()
    if (this.#stopped || next === undefined) return
    const delay = Math.max(PAUSE_MS, next.due - this.#clock.monotonicMs())
    this.#cancel = this.#clock.after(delay, () => {
      this.#running = this.#turn(next).finally(() => {
        this.#running = undefined
        this.#arm()
      })
    })
  }

  async #turn(planned: Planned): Promise<void> {
    const { chore } = planned
    let result: 'more' | 'done' = 'done'
    try {
      result = await chore.run()
      if (planned.failing) this.#log.info({ chore: chore.name }, `housekeeping works again: ${chore.name}`)
      planned.failing = false
    } catch (error) {
      // Once, not every time: it goes on failing until somebody does something.
      if (!planned.failing) {
        this.#log.warn({ chore: chore.name, error: messageOf(error) }, `housekeeping failed: ${chore.name}`)
      }
      planned.failing = true
    }
    planned.due = plusMs(this.#clock.monotonicMs(), result === 'more' ? 0 : chore.everyMs)
  }
}
