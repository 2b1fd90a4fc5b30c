import type { MonotonicMs } from '../../kernel/clock.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import type { Announcer } from '../live/announcer.ts'
import type { BridgeContext } from '../settings.ts'

/** Takeovers of one limb are logged at once, then at the end of each minute with a count. */
const PACE = { quietMs: 60_000, lines: 1, maxKeys: 500, maxLines: 200 } as const
/** One takeover is a device that came back before its old connection was found to be dead; two in this time are not. */
const WINDOW_MS = 60_000
const MAX_LIMBS = 1000
const MAX_ADDRESSES = 8

interface Count {
  since: MonotonicMs
  inWindow: number
  unreported: number
  readonly addresses: Set<string>
}

/**
 * Sessions of limbs that newer ones with the same key have ended. Two devices with one key end each other for ever,
 * and each looks like a limb with a bad connection.
 */
export class Takeovers {
  readonly #context: BridgeContext
  readonly #announce: Announcer['event']
  readonly #throttle: LogThrottle
  readonly #counts = new Map<string, Count>()
  /** Addresses of sessions that were replaced before the newer one has opened. */
  readonly #replaced = new Map<string, string>()

  constructor(context: BridgeContext, announce: Announcer['event']) {
    this.#context = context
    this.#announce = announce
    this.#throttle = new LogThrottle(context.clock, PACE)
  }

  /** A session of the limb was replaced; the newer one opens next. */
  ended(nodeId: string, address: string): void {
    if (this.#replaced.size >= MAX_LIMBS) this.#replaced.clear()
    this.#replaced.set(nodeId, address)
  }

  /** `older`: of the session that this one ends. */
  opened(nodeId: string, address: string, older: string | undefined): void {
    const replaced = older ?? this.#replaced.get(nodeId)
    this.#replaced.delete(nodeId)
    if (replaced !== undefined) this.#count(nodeId, replaced, address)
  }

  stop(): void {
    this.#throttle.stop()
  }

  #count(nodeId: string, older: string, newer: string): void {
    const { clock, counters } = this.#context
    counters.count('sessions_replaced')
    const now = clock.monotonicMs()
    const count = this.#countOf(nodeId, now)
    if (now - count.since > WINDOW_MS) {
      count.since = now
      count.inWindow = 0
    }
    count.inWindow++
    count.unreported++
    for (const address of [older, newer])
      if (count.addresses.size < MAX_ADDRESSES) count.addresses.add(address)
    if (count.inWindow > 1) this.#throttle.write(nodeId, () => this.#report(nodeId, count))
    else if (count.unreported === 1)
      this.#context.log.info({ nodeId, older, address: newer }, `${nodeId} connected anew`)
  }

  #countOf(nodeId: string, now: MonotonicMs): Count {
    let count = this.#counts.get(nodeId)
    if (count === undefined) {
      if (this.#counts.size >= MAX_LIMBS) this.#counts.clear()
      count = { since: now, inWindow: 0, unreported: 0, addresses: new Set() }
      this.#counts.set(nodeId, count)
    }
    return count
  }

  #report(nodeId: string, count: Count): void {
    const addresses = [...count.addresses]
    const { unreported } = count
    count.unreported = 0
    count.addresses.clear()
    this.#context.log.warn(
      { nodeId, addresses, count: unreported },
      `${nodeId}: newer connections ended older ones ${unreported} times, from ${addresses.join(' and ')}: two devices with one key? Give each its own (node rotate-key), or look at its connection`,
    )
    this.#announce('limb_replaced', { nodeId, addresses, count: unreported })
  }
}
