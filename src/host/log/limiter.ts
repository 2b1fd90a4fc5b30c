import type { Log } from '../../bridge/ports.ts'
import { type Clock, type MonotonicMs, plusMs } from '../../kernel/clock.ts'

/**
 * One line per key and interval: a peer that does wrong a thousand times a second gets one line, which says
 * how many were left out, and cannot fill the disk.
 */

export interface LimitedLog {
  /** `key` tells the lines apart, such as `publish-denied 10.0.0.7`. */
  warn(key: string, fields: object, message: string): void
  info(key: string, fields: object, message: string): void
}

export interface LimiterOptions {
  readonly seconds: number
  /** Keys that are remembered; the oldest is forgotten first, and may then log once too often. */
  readonly maxKeys?: number
}

interface Entry {
  quietUntil: MonotonicMs
  suppressed: number
}

const MAX_KEYS = 1000

export function limitedLog(log: Log, clock: Clock, options: LimiterOptions): LimitedLog {
  const entries = new Map<string, Entry>()
  const maxKeys = options.maxKeys ?? MAX_KEYS

  const at = (level: 'warn' | 'info') => (key: string, fields: object, message: string) => {
    const now = clock.monotonicMs()
    const entry = entries.get(key)
    if (entry && now < entry.quietUntil) {
      entry.suppressed += 1
      return
    }
    const suppressed = entry?.suppressed ?? 0
    entries.delete(key)
    if (entries.size >= maxKeys) {
      const oldest = entries.keys().next()
      if (!oldest.done) entries.delete(oldest.value)
    }
    entries.set(key, { quietUntil: plusMs(now, options.seconds * 1000), suppressed: 0 })
    log[level](suppressed === 0 ? fields : { ...fields, suppressed }, message)
  }
  return { warn: at('warn'), info: at('info') }
}
