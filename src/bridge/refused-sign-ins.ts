import { type MonotonicMs, plusMs } from '../kernel/clock.ts'
import { messageOf } from '../kernel/errors.ts'
import type { Announcer } from './announcer.ts'
import type { Credentials } from './ports.ts'
import type { World } from './settings.ts'

/** The same name from the same address is told once in this time, with the count of those between. */
const QUIET_MS = 60_000
/** Different (name, address) pairs remembered; a flood of others is summed up under one. */
const MAX_PAIRS = 500

interface Seen {
  until: MonotonicMs
  suppressed: number
}

/** Log, event and audit row for refused sign-ins, at a pace that a flood cannot turn into a full disk. */
export class RefusedSignIns {
  readonly #world: World
  readonly #announce: Announcer['event']
  readonly #seen = new Map<string, Seen>()

  constructor(world: World, announce: Announcer['event']) {
    this.#world = world
    this.#announce = announce
  }

  record(
    name: string,
    { address, clientId }: Pick<Credentials, 'address' | 'clientId'>,
    reason: string,
  ): void {
    const suppressed = this.#due(JSON.stringify([name, address]))
    if (suppressed === null) return
    const { clock, log, store } = this.#world
    const who = name.slice(0, 64)
    log.warn(
      { name: who, address, clientId: clientId.slice(0, 64), reason, suppressed },
      `sign-in refused: ${reason}`,
    )
    this.#announce('sign_in_refused', { name: who, address, reason, suppressed })
    store
      .transact((tx) =>
        tx.audit({
          at: clock.wallMs(),
          actor: address,
          kind: 'signin.refused',
          nodeId: null,
          outcome: 'refused',
          detail: { name: who, reason, suppressed },
        }),
      )
      .catch((error: unknown) =>
        log.debug({ error: messageOf(error) }, 'refused sign-in not stored in the audit log'),
      )
  }

  /** How many were held back since the last time, or null when this one is held back too. */
  #due(pair: string): number | null {
    const now = this.#world.clock.monotonicMs()
    if (this.#seen.size >= MAX_PAIRS) this.#forget(now)
    const key = this.#seen.has(pair) || this.#seen.size < MAX_PAIRS ? pair : 'others'
    const seen = this.#seen.get(key)
    if (seen && now < seen.until) {
      seen.suppressed++
      return null
    }
    this.#seen.set(key, { until: plusMs(now, QUIET_MS), suppressed: 0 })
    return seen?.suppressed ?? 0
  }

  #forget(now: MonotonicMs): void {
    for (const [key, seen] of this.#seen) if (now >= seen.until) this.#seen.delete(key)
  }
}
