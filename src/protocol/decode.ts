import type { z } from 'zod'
import { Refusal } from '../kernel/errors.ts'
import { LIMITS } from './limits.ts'
import { type Heartbeat, heartbeatSchema, type Registration, registrationSchema } from './schemas.ts'

/** Bytes from the network to checked values. Every failure is a Refusal with the path of the offending key. */

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

/** `capabilities[0].cap`, the way a person would write it. */
export function pathText(path: readonly PropertyKey[]): string {
  let text = ''
  for (const part of path) {
    text += typeof part === 'number' ? `[${part}]` : text === '' ? String(part) : `.${String(part)}`
  }
  return text
}

/** Checks `value`; the first issue becomes the Refusal. */
export function check<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const path = pathText(issue?.path ?? [])
  const message = issue?.message ?? 'does not follow the schema'
  throw new Refusal('invalid_request', path === '' ? message : `${path}: ${message}`, path || undefined)
}

/** A JSON object from UTF-8 bytes. */
export function parseJson(payload: Uint8Array, maxBytes: number): unknown {
  if (payload.length > maxBytes) {
    throw new Refusal('invalid_request', `the payload has ${payload.length} bytes; the limit is ${maxBytes}`)
  }
  let text: string
  try {
    text = utf8.decode(payload)
  } catch {
    throw new Refusal('invalid_request', 'the payload is not UTF-8; send JSON as UTF-8')
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Refusal('invalid_request', `the payload is not JSON: ${(error as Error).message}`)
  }
}

export function decodeRegistration(payload: Uint8Array): Registration {
  return check(registrationSchema, parseJson(payload, LIMITS.registrationBytes))
}

const EMPTY_HEARTBEAT: Heartbeat = Object.freeze({})

/** An empty payload, and `{}`, say no more than "I am alive". */
export function decodeHeartbeat(payload: Uint8Array): Heartbeat {
  if (payload.length === 0) return EMPTY_HEARTBEAT
  return check(heartbeatSchema, parseJson(payload, LIMITS.heartbeatBytes))
}
