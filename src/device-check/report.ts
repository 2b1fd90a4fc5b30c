import { CLAUSES, type ClauseId } from './clauses.ts'

/** Says what came out for a clause. */
export type ClauseVerdict = 'holds' | 'wrong' | 'advice' | 'not_tried'

export interface Finding {
  readonly clause: ClauseId
  readonly verdict: ClauseVerdict
  readonly must: boolean
  readonly text: string
  readonly section: string
  /** Says what was seen, or why it was not tried. Parts of it may be the device's own words. */
  readonly seen?: string
}

const UNSEEN = 'the device never came so far'

/** Collects what is found. What was found broken once stays broken, with the first sentence about it. */
export class Report {
  readonly #broken = new Map<ClauseId, string>()
  readonly #held = new Set<ClauseId>()
  readonly #notTried = new Map<ClauseId, string>()
  readonly #onBroken: (clause: ClauseId, seen: string) => void

  constructor(onBroken: (clause: ClauseId, seen: string) => void = () => {}) {
    this.#onBroken = onBroken
  }

  holds(clause: ClauseId): void {
    this.#held.add(clause)
  }

  broken(clause: ClauseId, seen: string): void {
    if (this.#broken.has(clause)) return
    this.#broken.set(clause, seen)
    this.#onBroken(clause, seen)
  }

  notTried(clause: ClauseId, why: string): void {
    this.#notTried.set(clause, why)
  }

  /** Returns a finding for each clause, in the order in which a device meets them. */
  findings(): readonly Finding[] {
    return CLAUSES.map(({ id, must, text, section }) => ({
      clause: id,
      must,
      text,
      section,
      ...this.#of(id, must),
    }))
  }

  #of(id: ClauseId, must: boolean): { readonly verdict: ClauseVerdict; readonly seen?: string } {
    const seen = this.#broken.get(id)
    if (seen !== undefined) return { verdict: must ? 'wrong' : 'advice', seen }
    if (this.#held.has(id)) return { verdict: 'holds' }
    return { verdict: 'not_tried', seen: this.#notTried.get(id) ?? UNSEEN }
  }
}
