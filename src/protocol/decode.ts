import type { z } from 'zod'
import { Refusal } from '../kernel/errors.ts'
import { fastParse } from './fast-parse.ts'
import { keyOfPlace, partBeyond } from './json-text.ts'
import { LIMITS } from './limits.ts'
import { type DecodedRegistration, registrationSchema } from './schemas.ts'
import { shownKey } from './strict.ts'

/** Bytes from the network to checked values. Every failure is a Refusal with the path of the offending key. */

const lenientUtf8 = new TextDecoder('utf-8')
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

/** `capabilities[0].cap`, the way a person would write it. */
export function pathText(path: readonly PropertyKey[]): string {
  let text = ''
  for (const part of path) {
    text += typeof part === 'number' ? `[${part}]` : text === '' ? String(part) : `.${String(part)}`
  }
  return text
}

export interface SchemaProblem {
  readonly path: string
  readonly keys: readonly PropertyKey[]
  readonly message: string
}

/**
 * Picks, of all that is wrong, what to report: a key that nobody knows first, because what is missing is often what
 * it was meant as.
 */
export function problemOf({ issues }: z.ZodError): SchemaProblem {
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1).map(shownKey) : []
  const keys = [...(issue?.path ?? []), ...unknown]
  return { path: pathText(keys), keys, message: issue?.message ?? 'does not follow the schema' }
}

/** Checks `value`; the first issue becomes the Refusal. */
export function check<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const result = fastParse(schema, value)
  if (result.success) return result.data
  const { path, message } = problemOf(result.error)
  throw new Refusal('invalid_request', path === '' ? message : `${path}: ${message}`, path || undefined)
}

/** A JSON value from UTF-8 bytes. `maxParts`: of the objects, lists and texts in it. */
export function parseJson(
  payload: Uint8Array,
  maxBytes: number,
  maxParts: number = LIMITS.jsonParts,
): unknown {
  if (payload.length > maxBytes) {
    throw new Refusal('invalid_request', `the payload has ${payload.length} bytes; the limit is ${maxBytes}`)
  }
  refuseMoreParts(payload, maxParts)
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

function refuseMoreParts(payload: Uint8Array, maxParts: number): void {
  const place = partBeyond(payload, maxParts)
  if (place === undefined) return
  const key = keyOfPlace(payload, place)
  const path = key && shownKey(lenientUtf8.decode(key))
  const message = `has more than ${maxParts} objects, lists and texts, ten numbers being as one; send less at once, or as one text`
  throw new Refusal(
    'invalid_request',
    path ? `${path}: ${message}` : `the payload ${message}`,
    path || undefined,
  )
}

export function decodeRegistration(payload: Uint8Array): DecodedRegistration {
  return check(registrationSchema, parseJson(payload, LIMITS.registrationBytes))
}
