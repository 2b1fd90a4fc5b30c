import { stringify } from 'yaml'
import type { LoadedConfig } from './config.ts'
import { type Leaf, SECTIONS, type Section } from './leaves.ts'

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

/** The value of a list, with what is secret in its entries hidden. */
function listValue(loaded: LoadedConfig, { key, list }: Section): unknown {
  const secret = new Set(list?.item.filter((leaf) => leaf.secret).map((leaf) => leaf.key))
  const entries: unknown = Reflect.get(loaded.config, key)
  if (!Array.isArray(entries)) return entries
  return entries.map((entry: object) =>
    Object.fromEntries(
      Object.entries(entry).map(([name, value]) => [name, secret.has(name) ? HIDDEN : value]),
    ),
  )
}

export function shownSettings(loaded: LoadedConfig): ShownSetting[] {
  const shown = (key: string, value: unknown): ShownSetting => {
    const source = loaded.sources.get(key) ?? 'default'
    return { key, value, source: source === 'file' ? (loaded.file ?? source) : source }
  }
  return SECTIONS.flatMap((section) =>
    section.list
      ? [shown(section.key, listValue(loaded, section))]
      : section.leaves.map((leaf) => shown(leaf.path, settingValue(loaded, leaf))),
  )
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
    if (section.list) {
      const setting = shown.get(section.key)
      lines.push(`${section.key}: ${yamlValue(setting?.value)}  # ${setting?.source ?? ''}`)
      continue
    }
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
