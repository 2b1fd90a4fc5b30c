import type { z } from 'zod'

/** What a schema says of a wrong value, in plain words: how it should be, and not how it is called inside. */

type Issue = z.core.$ZodIssue

export function issueText(issue: Issue | undefined): string {
  if (issue === undefined) return 'does not follow the schema'
  // Our own schemas have a hint where the pattern alone would say nothing.
  if (!/^(Too |Invalid |Unrecognized )/.test(issue.message)) return issue.message
  switch (issue.code) {
    case 'too_big':
      return `must ${sizeText(issue.origin, 'at most', issue.maximum)}`
    case 'too_small':
      return `must ${sizeText(issue.origin, 'at least', issue.minimum)}`
    case 'invalid_type':
      return `must be ${TYPES[issue.expected] ?? issue.expected}`
    case 'invalid_value':
      return `must be ${issue.values
        .map(String)
        .join(', ')
        .replace(/, ([^,]*)$/, ' or $1')}`
    case 'invalid_format':
      return issue.format === 'datetime' ? 'must be a time such as 2026-01-31T12:00:00.000Z' : issue.message
    case 'invalid_union':
      return issue.errors.map(([first]) => issueText(first)).join(', or ')
    case 'unrecognized_keys':
      return `has no place for ${issue.keys.join(', ')}`
    default:
      return issue.message
  }
}

const TYPES: Readonly<Record<string, string>> = {
  int: 'a whole number',
  number: 'a number',
  string: 'a text',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
}

const UNITS: Readonly<Record<string, string>> = { string: 'characters', array: 'entries' }

function sizeText(origin: string, bound: string, size: number | bigint): string {
  const unit = UNITS[origin]
  return unit === undefined ? `be ${bound} ${size}` : `have ${bound} ${size} ${unit}`
}
