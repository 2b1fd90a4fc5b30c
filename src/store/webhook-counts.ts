/** The deliveries of one kind that wait for one webhook. */
export interface CountedKind {
  readonly kind: string
  readonly n: number
  /** The number of the oldest of them. */
  readonly oldest: number
}

/**
 * Returns how many of each kind are beyond the bound: they go from the kind of which there are most, so that no flood of one
 * kind pushes out another; of two with as many, from the one with the oldest.
 */
export function beyondOf(kinds: readonly CountedKind[], max: number): readonly { kind: string; n: number }[] {
  const left = kinds.map(({ kind, n, oldest }) => ({ kind, had: n, n, oldest }))
  let beyond = left.reduce((sum, { n }) => sum + n, 0) - max
  while (beyond > 0) {
    left.sort((a, b) => b.n - a.n || a.oldest - b.oldest)
    const [first, second] = left
    if (first === undefined) break
    // As many at once as leave it the largest.
    const step = Math.min(beyond, Math.max(1, first.n - (second?.n ?? 0)))
    first.n -= step
    beyond -= step
  }
  return left.flatMap(({ kind, had, n }) => (had > n ? [{ kind, n: had - n }] : []))
}
