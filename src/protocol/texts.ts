import { z } from 'zod'
import { hiddenIn, isBlank, unreadable } from '../kernel/readable-text.ts'
import { LIMITS } from './limits.ts'

/** The schemas of texts that people or models read. */

/** A short text for people: nothing in it is invisible or turns the direction of writing (`kernel/readable-text.ts`). */
export function printable(max: number) {
  return z
    .string()
    .min(1)
    .max(max)
    .refine((text) => unreadable(text) === undefined, { error: ({ input }) => unreadable(String(input)) })
}

/** A text that programs compare and people read too: it may be empty, or blank. */
export function visible(max: number) {
  return z
    .string()
    .max(max)
    .refine((text) => unreadable(text) === undefined, { error: ({ input }) => unreadable(String(input)) })
}

/** Any JSON; what is written in it is read too. */
export const visibleJson = z
  .unknown()
  .refine((value) => hiddenIn(JSON.stringify(value) ?? '') === undefined, {
    error: ({ input }) => unreadable(JSON.stringify(input)),
  })

export const displayNameSchema = printable(LIMITS.displayNameChars).refine((text) => !isBlank(text), {
  error: 'is blank',
})

/** Returns whether it is an absolute URL of HTTP without an account in it. */
export function isHttpUrl(text: string): boolean {
  if (hiddenIn(text) !== undefined || /\s/.test(text)) return false
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === ''
}
