import { Refusal } from '../kernel/errors.ts'
import { LIMITS } from '../protocol/limits.ts'

/**
 * JSON with the keys of every object in order (by UTF-16 code units, as in RFC 8785), so that equal values are
 * equal texts and have equal hashes. For values that came out of JSON.parse.
 *
 * @throws Refusal `invalid_request` for a value nested deeper than LIMITS.jsonDepth: JSON.parse reads a hundred
 *   thousand brackets without complaint, and JSON.stringify then dies of a stack overflow. And for one of more
 *   characters than `maxChars`, as soon as that shows.
 */
export function canonicalJson(value: unknown, maxChars: number = Number.POSITIVE_INFINITY): string {
  return written(value, 0, { left: maxChars, maxChars })
}

/** The characters that a text may still have. */
interface Room {
  left: number
  readonly maxChars: number
}

function written(value: unknown, depth: number, room: Room): string {
  if (typeof value !== 'object' || value === null) return within(JSON.stringify(value) ?? 'null', room)
  if (depth >= LIMITS.jsonDepth) {
    throw new Refusal('invalid_request', `is nested deeper than ${LIMITS.jsonDepth} levels; flatten it`)
  }
  if (Array.isArray(value)) return `[${value.map((each) => written(each, depth + 1, room)).join(',')}]`
  // On the way of every invocation: one list of keys, and no pairs.
  let members = ''
  for (const key of Object.keys(value).sort()) {
    const each = (value as Record<string, unknown>)[key]
    if (each === undefined) continue
    members += `${members === '' ? '' : ','}${within(JSON.stringify(key), room)}:${written(each, depth + 1, room)}`
  }
  return `{${members}}`
}

function within(text: string, room: Room): string {
  room.left -= text.length
  if (room.left < 0) throw new Refusal('invalid_request', `has more than ${room.maxChars} bytes`)
  return text
}

/** Returns whether a value nests no deeper than LIMITS.jsonDepth, so that it can be written out again. */
export function shallow(value: unknown, depth = 0): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (depth >= LIMITS.jsonDepth) return false
  if (!Array.isArray(value)) return Object.values(value).every((each) => shallow(each, depth + 1))
  // In place: a copy of a quarter of a million numbers has an object for each of them.
  for (let i = 0; i < value.length; i++) {
    const each: unknown = value[i]
    if (typeof each === 'object' && !shallow(each, depth + 1)) return false
  }
  return true
}
