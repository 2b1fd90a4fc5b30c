import type { Clock } from '../kernel/clock.ts'
import { systemClock } from '../kernel/clock.ts'
import { Refusal } from '../kernel/errors.ts'
import {
  invokeSignature,
  invokeSignature2,
  isInvokeSignature,
  isInvokeStamp,
} from '../kernel/invoke-signature.ts'
import { check, parseJson } from '../protocol/decode.ts'
import { LIMITS } from '../protocol/limits.ts'
import { type Invocation, invocationSchema } from '../protocol/schemas.ts'

/** Checks for limbs that are HTTP servers whether a request comes from the bridge, now, for the first time. */

export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>

const WINDOW_MS = 60_000
/** A limb that is called more often than this in two minutes refuses the rest. */
const MAX_NONCES = 10_000

export class SignedInvocations {
  readonly #secret: () => string | undefined
  readonly #clock: Clock
  /** Each with the time until which it is remembered. */
  readonly #nonces = new Map<string, number>()

  /** `secret`: the `invokeSecret` that the limb was told last. */
  constructor(secret: () => string | undefined, clock: Clock = systemClock) {
    this.#secret = secret
    this.#clock = clock
  }

  /** The invocation of a request with these headers (names in lower case) and body. @throws Refusal; answer 401. */
  check(headers: Headers, body: Uint8Array): Invocation {
    const given = (name: string) => String(headers[name] ?? '')
    const [time, nonce, second] = [given('limb-time'), given('limb-nonce'), given('limb-signature-2')]
    const secret = this.#secret()
    // A bridge of before signs with version 1 alone.
    const [sign, signature] =
      second === '' ? [invokeSignature, given('limb-signature')] : [invokeSignature2, second]
    const signed =
      secret !== undefined &&
      isInvokeStamp(time, nonce) &&
      isInvokeSignature(sign(secret, time, nonce, body), signature)
    if (!signed) throw new Refusal('forbidden', 'the signature is not that of the bridge')
    const now = this.#clock.wallMs()
    if (!(Math.abs(now - Number(time) * 1000) <= WINDOW_MS))
      throw new Refusal('expired', 'the request is not of now; is the clock right?')
    this.#remember(nonce, now)
    return check(invocationSchema, parseJson(body, 2 * LIMITS.paramsBytes))
  }

  #remember(nonce: string, now: number): void {
    for (const [old, until] of this.#nonces) {
      if (until > now) break
      this.#nonces.delete(old)
    }
    if (this.#nonces.has(nonce)) throw new Refusal('conflict', 'the request has come before')
    if (this.#nonces.size >= MAX_NONCES) throw new Refusal('too_many_requests', 'too many requests')
    this.#nonces.set(nonce, now + 2 * WINDOW_MS)
  }
}
