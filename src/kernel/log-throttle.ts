import { type Clock, type MonotonicMs, plusMs } from './clock.ts'

/** The pace of what may be written. */
export interface LogThrottleOptions {
  readonly quietMs: number
  /** Lines of one key in that time. */
  readonly lines: number
  /** Keys that are remembered; a flood of others shares one. */
  readonly maxKeys: number
}

interface Written {
  until: MonotonicMs
  lines: number
  suppressed: number
  /** The newest one that was held back, to be written at the end; `write` alone has one. */
  held?: { line: WriteLine; readonly cancel: () => void }
}

/** Writes the line; `suppressed` others were held back before it. */
export type WriteLine = (suppressed: number) => void

/** The forgotten ones are looked for no more often than this, or a flood of new keys would cost a walk each. */
const TIDY_MS = 1000

/**
 * Writes what the network can cause again and again a few times per key, with a count of what was held back: a peer that repeats itself, under one name or a million, fills neither a log nor a disk.
 */
export class LogThrottle {
  readonly #clock: Clock
  readonly #options: LogThrottleOptions
  readonly #written = new Map<string, Written>()
  /** Outages that are not over, and whether each was written. */
  readonly #outages = new Map<string, boolean>()
  #tidyAt: MonotonicMs
  #stopped = false

  constructor(clock: Clock, options: LogThrottleOptions) {
    this.#clock = clock
    this.#options = options
    this.#tidyAt = clock.monotonicMs()
  }

  get keys(): number {
    return this.#written.size
  }

  /** Returns how many were held back since the last time, or null when this one is held back too. */
  due(key: string): number | null {
    const { quietMs, lines, maxKeys } = this.#options
    const now = this.#clock.monotonicMs()
    if (this.#written.size >= maxKeys && now >= this.#tidyAt) this.#tidy(now)
    const own = this.#written.has(key) || this.#written.size < maxKeys ? key : ''
    const written = this.#written.get(own)
    if (written && now < written.until) {
      if (written.lines >= lines) {
        written.suppressed++
        return null
      }
      written.lines++
      return 0
    }
    written?.held?.cancel()
    this.#written.set(own, { until: plusMs(now, quietMs), lines: 1, suppressed: 0 })
    return written?.suppressed ?? 0
  }

  /** Calls `line` now, or when the quiet time is over with the newest that was held back: a burst has an end too. */
  write(key: string, line: WriteLine): void {
    const suppressed = this.due(key)
    if (suppressed !== null) line(suppressed)
    else this.#hold(this.#written.get(key) ?? this.#written.get(''), line)
  }

  /** Tells whether the begin of an outage is to be written: once until it is over, and within the pace of its key. */
  once(key: string): boolean {
    if (this.#outages.has(key)) return false
    const due = this.due(key) !== null
    this.#outages.set(key, due)
    return due
  }

  /** Tells whether the end of an outage is to be written: if its begin was. */
  over(key: string): boolean {
    const written = this.#outages.get(key) === true
    this.#outages.delete(key)
    return written
  }

  #hold(written: Written | undefined, line: WriteLine): void {
    if (written === undefined || this.#stopped) return
    if (written.held) written.held.line = line
    else {
      const cancel = this.#clock.after(written.until - this.#clock.monotonicMs(), () =>
        this.#writeHeld(written),
      )
      written.held = { line, cancel }
    }
  }

  #writeHeld(written: Written): void {
    const { held, suppressed } = written
    delete written.held
    written.until = plusMs(this.#clock.monotonicMs(), this.#options.quietMs)
    written.lines = 1
    written.suppressed = 0
    held?.line(suppressed - 1)
  }

  /** Drops what is held back. */
  stop(): void {
    this.#stopped = true
    for (const written of this.#written.values()) written.held?.cancel()
  }

  #tidy(now: MonotonicMs): void {
    this.#tidyAt = plusMs(now, TIDY_MS)
    for (const [key, written] of this.#written)
      if (now >= written.until && !written.held) this.#written.delete(key)
  }
}
