import { dirname, join } from 'node:path'
import { pathText } from '../../protocol/decode.ts'
import { crossProblems } from './checks.ts'
import { type Environment, environmentWarnings, overridesOf } from './env.ts'
import type { ConfigFile } from './file.ts'
import { LEAVES, SECTIONS } from './leaves.ts'
import { ConfigError, type ConfigProblem, type Locate, problemsOf, problemText } from './problems.ts'
import { isRecord } from './record.ts'
import { configSchema, type Settings } from './schema.ts'

export { ConfigError } from './problems.ts'

/** The settings in force: defaults filled in, the control socket's path made out. */
export type Config = Settings & { readonly control: { readonly socket: string } }

export interface LoadedConfig {
  readonly config: Config
  /** Says where each key's value comes from: `default`, `file`, or the environment variable's name. */
  readonly sources: ReadonlyMap<string, string>
  readonly warnings: readonly string[]
  readonly file: string | undefined
}

/** Relative to the working directory, as the database is. */
function defaultSocket(databasePath: string): string {
  return databasePath === ':memory:'
    ? join('data', 'control.sock')
    : join(dirname(databasePath), 'control.sock')
}

/**
 * Fills in defaults and lets the environment override. Without a file it needs no YAML, so that a client that only looks
 * for a socket does not load the parser. Throws ConfigError with every problem that was found.
 */
export function resolveConfig(file: ConfigFile | undefined, env: Environment): LoadedConfig {
  const values = fileValues(file)
  const sources = sourcesOf(values)
  const fileProblems = problemsIn(values, locator(file, sources))
  for (const { variable, section, key, value } of overridesOf(env)) {
    const target = values[section] ?? {}
    values[section] = target
    // A section that is not one keeps its own problem.
    if (isRecord(target)) target[key] = value
    sources.set(`${section}.${key}`, variable)
  }

  const locate = locator(file, sources)
  const result = configSchema.safeParse(values)
  const problems = result.success ? [] : problemsOf(result.error, values, locate)
  // What a variable hides is told now, not on the day that somebody takes the variable away.
  if (!result.success || fileProblems.length > 0)
    throw new ConfigError(eachOnce([...fileProblems, ...problems]))
  const settings = result.data
  const socket = settings.control.socket ?? defaultSocket(settings.store.path)
  const cross = crossProblems(settings, socket)
  if (cross.length > 0) {
    throw new ConfigError(
      cross.map(({ path, message }) => ({ where: locate(path), message: `${pathText(path)}: ${message}` })),
    )
  }
  return {
    config: { ...settings, control: { ...settings.control, socket } },
    sources,
    warnings: environmentWarnings(env),
    file: file?.name,
  }
}

function problemsIn(values: unknown, locate: Locate): ConfigProblem[] {
  const { error } = configSchema.safeParse(values)
  return error === undefined ? [] : problemsOf(error, values, locate)
}

function eachOnce(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return [...new Map(problems.map((problem) => [problemText(problem), problem])).values()]
}

/** A copy; a section of which every key is commented out is `null` in YAML, and means its defaults. */
function fileValues(file: ConfigFile | undefined): Record<string, unknown> {
  const values: Record<string, unknown> = { ...file?.values }
  for (const { key, list } of SECTIONS) {
    const section = values[key]
    if (section === null) values[key] = list ? [] : {}
    else if (isRecord(section)) values[key] = { ...section }
  }
  return values
}

function sourcesOf(values: Readonly<Record<string, unknown>>): Map<string, string> {
  const lists = SECTIONS.filter(({ list }) => list).map(({ key }): [string, string] => [
    key,
    Object.hasOwn(values, key) ? 'file' : 'default',
  ])
  const leaves = LEAVES.map((leaf): [string, string] => {
    const section = values[leaf.section]
    const inFile = isRecord(section) && Object.hasOwn(section, leaf.key)
    return [leaf.path, inFile ? 'file' : 'default']
  })
  return new Map([...lists, ...leaves])
}

function locator(file: ConfigFile | undefined, sources: ReadonlyMap<string, string>): Locate {
  return (path) => {
    const source = sources.get(pathText(path.slice(0, 2)))
    if (source !== undefined && source !== 'file' && source !== 'default') return source
    if (!file) return ''
    const line = file.lineOf(path)
    return line === undefined ? file.name : `${file.name}:${line}`
  }
}
