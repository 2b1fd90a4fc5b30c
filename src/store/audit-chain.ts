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

/** The link to which the first row of all is chained. */
export const ORIGIN: ChainLink = { seq: 0, hash: new Uint8Array(HASH_BYTES) }

/** Makes SHA-256 of the hash before it and the row as JSON; its `detail` is the canonical JSON of `domain/canonical.ts`. */
export function chainHash(previous: Uint8Array, row: Omit<ChainRow, 'hash'>): Buffer {
  const { seq, at, actor, kind, node_id, outcome, detail } = row
  const text = JSON.stringify([seq, at, actor, kind, node_id, outcome, detail])
  // On the way of every invocation: one buffer from Node's pool, and one call into OpenSSL.
  const bytes = Buffer.allocUnsafe(HASH_BYTES + 3 * text.length)
  bytes.set(previous)
  return hash('sha256', bytes.subarray(0, HASH_BYTES + bytes.write(text, HASH_BYTES)), 'buffer')
}
