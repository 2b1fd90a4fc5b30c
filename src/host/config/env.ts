import { didYouMean } from '../../kernel/did-you-mean.ts'
import { LEAVES } from './leaves.ts'

/** Environment variables that override the file. An empty one counts as not set. */

export type Environment = Readonly<Record<string, string | undefined>>

export interface Override {
  readonly variable: string
  readonly section: string
  readonly key: string
  readonly value: string | number
}

/** Variables that are not settings: which file, and what the command line reads. */
const OTHER_VARIABLES = ['LIMB_CONFIG', 'LIMB_PASSWORD', 'LIMB_URL']

export const ENVIRONMENT_VARIABLES: readonly string[] = [
  ...LEAVES.flatMap((leaf) => (leaf.env === undefined ? [] : [leaf.env])),
  ...OTHER_VARIABLES,
]

export function overridesOf(env: Environment): Override[] {
  return LEAVES.flatMap((leaf) => {
    const text = leaf.env === undefined ? undefined : env[leaf.env]
    if (leaf.env === undefined || text === undefined || text === '') return []
    // Anything that is not a plain number stays a text, and the schema says what is allowed.
    const value = leaf.type === 'integer' && /^\d{1,15}$/.test(text) ? Number(text) : text
    return [{ variable: leaf.env, section: leaf.section, key: leaf.key, value }]
  })
}

/** A misspelt variable would otherwise be obeyed by nobody, silently. */
export function environmentWarnings(env: Environment): string[] {
  return Object.keys(env)
    .filter((name) => name.startsWith('LIMB_') && !ENVIRONMENT_VARIABLES.includes(name))
    .map((name) => {
      const near = didYouMean(name, ENVIRONMENT_VARIABLES)
      const hint = near === undefined ? `known: ${ENVIRONMENT_VARIABLES.join(', ')}` : `did you mean ${near}?`
      return `the environment variable ${name} is not one of the bridge's and is ignored; ${hint}`
    })
}
