import { isBlank, replaceHidden } from '../kernel/readable-text.ts'
import { LIMITS } from '../protocol/limits.ts'
import { isHttpUrl } from '../protocol/texts.ts'

/** Makes what firmware wrote for people or other programs fit for a description. Nobody wrote it for the bridge. */

/** Returns the readable part of a text, cut to `max` characters; undefined when nothing of it can be seen. */
export function readable(value: unknown, max: number): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined
  const text = replaceHidden(String(value), () => '').trim()
  if (isBlank(text)) return undefined
  return text.length <= max
    ? text
    : Array.from(text.slice(0, max - 1))
        .join('')
        .trimEnd() || undefined
}

export function readableUrl(value: unknown): string | undefined {
  return typeof value === 'string' && value.length <= LIMITS.urlChars && isHttpUrl(value) ? value : undefined
}

/** Returns a name of the letters that capabilities and commands have; undefined when nothing is left. */
export function nameFrom(value: unknown, max = 40): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined
  const name = String(value)
    .normalize('NFKD')
    .replaceAll(/\p{M}/gu, '')
    .replaceAll(/[^A-Za-z0-9_-]+/g, '_')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, max)
    .replace(/[_-]+$/, '')
  return name === '' ? undefined : name
}

/** Returns a topic as firmware names it; undefined when it is none. */
export function foreignTopic(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length === 0 || value.length > LIMITS.propertyTopicChars)
    return undefined
  return /[+#\0]/.test(value) || value.startsWith('$') ? undefined : value
}
