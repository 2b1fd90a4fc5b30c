import { type Clock, type MonotonicMs, plusMs } from './clock.ts'

/** The pace of what may be written. */
export interface LogThrottleOptions {
  readonly quietMs: number
  /** Lines of one key in that time. */
  readonly lines: number
  /** Keys that are remembered; a flood of others shares one. */
  readonly maxKeys: number
  /** Lines of all keys together in that time; beyond them, the others share one. */
  readonly maxLines: number
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

/** The key that all share for whom there is no room. */
const SHARED = ''

/** The forgotten ones are looked for no more often than this, or a flood of new keys would cost a walk each. */
const TIDY_MS = 1000

/**
 * Writes what the network can cause again and again a few times per key, and a bounded number of times for all keys
 * together, with a count of what was held back: a peer that repeats itself, under one name or a million, fills neither
 * a log nor a disk.
 */
export class LogThrottle {
  readonly #clock: Clock
  readonly #options: LogThrottleOptions
  readonly #written = new Map<string, Written>()
  /** Outages that are not over, and whether each was written. */
  readonly #outages = new Map<string, boolean>()
  #tidyAt: MonotonicMs
  /** Lines of all keys that have been written in the time that ends at `#totalEnds`. */
  #total = 0
  #totalEnds: MonotonicMs
  #stopped = false

  constructor(clock: Clock, options: LogThrottleOptions) {
    this.#clock = clock
    this.#options = options
    this.#tidyAt = clock.monotonicMs()
    this.#totalEnds = this.#tidyAt
  }

  get keys(): number {
    return this.#written.size
  }

  /** Returns how many were held back since the last time, or undefined when this one is held back too. */
  due(key: string): number | undefined {
    return this.#count(this.#ownOrShared(key), 1)
  }

  /** Calls `line` now, or when the quiet time is over with the newest that was held back: a burst has an end too. */
  write(key: string, line: WriteLine): void {
    this.#writeOrHold(this.#ownOrShared(key), 1, line)
  }

  #writeOrHold(own: string, times: number, line: WriteLine): void {
    const suppressed = this.#count(own, times)
    if (suppressed === undefined) this.#hold(own, line)
    else line(suppressed)
  }

  /** Returns the key under which this one is counted now. */
  #ownOrShared(key: string): string {
    const { lines, maxKeys } = this.#options
    const now = this.#clock.monotonicMs()
    if (this.#written.size >= maxKeys && now >= this.#tidyAt) this.#tidy(now)
    const written = this.#written.get(key)
    // Without a line left, it costs none.
    if (written && now < written.until && written.lines >= lines) return key
    if (!this.#hasRoom(now)) return SHARED
    return written || this.#written.size < maxKeys ? key : SHARED
  }

  /** The shared key has its own lines beside the total, or the flood would hide itself. */
  #hasRoom(now: MonotonicMs): boolean {
    if (now >= this.#totalEnds) {
      this.#totalEnds = plusMs(now, this.#options.quietMs)
      this.#total = 0
    }
    return this.#total < this.#options.maxLines
  }

  /** Returns how many others a line written now stands for; undefined when none is to be written. */
  #count(own: string, times: number): number | undefined {
    const { quietMs, lines } = this.#options
    const now = this.#clock.monotonicMs()
    const written = this.#written.get(own)
    if (written && now < written.until && written.lines >= lines) {
      written.suppressed += times
      return undefined
    }
    if (own !== SHARED) this.#total++
    if (written && now < written.until) {
      written.lines++
      return times - 1
    }
    written?.held?.cancel()
    this.#written.set(own, { until: plusMs(now, quietMs), lines: 1, suppressed: 0 })
    return (written?.suppressed ?? 0) + times - 1
  }

  /** Tells whether the begin of an outage is to be written: once until it is over, and within the pace of its key. */
  once(key: string): boolean {
    if (this.#outages.has(key)) return false
    const due = this.due(key) !== undefined
    this.#outages.set(key, due)
    return due
  }

  /** Tells whether the end of an outage is to be written: if its begin was. */
  over(key: string): boolean {
    const written = this.#outages.get(key) === true
    this.#outages.delete(key)
    return written
  }

  #hold(own: string, line: WriteLine): void {
    const written = this.#written.get(own)
    if (written === undefined || this.#stopped) return
    if (written.held) written.held.line = line
    else {
      const cancel = this.#clock.after(written.until - this.#clock.monotonicMs(), () =>
        this.#writeHeld(own, written),
      )
      written.held = { line, cancel }
    }
  }

  #writeHeld(own: string, written: Written): void {
    const { held, suppressed } = written
    delete written.held
    written.suppressed = 0
    if (held === undefined) return
    const hasRoom = own === SHARED || this.#hasRoom(this.#clock.monotonicMs())
    this.#writeOrHold(hasRoom ? own : SHARED, suppressed, held.line)
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
