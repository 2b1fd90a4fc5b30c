import { Refusal } from '../kernel/errors.ts'
import { LIMITS } from '../protocol/limits.ts'

/**
 * JSON with the keys of every object in order (by UTF-16 code units, as in RFC 8785), so that equal values are
 * equal texts and have equal hashes. For values that came out of JSON.parse.
 *
 * @throws Refusal `invalid_request` for a value nested deeper than LIMITS.jsonDepth: JSON.parse reads a hundred
 *   thousand brackets without complaint, and JSON.stringify then dies of a stack overflow.
 */
export function canonicalJson(value: unknown, depth = 0): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  if (depth >= LIMITS.jsonDepth) {
    throw new Refusal('invalid_request', `is nested deeper than ${LIMITS.jsonDepth} levels; flatten it`)
  }
  if (Array.isArray(value)) return `[${value.map((each) => canonicalJson(each, depth + 1)).join(',')}]`
  // On the way of every invocation: one list of keys, and no pairs.
  let members = ''
  for (const key of Object.keys(value).sort()) {
    const each = (value as Record<string, unknown>)[key]
    if (each === undefined) continue
    members += `${members === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(each, depth + 1)}`
  }
  return `{${members}}`
}

/** Returns whether a value nests no deeper than LIMITS.jsonDepth, so that it can be written out again. */
export function shallow(value: unknown, depth = 0): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (depth >= LIMITS.jsonDepth) return false
  for (const each of Object.values(value)) if (!shallow(each, depth + 1)) return false
  return true
}
