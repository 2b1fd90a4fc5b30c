import type { z } from 'zod'

/**
 * Says what is wrong with a value, for people who make devices: "is missing; must be a list", "must be text, not a
 * number". The words of a schema itself come before these.
 */

/**
 * Does the same as `schema.safeParse`. Nothing global is set: programs that use the client have messages of their
 * own.
 */
export function fastParse<T extends z.ZodType>(schema: T, value: unknown): z.ZodSafeParseResult<z.output<T>> {
  return schema.safeParse(value, { error: readableWords })
}

type Issue = z.core.$ZodIssue | z.core.$ZodRawIssue

/** Returns the words for an issue; undefined leaves it to zod. */
function readableWords(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return mustBe(wanted(issue), shown(issue.input, NUMBERS.has(issue.expected)))
    case 'invalid_value':
      return mustBe(wanted(issue), shown(issue.input, true))
    case 'invalid_union':
      return issue.errors.length === 0 ? undefined : mustBe(wanted(issue), shown(issue.input, false))
    case 'invalid_format':
      return `must be ${wanted(issue)}`
    case 'too_small':
      return atLeast(issue)
    case 'too_big':
      return `must ${amount('at most', Number(issue.maximum), issue.origin)}`
    case 'invalid_key':
      return issue.issues[0]?.message
    default:
      return undefined
  }
}

function mustBe(what: string, found: string | undefined): string {
  return found === undefined ? `is missing; must be ${what}` : `must be ${what}, not ${found}`
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
}
const NUMBERS = new Set(['number', 'int'])

function wanted(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return KINDS[issue.expected] ?? issue.expected
    case 'invalid_value':
      return oneOf(issue.values.map((value) => JSON.stringify(value)))
    case 'invalid_union':
      return oneOf(issue.errors.flatMap(([first]) => (first === undefined ? [] : [wanted(first)])))
    case 'invalid_format':
      return issue.format === 'datetime' ? 'a time such as 2026-01-02T03:04:05.006Z' : 'of another form'
    default:
      return 'something else'
  }
}

function oneOf(choices: readonly string[]): string {
  const last = choices.at(-1) ?? 'something else'
  return choices.length < 2 ? last : `${choices.slice(0, -1).join(', ')} or ${last}`
}

const SHOWN_CHARS = 40

/**
 * Returns how to show a value; undefined: not at all. It is the value itself where that says more than its kind; any
 * other text may be long, or a secret.
 */
function shown(value: unknown, exactly: boolean): string | undefined {
  if (value === undefined) return undefined
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'string') return exactly ? shownText(value) : 'text'
  return typeof value === 'number' && !exactly ? 'a number' : String(value)
}

function shownText(text: string): string {
  return JSON.stringify(text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text)
}

function atLeast(issue: z.core.$ZodRawIssue & { code: 'too_small' }): string {
  const least = Number(issue.minimum)
  const counted = UNITS[issue.origin] !== undefined
  return least === 1 && counted ? 'must not be empty' : `must ${amount('at least', least, issue.origin)}`
}

const UNITS: Readonly<Record<string, string>> = { string: 'characters', array: 'items' }

function amount(bound: string, number: number, origin: string): string {
  const unit = UNITS[origin]
  return unit === undefined ? `be ${bound} ${number}` : `have ${bound} ${number} ${unit}`
}
