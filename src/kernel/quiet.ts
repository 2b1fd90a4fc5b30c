import { type Clock, type MonotonicMs, plusMs } from './clock.ts'

/** How often something may be said. */
export interface QuietOptions {
  readonly quietMs: number
  /** Lines of one key in that time. */
  readonly lines: number
  /** Keys that are remembered; a flood of others shares one. */
  readonly maxKeys: number
}

interface Said {
  until: MonotonicMs
  lines: number
  suppressed: number
  /** The newest one that was held back, to be told at the end; given to `say` alone. */
  held?: { tell: WriteLine; readonly cancel: () => void }
}

/** Says it; `suppressed` others were held back before it. */
export type WriteLine = (suppressed: number) => void

/** Full look at the forgotten ones: no more often than this, or a flood of new keys would cost a walk each. */
const TIDY_MS = 1000

/**
 * What the network can cause again and again is said a few times per key, with a count of what was held back:
 * a peer that repeats itself, under one name or a million, fills neither a log nor a disk.
 */
export class Quiet {
  readonly #clock: Clock
  readonly #options: QuietOptions
  readonly #said = new Map<string, Said>()
  #tidyAt: MonotonicMs
  #stopped = false

  constructor(clock: Clock, options: QuietOptions) {
    this.#clock = clock
    this.#options = options
    this.#tidyAt = clock.monotonicMs()
  }

  get keys(): number {
    return this.#said.size
  }

  /** How many were held back since the last time, or null when this one is held back too. */
  due(key: string): number | null {
    const { quietMs, lines, maxKeys } = this.#options
    const now = this.#clock.monotonicMs()
    if (this.#said.size >= maxKeys && now >= this.#tidyAt) this.#tidy(now)
    const own = this.#said.has(key) || this.#said.size < maxKeys ? key : ''
    const said = this.#said.get(own)
    if (said && now < said.until) {
      if (said.lines >= lines) {
        said.suppressed++
        return null
      }
      said.lines++
      return 0
    }
    said?.held?.cancel()
    this.#said.set(own, { until: plusMs(now, quietMs), lines: 1, suppressed: 0 })
    return said?.suppressed ?? 0
  }

  /** Calls `tell` now, or when the quiet time is over with the newest that was held back: a burst has an end too. */
  say(key: string, tell: WriteLine): void {
    const suppressed = this.due(key)
    if (suppressed !== null) tell(suppressed)
    else this.#hold(this.#said.get(key) ?? this.#said.get(''), tell)
  }

  #hold(said: Said | undefined, tell: WriteLine): void {
    if (said === undefined || this.#stopped) return
    if (said.held) said.held.tell = tell
    else {
      const cancel = this.#clock.after(said.until - this.#clock.monotonicMs(), () => this.#tellHeld(said))
      said.held = { tell, cancel }
    }
  }

  #tellHeld(said: Said): void {
    const { held, suppressed } = said
    delete said.held
    said.until = plusMs(this.#clock.monotonicMs(), this.#options.quietMs)
    said.lines = 1
    said.suppressed = 0
    held?.tell(suppressed - 1)
  }

  /** What is held back is not told any more. */
  stop(): void {
    this.#stopped = true
    for (const said of this.#said.values()) said.held?.cancel()
  }

  #tidy(now: MonotonicMs): void {
    this.#tidyAt = plusMs(now, TIDY_MS)
    for (const [key, said] of this.#said) if (now >= said.until && !said.held) this.#said.delete(key)
  }
}
