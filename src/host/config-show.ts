import { stringify } from 'yaml'
import type { LoadedConfig } from './config.ts'
import { LEAVES, type Leaf, SECTIONS } from './config-leaves.ts'

/** The effective settings, for people: what holds, and where it comes from. */

export interface ShownSetting {
  readonly key: string
  readonly value: unknown
  /** `default`, the file's name, or the environment variable's name. */
  readonly source: string
}

const HIDDEN = '(hidden)'

function settingValue(loaded: LoadedConfig, leaf: Leaf): unknown {
  const section: unknown = Reflect.get(loaded.config, leaf.section)
  const value: unknown = typeof section === 'object' && section ? Reflect.get(section, leaf.key) : undefined
  return leaf.secret && value !== null ? HIDDEN : value
}

export function shownSettings(loaded: LoadedConfig): ShownSetting[] {
  return LEAVES.map((leaf) => {
    const source = loaded.sources.get(leaf.path) ?? 'default'
    return {
      key: leaf.path,
      value: settingValue(loaded, leaf),
      source: source === 'file' ? (loaded.file ?? source) : source,
    }
  })
}

/** One YAML value on one line. */
export function yamlValue(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0, flowCollectionPadding: false }).trimEnd()
}

/** YAML that the bridge would read (but for hidden values), each line with its source. */
export function configText(loaded: LoadedConfig): string {
  const shown = new Map(shownSettings(loaded).map((setting) => [setting.key, setting]))
  const lines: string[] = []
  for (const section of SECTIONS) {
    lines.push(`${section.key}:`)
    const entries = section.leaves.map((leaf) => {
      const setting = shown.get(leaf.path)
      return { text: `  ${leaf.key}: ${yamlValue(setting?.value)}`, source: setting?.source ?? '' }
    })
    const width = Math.min(48, Math.max(...entries.map((entry) => entry.text.length)))
    for (const entry of entries) lines.push(`${entry.text.padEnd(width)}  # ${entry.source}`)
  }
  return `${lines.join('\n')}\n`
}
