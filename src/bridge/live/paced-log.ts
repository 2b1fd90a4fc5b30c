import type { Clock } from '../../kernel/clock.ts'
import { LogThrottle, type LogThrottleOptions } from '../../kernel/log-throttle.ts'
import type { Log } from '../ports.ts'

type Level = 'info' | 'warn' | 'error'

/** Lines of the log about what others cause: some of each key, and of all keys together, each with the number of those held back. */
export class PacedLog {
  readonly #log: Log
  readonly #throttle: LogThrottle

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Log }, pace: LogThrottleOptions) {
    this.#log = log
    this.#throttle = new LogThrottle(clock, pace)
  }

  /** Writes the line now, or the newest that was held back when the quiet time is over. */
  write(level: Level, key: string, fields: object, message: string): void {
    this.#throttle.write(key, (suppressed) => this.#line(level, fields, message, suppressed))
  }

  info(key: string, fields: object, message: string): void {
    this.write('info', key, fields, message)
  }

  /** Writes the line now, or only counts it: what comes next tells how many there were. */
  infoOrCount(key: string, fields: object, message: string): void {
    const suppressed = this.#throttle.due(key)
    if (suppressed !== undefined) this.#line('info', fields, message, suppressed)
  }

  stop(): void {
    this.#throttle.stop()
  }

  #line(level: Level, fields: object, message: string, suppressed: number): void {
    this.#log[level]({ ...fields, ...(suppressed > 0 && { suppressed }) }, message)
  }
}
