import { hash } from 'node:crypto'

/** The chain of the audit log: what a row's hash is made of. The form never changes, because old rows have it. */

export interface ChainRow {
  readonly seq: number
  readonly at: number
  readonly actor: string
  readonly kind: string
  readonly node_id: string | null
  readonly outcome: string
  readonly detail: string
  readonly hash: Uint8Array
}

/** A row's number and hash: what the next row is chained to. */
export type ChainLink = Pick<ChainRow, 'seq' | 'hash'>

const HASH_BYTES = 32

/** What the first row of all is chained to. */
export const ORIGIN: ChainLink = { seq: 0, hash: new Uint8Array(HASH_BYTES) }

/** Makes SHA-256 of the hash before it and the row as JSON; its `detail` is `chainedJson`. */
export function chainHash(previous: Uint8Array, row: Omit<ChainRow, 'hash'>): Buffer {
  const { seq, at, actor, kind, node_id, outcome, detail } = row
  const text = JSON.stringify([seq, at, actor, kind, node_id, outcome, detail])
  // On the way of every call: one buffer from Node's pool, and one call into OpenSSL.
  const bytes = Buffer.allocUnsafe(HASH_BYTES + 3 * text.length)
  bytes.set(previous)
  return hash('sha256', bytes.subarray(0, HASH_BYTES + bytes.write(text, HASH_BYTES)), 'buffer')
}

/**
 * Writes equal values as equal texts. Keys are in JavaScript's own order: whole numbers by their value first, then the others
 * by UTF-16 code units. That is not the canonical JSON of `domain/canonical.ts`, and stays, because stored hashes have it.
 */
export function chainedJson(value: unknown): string {
  return JSON.stringify(sorted(value))
}

function sorted(value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value
  if (Array.isArray(value)) return value.map(sorted)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, each]) => [key, sorted(each)]))
}
