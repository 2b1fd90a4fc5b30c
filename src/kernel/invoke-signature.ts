import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
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

/**
 * Makes the signature of version 2: `v2=` and HMAC-SHA256 in hexadecimal over four lines without an end of the last:
 * `limb-invoke-2`, time, nonce, and SHA-256 of the body in hexadecimal. No header holds a line feed, so nobody can cut
 * the same bytes into another time, nonce and body, as the dots of version 1 allow whoever does not look at their form.
 */
export function invokeSignature2(secret: string, time: string, nonce: string, body: Uint8Array): string {
  const digest = createHash('sha256').update(body).digest('hex')
  const hmac = createHmac('sha256', secret).update(['limb-invoke-2', time, nonce, digest].join('\n'))
  return `v2=${hmac.digest('hex')}`
}

const TIME = /^\d{1,12}$/
const NONCE = /^[A-Za-z0-9_-]{1,64}$/

/** Returns whether time and nonce have the form of the bridge's own: then the first two dots of version 1 are its own. */
export function isInvokeStamp(time: string, nonce: string): boolean {
  return TIME.test(time) && NONCE.test(nonce)
}

/** Constant time in the signature. */
export function isInvokeSignature(expected: string, given: string): boolean {
  const [one, other] = [Buffer.from(expected), Buffer.from(given)]
  return one.length === other.length && timingSafeEqual(one, other)
}
