/** What the test knows of each limb: what was acknowledged, and what was under way when the process died. */

export interface LimbState {
  readonly phase: 'unknown' | 'pending' | 'approved' | 'refused'
  /** Of the request that is pending; null: none, or its answer did not arrive. */
  readonly requestId: string | null
  readonly displayName: string
  readonly caps: readonly string[]
  /** What a pending widening asks for; null: there is none. */
  readonly wanted: readonly string[] | null
  /** Capability to level. */
  readonly policies: Readonly<Record<string, string>>
}

export const UNKNOWN: LimbState = {
  phase: 'unknown',
  requestId: null,
  displayName: '',
  caps: [],
  wanted: null,
  policies: {},
}

/** Changes of one limb follow each other, so at most one of them is under way. */
export class ModelLimb {
  readonly name: string
  readonly key: string
  sure: LimbState = UNKNOWN
  /** What holds if the change that was under way was committed. */
  maybe: LimbState | null = null

  constructor(number: number) {
    this.name = `limb-${number}`
    this.key = `crash-test-key-${String(number).padStart(8, '0')}`
  }

  /** `change` resolves when it was acknowledged; if it rejects, nobody knows. */
  async under(next: LimbState, change: () => Promise<void>): Promise<void> {
    this.maybe = next
    await change()
    this.sure = this.maybe
    this.maybe = null
  }

  /**
   * Whether `actual` is what was acknowledged, or that with the change that was under way as a whole. From then
   * on it is known.
   */
  settle(actual: LimbState): boolean {
    const allowed = this.maybe === null ? [this.sure] : [this.sure, this.maybe]
    if (!allowed.some((state) => isSame(actual, state))) return false
    this.sure = actual
    this.maybe = null
    return true
  }
}

function isSame(actual: LimbState, expected: LimbState): boolean {
  const text = (state: LimbState) =>
    JSON.stringify([
      state.phase,
      state.displayName,
      state.caps,
      state.wanted,
      Object.entries(state.policies).sort(),
    ])
  const idFits = expected.requestId === null || actual.requestId === expected.requestId
  return idFits && text(actual) === text(expected)
}
