import { createHmac, timingSafeEqual } from 'node:crypto'
import type { KeyHash } from './secrets.ts'

/** Signatures of invocations over HTTP, for the bridge that makes them and for limbs that check them. */

/**
 * The secret of one limb, from the bridge's own. It stands in no database: whoever reads a backup of one can sign
 * nothing. It belongs to the key, so that a replaced or rotated key ends it.
 */
export function deriveInvokeSecret(master: Uint8Array, nodeId: string, key: KeyHash): string {
  return createHmac('sha256', master)
    .update('limb-invoke-secret\0')
    .update(nodeId)
    .update('\0')
    .update(key.hash)
    .digest('base64url')
}

/** `v1=` and HMAC-SHA256 in hexadecimal over time, nonce and body, joined by dots. */
export function invokeSignature(secret: string, time: string, nonce: string, body: Uint8Array): string {
  const hmac = createHmac('sha256', secret).update(`${time}.${nonce}.`).update(body)
  return `v1=${hmac.digest('hex')}`
}

/** Constant time in the signature. */
export function isInvokeSignature(expected: string, given: string): boolean {
  const [one, other] = [Buffer.from(expected), Buffer.from(given)]
  return one.length === other.length && timingSafeEqual(one, other)
}
