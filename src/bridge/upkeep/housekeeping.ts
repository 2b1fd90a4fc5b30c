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
  /** Is mostly done by another thread, and may take minutes: the other chores go on meanwhile. */
  readonly isApart?: boolean
  /** Resolves with `more` when a next turn has something to do at once. */
  run(): Promise<'more' | 'done'>
}

/** The pause between two turns: everything else goes first. */
const PAUSE_MS = 50
const FIRST_MS = 60_000

interface Planned {
  readonly chore: Chore
  /** Is undefined while it runs. */
  due: MonotonicMs | undefined
  failing: boolean
}

/** All of the bridge's housekeeping on one timer, one chore at a time beside those that are apart. */
export class Housekeeping {
  readonly #clock: Clock
  readonly #log: Log
  readonly #plan: readonly Planned[]
  #cancel: (() => void) | undefined
  readonly #running = new Set<Promise<void>>()
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

  /** Resolves when the turns that are under way have ended. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancel?.()
    await Promise.all(this.#running)
  }

  #next(): { planned: Planned; due: MonotonicMs } | undefined {
    let next: { planned: Planned; due: MonotonicMs } | undefined
    for (const planned of this.#plan) {
      const { due } = planned
      if (due !== undefined && (next === undefined || due < next.due)) next = { planned, due }
    }
    return next
  }

  #arm(): void {
    this.#cancel?.()
    const next = this.#next()
    if (this.#stopped || next === undefined) return
    const delay = Math.max(PAUSE_MS, next.due - this.#clock.monotonicMs())
    this.#cancel = this.#clock.after(delay, () => this.#begin(next.planned))
  }

  #begin(planned: Planned): void {
    this.#cancel = undefined
    planned.due = undefined
    const running = this.#turn(planned).finally(() => {
      this.#running.delete(running)
      this.#ended(planned)
    })
    this.#running.add(running)
    if (planned.chore.isApart) this.#arm()
  }

  #ended({ chore }: Planned): void {
    // While one of the others runs, its end does this.
    const others = this.#plan.some((each) => each.due === undefined && !each.chore.isApart)
    if (!(chore.isApart && others)) this.#arm()
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
