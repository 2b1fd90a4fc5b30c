import { newKey, sha256Hex } from '../../kernel/secrets.ts'

/** Chance for pretended limbs: real, or the same at every run of one seed. */

export interface Chance {
  /** Returns a number from 0 up to 1. */
  next(): number
  /** The limb's own key. */
  readonly key: string
}

/** Makes a generator of the kind mulberry32: small, and good enough to decide when a pretended limb drops. */
function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/**
 * Makes the random source of a limb. Whoever knows the seed of a run knows its keys, so a seed is for tests and
 * demonstrations. Without one drops are random, and the key is made from a secret that was kept; without that it is
 * random too.
 */
export function chanceOf(seed: string | undefined, nodeId: string, keySecret?: string): Chance {
  if (seed === undefined) {
    return {
      next: () => Math.random(),
      key: keySecret === undefined ? newKey() : sha256Hex(`${keySecret}\0${nodeId}`),
    }
  }
  const key = sha256Hex(`${seed}\0${nodeId}`)
  return { next: seeded(Number.parseInt(key.slice(0, 8), 16)), key }
}
