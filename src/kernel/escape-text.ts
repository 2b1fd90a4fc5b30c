/**
 * Text from the network, made safe for a terminal and for a line of a log: control characters, lone
 * surrogates, and the marks that hide or turn text are shown as escapes. Without it a display name could
 * start a line of its own, recolour the screen, or make `approve` look like something else.
 */

const UNSAFE =
  /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu

const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

function escaped(char: string): string {
  const short = SHORT[char]
  if (short !== undefined) return short
  const code = char.codePointAt(0) ?? 0
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
}

/** `text` with nothing in it that a terminal obeys; one line. */
export function escapeText(text: string): string {
  return text.replace(UNSAFE, escaped)
}

/** A line of JSON in which the same characters are `\uXXXX`: still the same JSON. */
export function escapeJson(json: string): string {
  return json.replace(UNSAFE, (char) => {
    let units = ''
    for (let i = 0; i < char.length; i++) {
      units += `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`
    }
    return units
  })
}
