import { createHmac, randomBytes } from 'node:crypto'
import { hashKeyWith, type KeyHash } from './secrets.ts'

/**
 * A new key for a limb that may be away. It is made from the bridge's own secret and a salt, and the salt is stored with
 * its hash: so the bridge can make the same key again and tell the limb when it comes, and no key is ever stored.
 */
export function makeRotatedKey(
  master: Uint8Array,
  nodeId: string,
): { readonly key: string; readonly hash: KeyHash } {
  const salt = randomBytes(SALT_BYTES)
  const key = rotatedKey(master, nodeId, salt)
  return { key, hash: hashKeyWith(salt, key) }
}

/** The key of this hash, if it was made from this secret; undefined otherwise, as after another `invoke-secret`. */
export function rotatedKeyOf(
  master: Uint8Array,
  nodeId: string,
  { salt, hash }: KeyHash,
): string | undefined {
  const key = rotatedKey(master, nodeId, salt)
  return Buffer.from(hashKeyWith(salt, key).hash).equals(hash) ? key : undefined
}

const SALT_BYTES = 16

function rotatedKey(master: Uint8Array, nodeId: string, salt: Uint8Array): string {
  return createHmac('sha256', master)
    .update('limb-rotated-key\0')
    .update(nodeId)
    .update('\0')
    .update(salt)
    .digest('base64url')
}
