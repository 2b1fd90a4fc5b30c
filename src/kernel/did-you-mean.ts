/** Finds the word for "Did you mean …?". */

/** Letters to add, leave out, change or swap with their neighbour. */
function distance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swap = swapped ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY
      next.push(Math.min(change, swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    before = row
    row = next
  }
  return row[b.length] ?? 0
}

/** `allow_plaintext`, `allow-plaintext` and `allowPlaintext` are the same slip. */
function normalized(text: string): string {
  return text.toLowerCase().replace(/[-_]/g, '')
}

/** The candidate that was most likely meant, or undefined when none is close. Long input is not compared. */
export function didYouMean(text: string, candidates: readonly string[]): string | undefined {
  if (text.length > 64) return undefined
  const wanted = normalized(text)
  let best: string | undefined
  // One slip for every three letters: in a short word, two make another word.
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1
  for (const candidate of candidates) {
    const d = distance(wanted, normalized(candidate))
    if (d < bestDistance) {
      best = candidate
      bestDistance = d
    }
  }
  return best
}

/** Shorter words are a part of too many others. */
const SHORTEST_PART = 3

const SHORTEST_BEGINNING = 2

/**
 * Works like `didYouMean`, and also takes a word for the one that it is a part of, or the other way round:
 * `parameters` is meant as `params`, `timeout` as `timeoutSeconds`, `key` as `idempotencyKey`. Of several the one of
 * the nearest length.
 */
export function meantBy(text: string, candidates: readonly string[]): string | undefined {
  const near = didYouMean(text, candidates)
  if (near !== undefined || text.length > 64) return near
  const wanted = normalized(text)
  const related = candidates.filter((candidate) => isRelated(wanted, normalized(candidate)))
  const apart = (candidate: string) => Math.abs(normalized(candidate).length - wanted.length)
  return related.sort((a, b) => apart(a) - apart(b))[0]
}

/**
 * Lists the words of a command line that may have been meant: those that the text begins, else the one that it is a
 * slip for, else the one that it is a part of (`hist` and `histroy` are `history`).
 */
export function meantWords(text: string, candidates: readonly string[]): readonly string[] {
  const begun = text.length < SHORTEST_BEGINNING ? [] : candidates.filter((name) => name.startsWith(text))
  if (begun.length > 0) return begun
  const meant = meantBy(text, candidates)
  return meant === undefined ? [] : [meant]
}

/**
 * Works like `didYouMean`, and also takes an option for the one whose name has its words in it: `timeout` is meant as
 * `timeout-seconds`, `key` as `idempotency-key`.
 */
export function meantOption(text: string, candidates: readonly string[]): string | undefined {
  return (
    didYouMean(text, candidates) ?? candidates.find((candidate) => `-${candidate}-`.includes(`-${text}-`))
  )
}

function isRelated(a: string, b: string): boolean {
  const [short, long] = a.length < b.length ? [a, b] : [b, a]
  if (short.length < SHORTEST_PART) return false
  return (
    long.includes(short) || (short.length > SHORTEST_PART && short[0] === long[0] && isWithin(short, long))
  )
}

/** Returns whether the letters of `short` stand in `long` in this order. */
function isWithin(short: string, long: string): boolean {
  let found = 0
  for (const letter of long) if (letter === short[found]) found++
  return found === short.length
}
