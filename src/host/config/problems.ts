import type { z } from 'zod'
import { didYouMean } from '../../kernel/did-you-mean.ts'
import { escapeText } from '../../kernel/escape-text.ts'
import { pathText } from '../../protocol/decode.ts'
import { allowedAt, isSecret, keysAt, LEAVES, SECTIONS } from './leaves.ts'

/** Says what is wrong with a configuration, so that the next edit is the right one. */

export interface ConfigProblem {
  /** `limb-bridge.yaml:12`, `LIMB_MQTT_PORT`, or empty when it concerns the whole. */
  readonly where: string
  readonly message: string
}

/** The start stops with this; every problem that was found is in it. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(problemText).join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}

export function problemText(problem: ConfigProblem): string {
  return escapeText(problem.where === '' ? problem.message : `${problem.where}: ${problem.message}`)
}

/** Says where a path's value came from, for the reader of the message. */
export type Locate = (path: readonly PropertyKey[]) => string

const SHOWN_CHARS = 60
/** Matches an account in a URL: people write one, with its password, where none belongs. */
const ACCOUNT = /("(?:[a-z][a-z0-9+.-]*:\/\/)?)[^"\s]+@/gi

function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = (JSON.stringify(value) ?? String(value)).replace(ACCOUNT, '$1(hidden)@')
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text
}

function valueAt(values: unknown, path: readonly PropertyKey[]): unknown {
  let value = values
  for (const part of path) {
    value = typeof value === 'object' && value !== null ? Reflect.get(value, part) : undefined
  }
  return value
}

function unknownKey(path: readonly PropertyKey[], key: string): string {
  const here = keysAt(path)
  const near = didYouMean(key, here)
  const full = pathText([...path, key])
  if (near !== undefined) return `${full}: unknown key; did you mean ${pathText([...path, near])}?`
  const elsewhere = LEAVES.find((leaf) => leaf.key === key) ?? nearestLeaf(key)
  if (elsewhere) return `${full}: unknown key; did you mean ${elsewhere.path}?`
  return `${full}: unknown key; known here: ${here.join(', ')}`
}

function nearestLeaf(key: string) {
  const near = didYouMean(
    key,
    LEAVES.map((leaf) => leaf.key),
  )
  return near === undefined ? undefined : LEAVES.find((leaf) => leaf.key === near)
}

/**
 * Adds the reason. The own words of zod say less than the list of what is allowed; those written for the schema say
 * more.
 */
function because(issue: z.core.$ZodIssue): string {
  return /^(Invalid|Too)\b/.test(issue.message) ? '' : ` (it ${issue.message})`
}

function badValue(issue: z.core.$ZodIssue, values: unknown): string {
  const found = isSecret(issue.path) ? 'a value that is not shown' : shown(valueAt(values, issue.path))
  const section = issue.path.length < 2 && SECTIONS.some((s) => s.key === issue.path[0] && !s.list)
  const allowed = section ? 'keys and values' : allowedAt(issue.path)
  return `${pathText(issue.path)}: found ${found}; allowed: ${allowed}${because(issue)}`
}

export function problemsOf(error: z.ZodError, values: unknown, locate: Locate): ConfigProblem[] {
  return error.issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({
          where: locate([...issue.path, key]),
          message: unknownKey(issue.path, key),
        }))
      : [{ where: locate(issue.path), message: badValue(issue, values) }],
  )
}
