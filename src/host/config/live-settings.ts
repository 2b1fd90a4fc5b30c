import { isDeepStrictEqual } from 'node:util'
import type { Config } from './config.ts'
import { LEAVES, SECTIONS } from './leaves.ts'

/**
 * Knows what a reload takes over in the running bridge, as the leaves of the schema say; the rest needs a restart.
 */

/** Keys that hold at once. */
const LIVE: ReadonlySet<string> = new Set([
  ...LEAVES.flatMap(({ live, path }) => (live ? [path] : [])),
  ...SECTIONS.flatMap(({ key, list }) => (list?.live ? [key] : [])),
])

export interface Change {
  /** The configuration that holds from now on: `current` with the live keys of `next`. */
  readonly config: Config
  /** Keys that changed and hold now. */
  readonly live: readonly string[]
  /** Keys that changed and wait for a restart. */
  readonly restart: readonly string[]
}

/** Every key of the schema; a section that is a list is one. */
const ALL_KEYS: readonly string[] = SECTIONS.flatMap(({ key, leaves }) =>
  leaves.length === 0 ? [key] : leaves.map(({ path }) => path),
)

type Sections = Record<string, Record<string, unknown>>

function valueAt(config: Config, path: string): unknown {
  const [section = '', key] = path.split('.')
  const values = (config as unknown as Sections)[section]
  return key === undefined ? values : values?.[key]
}

export function changeOf(current: Config, next: Config): Change {
  const changed = ALL_KEYS.filter((path) => !isDeepStrictEqual(valueAt(current, path), valueAt(next, path)))
  const live = changed.filter((path) => LIVE.has(path))
  const config = structuredClone(current)
  for (const path of live) {
    const [section = '', key] = path.split('.')
    // A section that is a list is taken over whole.
    const holder = key === undefined ? config : (config as unknown as Sections)[section]
    Object.assign(holder ?? {}, { [key ?? section]: valueAt(next, path) })
  }
  return { config, live, restart: changed.filter((path) => !live.includes(path)) }
}
