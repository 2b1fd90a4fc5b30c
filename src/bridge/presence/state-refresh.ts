import { type MonotonicMs, plusMs } from '../../kernel/clock.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import type { Announcer } from '../live/announcer.ts'
import type { LiveLimb, Registry } from '../live/registry.ts'
import type { BridgeContext } from '../settings.ts'

/** The states that are published in one turn of the event loop, and the time for them; the rest follow right after. */
const BATCH = 500
const BATCH_MS = 5
const PAUSE_MS = 20

/**
 * Publishes the `state` of a limb again when `presence.stateRefreshSeconds` are over and it was heard meanwhile: what
 * subscribers have of its metrics is never older than that, however rarely it sends. A heartbeat does not come here;
 * only a publication does.
 */
export class StateRefresh {
  readonly #context: BridgeContext
  readonly #registry: Registry
  readonly #announcer: Announcer
  readonly #time: TurnTime
  /** The times at which the state of each limb was published, the oldest first. There are as many as limbs. */
  readonly #published = new Map<LiveLimb, MonotonicMs>()
  #cancel: (() => void) | undefined
  #stopped = false

  constructor(context: BridgeContext, registry: Registry, announcer: Announcer) {
    this.#context = context
    this.#registry = registry
    this.#announcer = announcer
    this.#time = new TurnTime(context.clock, BATCH_MS)
    announcer.onState = (limb) => this.#add(limb)
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
    this.#published.clear()
  }

  #add(limb: LiveLimb): void {
    if (this.#stopped) return
    this.#published.delete(limb)
    this.#published.set(limb, limb.statePublishedAt)
    if (this.#cancel === undefined) this.#arm()
  }

  #arm(): void {
    const { clock } = this.#context
    const [oldest] = this.#published.values()
    const everyMs = stateRefreshMs(this.#context)
    if (oldest === undefined || everyMs === Number.POSITIVE_INFINITY) return
    const delay = Math.max(PAUSE_MS, plusMs(oldest, everyMs) - clock.monotonicMs())
    this.#cancel = clock.after(delay, () => this.#refresh())
  }

  #refresh(): void {
    this.#cancel = undefined
    const due = this.#context.clock.monotonicMs() - stateRefreshMs(this.#context)
    let published = 0
    for (const [limb, at] of this.#published) {
      if (at > due || published === BATCH) break
      this.#published.delete(limb)
      if (!limb.heardSinceState || this.#registry.get(limb.record.nodeId) !== limb) continue
      this.#announcer.state(limb)
      published++
      if (!this.#time.isInTime) break
    }
    if (this.#cancel === undefined) this.#arm()
  }
}

/** The age that a published `state` may reach while its limb is heard; Infinity: any age. */
export function stateRefreshMs({ settings }: BridgeContext): number {
  const { stateRefreshSeconds } = settings.presence
  return stateRefreshSeconds === 0 ? Number.POSITIVE_INFINITY : stateRefreshSeconds * 1000
}
