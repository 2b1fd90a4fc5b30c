import { z } from 'zod'
import { meantBy } from '../kernel/did-you-mean.ts'

/** Limbs are read leniently, so that newer firmware keeps working. Principals are read strictly: see `strictArgs`. */

/** The number of characters that are repeated of a key that nobody knows. */
const SHOWN_CHARS = 64
/** The number of arguments that are listed when none is near to what was written. */
const MAX_LISTED = 12

/**
 * The arguments of a principal's request. A key that is none of them is an error that names the one that was meant: a
 * misspelt argument that narrows or protects, such as `nodeId` or `idempotencyKey`, would else be left out silently.
 */
export function strictArgs<T extends z.ZodRawShape>(shape: T) {
  const known = Object.keys(shape)
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys' ? unknownArgument(String(issue.keys[0]), known) : undefined,
  })
}

export function shownKey(key: string): string {
  return key.length > SHOWN_CHARS ? `${key.slice(0, SHOWN_CHARS)}…` : key
}

/** Says what follows the name of the key. */
export function unknownArgument(key: string, known: readonly string[]): string {
  const meant = meantBy(key, known)
  if (meant !== undefined) return `is no argument here; did you mean ${meant}?`
  if (known.length === 0) return 'is no argument here; there are none'
  const more = known.length > MAX_LISTED ? ', …' : ''
  return `is no argument here; there are ${known.slice(0, MAX_LISTED).join(', ')}${more}`
}
