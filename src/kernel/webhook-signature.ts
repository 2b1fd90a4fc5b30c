import { createHmac } from 'node:crypto'

/** Signatures of Standard Webhooks, version 1 (symmetric). */

const PREFIX = 'whsec_'
const MIN_BYTES = 24
const MAX_BYTES = 64
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

/** The key of a secret as it is written, or undefined when it is none: 24 to 64 bytes in base64 behind `whsec_`. */
function keyOf(secret: string): Buffer | undefined {
  const text = secret.slice(PREFIX.length)
  if (!secret.startsWith(PREFIX) || !BASE64.test(text)) return undefined
  const key = Buffer.from(text, 'base64')
  // Node passes over what is no base64 and over a wrong length; the bytes tell whether it was meant so.
  const whole = key.toString('base64').replace(/=+$/, '') === text.replace(/=+$/, '')
  return whole && key.length >= MIN_BYTES && key.length <= MAX_BYTES ? key : undefined
}

/** Returns whether a text is a secret of Standard Webhooks. */
export function isWebhookSecret(text: string): boolean {
  return keyOf(text) !== undefined
}

/**
 * Returns the value of `webhook-signature`: one `v1,<base64>` for each secret, with a space between. HMAC-SHA256 over
 * id, time and body, joined by dots. Throws an error that does not hold the secret.
 */
export function webhookSignature(
  secrets: readonly string[],
  id: string,
  timestamp: string,
  body: Uint8Array,
): string {
  return secrets
    .map((secret) => {
      const key = keyOf(secret)
      if (key === undefined) throw new Error('the secret is not `whsec_` and the base64 of 24 to 64 bytes')
      return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')}`
    })
    .join(' ')
}
