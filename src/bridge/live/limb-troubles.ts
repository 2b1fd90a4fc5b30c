import type { Clock, MonotonicMs, WallMs } from '../../kernel/clock.ts'
import { putNewest } from '../../kernel/newest.ts'
import { TROUBLES, type TroubleKind } from '../../protocol/names.ts'

export interface LimbTrouble {
  readonly nodeId: string
  readonly kind: TroubleKind
  readonly at: WallMs
}

/** Older ones are over: such an event comes again every minute while it is true. */
const LATELY_MS = 600_000
/** The oldest goes for a new one. */
const MAX_TROUBLES = 100

/** The newest troubles of limbs, for those who were not there when the event was told. */
export class LimbTroubles {
  readonly #clock: Clock
  readonly #isKnown: (nodeId: string) => boolean
  /** The order is that of their times. */
  readonly #newest = new Map<string, LimbTrouble & { readonly reportedAt: MonotonicMs }>()

  /** `isKnown`: whether there is such a limb still. */
  constructor(clock: Clock, isKnown: (nodeId: string) => boolean) {
    this.#clock = clock
    this.#isKnown = isKnown
  }

  /** Takes every event; those of other kinds are passed over. */
  event(kind: string, at: WallMs, fields: object): void {
    const trouble = TROUBLES.find((each) => each === kind)
    if (trouble === undefined || !('nodeId' in fields)) return
    const nodeId = String(fields.nodeId)
    const newest = { nodeId, kind: trouble, at, reportedAt: this.#clock.monotonicMs() }
    putNewest(this.#newest, `${trouble} ${nodeId}`, newest, MAX_TROUBLES)
  }

  /** Returns those of the last ten minutes, the newest first. */
  lately(): LimbTrouble[] {
    const now = this.#clock.monotonicMs()
    for (const [key, { nodeId, reportedAt }] of this.#newest)
      if (now - reportedAt > LATELY_MS || !this.#isKnown(nodeId)) this.#newest.delete(key)
    return [...this.#newest.values()].reverse()
  }
}
