import { replaceHidden } from './readable-text.ts'

/**
 * Text from the network, made safe for a terminal and for a line of a log: what `readable-text.ts` lets nobody write
 * is shown as escapes. Without it a display name could start a line of its own, recolour the screen, or make
 * `approve` look like something else.
 */

const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

function escaped(char: string): string {
  const short = SHORT[char]
  if (short !== undefined) return short
  const code = char.codePointAt(0) ?? 0
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
}

/** `text` with nothing in it that a terminal obeys; one line. */
export function escapeText(text: string): string {
  return replaceHidden(text, escaped)
}

/** A line of JSON in which the same characters are `\uXXXX`: still the same JSON. */
export function escapeJson(json: string): string {
  return replaceHidden(json, (char) => {
    let units = ''
    for (let i = 0; i < char.length; i++) {
      units += `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`
    }
    return units
  })
}
