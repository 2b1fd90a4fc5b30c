import type { Random } from './random.ts'

type Mutation = (random: Random, bytes: Buffer) => Buffer

/** Values that length fields and identifiers break at. */
const EDGES = [0x00, 0x01, 0x23, 0x2b, 0x2f, 0x7f, 0x80, 0xc0, 0xed, 0xff]

function at(bytes: Buffer, index: number, value: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[index] = value
  return copy
}

function spliced(bytes: Buffer, from: number, to: number, between: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, from), between, bytes.subarray(to)])
}

const MUTATIONS: readonly Mutation[] = [
  (random, bytes) => {
    const index = random.below(bytes.length)
    return at(bytes, index, (bytes[index] ?? 0) ^ (1 << random.below(8)))
  },
  (random, bytes) => at(bytes, random.below(bytes.length), random.below(256)),
  (random, bytes) => at(bytes, random.below(bytes.length), random.pick(EDGES)),
  // Type and flags.
  (random, bytes) => at(bytes, 0, random.below(256)),
  // The remaining length, without what it counts.
  (random, bytes) => at(bytes, 1, random.below(256)),
  (random, bytes) => spliced(bytes, 1, 2, Buffer.from([0xff, 0xff, 0xff, random.below(256)])),
  (random, bytes) => bytes.subarray(0, 1 + random.below(bytes.length)),
  (random, bytes) => {
    const index = random.below(bytes.length)
    return spliced(bytes, index, index, random.bytes(1 + random.below(8)))
  },
  (random, bytes) => {
    const index = random.below(bytes.length)
    return spliced(bytes, index, index + 1 + random.below(4), Buffer.alloc(0))
  },
  (random, bytes) => Buffer.concat([bytes, bytes.subarray(random.below(bytes.length))]),
  (random) => random.bytes(1 + random.below(64)),
]

/** One to three changes. Never empty, never longer than a few packets. */
export function mutated(random: Random, bytes: Buffer): Buffer {
  let changed = bytes
  for (let i = 1 + random.below(3); i > 0 && changed.length > 0; i--) {
    changed = random.pick(MUTATIONS)(random, changed)
  }
  return changed.length > 0 ? changed : Buffer.from([0])
}

/** Cuts a stream into segments: often none, sometimes single bytes. */
export function segments(random: Random, bytes: Buffer): Buffer[] {
  if (random.chance(0.4)) return [bytes]
  const longest = random.pick([1, 3, 16, 256])
  const cut: Buffer[] = []
  for (let from = 0; from < bytes.length && cut.length < 400; ) {
    const to = cut.length === 399 ? bytes.length : from + 1 + random.below(longest)
    cut.push(bytes.subarray(from, to))
    from = to
  }
  return cut
}
