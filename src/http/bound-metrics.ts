import { Counter, Gauge, type Registry } from 'prom-client'

/** Shows what the bridge keeps for others in all, beside the bounds of docs/security.md. */

export interface BoundReadings {
  /** Lines of the log that nobody read. */
  readonly logLinesDropped?: number
  /** Registrations of requests that wait. */
  readonly pendingBytes?: number
}

interface Shown {
  readonly name: string
  readonly help: string
  /** It only rises, from the start of the process on. */
  readonly counts?: true
}

const SHOWN: Readonly<Record<keyof BoundReadings, Shown>> = {
  logLinesDropped: {
    name: 'limb_log_lines_dropped_total',
    help: 'Lines of the log that were dropped because nobody read standard output.',
    counts: true,
  },
  pendingBytes: {
    name: 'limb_pending_request_bytes',
    help: 'Bytes of the registrations of requests that wait for an operator.',
  },
}

/** `read` is called at each scrape, for each metric: it hands over numbers that are kept, and walks nothing. */
export function boundMetrics(registry: Registry, read: () => BoundReadings | undefined): void {
  for (const [key, { name, help, counts }] of Object.entries(SHOWN) as [keyof BoundReadings, Shown][]) {
    const value = () => read()?.[key] ?? 0
    const registers = [registry]
    if (counts) {
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset()
          this.inc(value())
        },
      })
    } else {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value())
        },
      })
    }
  }
}
