import { type MonotonicMs, plusMs } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import type { AuditKind } from '../../protocol/audit-kinds.ts'
import { audit } from '../audit.ts'
import type { BridgeContext } from '../settings.ts'

/** Refusals of one principal are logged once a minute, with the number of the others. */
const PACE = { quietMs: 60_000, lines: 1, maxKeys: 200, maxLines: 200 } as const
/**
 * Rows of refusals of one principal in an hour, after which all its refusals share one row a minute: the audit log is kept
 * by number too. Another principal has rows of its own, so that nobody hides what others try.
 */
const MAX_ROWS_PER_HOUR = 120
const HOUR_MS = 3_600_000

export interface RefusedRequest {
  /** The principal that asked. */
  readonly principal: string
  /** The thing that was refused, such as a verb, or a capability of a limb. */
  readonly what: string
  /** The line of the log; absent: there is none. */
  readonly line?: { readonly message: string; readonly fields: object }
  /** Called when it has a row, with how many refusals that stands for; for an event. */
  readonly told?: (count: number) => void
  readonly row: {
    readonly kind: AuditKind
    readonly nodeId: string | undefined
    readonly outcome: string
    readonly detail: Readonly<Record<string, unknown>>
  }
}

/** Lines of the log and rows of the audit log for requests that were refused, at a pace that fills neither. */
export class RefusedRequests {
  readonly #context: BridgeContext
  readonly #throttle: LogThrottle
  #hourEnds: MonotonicMs
  /** The rows of each principal in this hour. */
  readonly #rows = new Map<string, number>()

  constructor(context: BridgeContext) {
    this.#context = context
    this.#throttle = new LogThrottle(context.clock, PACE)
    this.#hourEnds = plusMs(context.clock.monotonicMs(), HOUR_MS)
  }

  record(refused: RefusedRequest): void {
    this.#context.counters.count('requests_refused')
    const { principal, what } = refused
    const key = JSON.stringify(this.#hasRoom(principal) ? [principal, what] : [principal])
    this.#throttle.write(key, (suppressed) => this.#record(refused, suppressed))
  }

  stop(): void {
    this.#throttle.stop()
  }

  #hasRoom(principal: string): boolean {
    const now = this.#context.clock.monotonicMs()
    if (now >= this.#hourEnds) {
      this.#hourEnds = plusMs(now, HOUR_MS)
      this.#rows.clear()
    }
    return (this.#rows.get(principal) ?? 0) < MAX_ROWS_PER_HOUR
  }

  /** Nobody waits for the row; a store that fails says so itself. */
  #record({ principal, line, row, told }: RefusedRequest, suppressed: number): void {
    const { log, store } = this.#context
    this.#rows.set(principal, (this.#rows.get(principal) ?? 0) + 1)
    const count = suppressed + 1
    if (line) log.warn({ principal, ...line.fields, ...(suppressed > 0 && { suppressed }) }, line.message)
    told?.(count)
    const detail = { ...row.detail, ...(count > 1 && { count }) }
    store
      .recordInvocation(undefined, audit(this.#context, row.kind, { ...row, detail, actor: principal }))
      .catch((error: unknown) => log.debug({ error: messageOf(error) }, 'a refusal is not in the audit log'))
  }
}
