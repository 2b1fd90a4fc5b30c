import { Counter, Gauge, type Registry } from 'prom-client'

/** The kinds of bytes that are kept for others, each with a bound in the configuration. */
export const KEPT = ['answers', 'backups', 'database', 'history', 'pending', 'queued', 'retained'] as const
export type KeptKind = (typeof KEPT)[number]

/** Shows what the bridge keeps for others in all, beside the bounds of docs/security.md. */

export interface BoundReadings {
  /** Lines of the log that nobody read. */
  readonly logLinesDropped?: number
  /** Registrations of requests that wait. */
  readonly pendingBytes?: number
  /** The bytes that are kept, and their bound, by kind. */
  readonly kept?: Readonly<Partial<Record<KeptKind, { readonly bytes: number; readonly max: number }>>>
  /** Sessions of MCP over HTTP, and what is kept for those whose connection broke. */
  readonly mcpSessions?: number
  readonly mcpKeptBytes?: number
  /** Requests over HTTP that are not answered, and answers that are not read. */
  readonly httpHeldBytes?: number
}

interface Shown {
  readonly name: string
  readonly help: string
  /** It only rises, from the start of the process on. */
  readonly counts?: true
}

const SHOWN: Readonly<Record<Exclude<keyof BoundReadings, 'kept'>, Shown>> = {
  logLinesDropped: {
    name: 'limb_log_lines_dropped_total',
    help: 'Lines of the log that were dropped because nobody read standard output.',
    counts: true,
  },
  pendingBytes: {
    name: 'limb_pending_request_bytes',
    help: 'Bytes of the registrations of requests that wait for an operator.',
  },
  mcpSessions: { name: 'limb_mcp_sessions', help: 'Sessions of MCP over HTTP.' },
  mcpKeptBytes: {
    name: 'limb_mcp_kept_bytes',
    help: 'Bytes that are kept for clients of MCP whose connection broke, so that they can go on.',
  },
  httpHeldBytes: {
    name: 'limb_http_held_bytes',
    help: 'Bytes of requests over HTTP that are not answered, of answers that are not read, and of answers of limbs that are not whole.',
  },
}

/** `read` is called at each scrape, for each metric: it hands over numbers that are kept, and walks nothing. */
export function boundMetrics(registry: Registry, read: () => BoundReadings | undefined): void {
  keptMetrics(registry, read)
  for (const [key, { name, help, counts }] of Object.entries(SHOWN) as [keyof typeof SHOWN, Shown][]) {
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

function keptMetrics(registry: Registry, read: () => BoundReadings | undefined): void {
  const gauge = (name: string, help: string, of: 'bytes' | 'max') =>
    new Gauge({
      name,
      help,
      labelNames: ['kind'],
      registers: [registry],
      collect() {
        const kept = read()?.kept
        for (const kind of KEPT) this.set({ kind }, kept?.[kind]?.[of] ?? 0)
      },
    })
  gauge(
    'limb_kept_bytes',
    'Bytes on disk that are kept for others, by kind; `database`: pages of the database that hold something.',
    'bytes',
  )
  gauge('limb_kept_bytes_max', 'The bound of each kind, from the configuration.', 'max')
}
