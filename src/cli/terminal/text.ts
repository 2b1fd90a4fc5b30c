import { escapeText } from '../../kernel/escape-text.ts'
import type { OutputStream } from '../context.ts'

/** Text for a terminal. Every value that came from the network goes through `shown` on its way out. */

/** One line, nothing in it that a terminal obeys. */
export function shown(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (typeof value === 'string') return escapeText(value)
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return escapeText(JSON.stringify(value))
}

export function print(output: OutputStream, text: string): void {
  output.write(text.endsWith('\n') ? text : `${text}\n`)
}

const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u
const COMBINING = /\p{Mn}|\p{Me}/u

/** Columns that a terminal gives to a text: two for an East Asian character, none for a combining mark. */
export function displayWidth(text: string): number {
  let width = 0
  for (const char of text) width += COMBINING.test(char) ? 0 : WIDE.test(char) ? 2 : 1
  return width
}

export interface Column<T> {
  readonly title: string
  readonly value: (row: T) => unknown
}

/** An aligned table; every value is made visible. Ends without spaces and with a newline. */
export function table<T>(columns: readonly Column<T>[], rows: readonly T[]): string {
  const lines = [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map((column) => shown(column.value(row)) || '-')),
  ]
  const widths = columns.map((_, i) =>
    lines.reduce((max, line) => Math.max(max, displayWidth(line[i] ?? '')), 0),
  )
  return lines
    .map(
      (line) =>
        `${line
          .map((text, i) => pad(text, widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - displayWidth(text)))
}

/** `key: value` lines, aligned. */
export function pairs(entries: readonly (readonly [string, unknown])[]): string {
  const width = entries.reduce((max, [key]) => Math.max(max, displayWidth(escapeText(key))), 0)
  return entries.map(([key, value]) => `${`${escapeText(key)}:`.padEnd(width + 2)}${shown(value)}\n`).join('')
}

/** Cut to a terminal's width, so that a long row does not break a live table. */
export function clip(line: string, columns: number): string {
  if (displayWidth(line) <= columns) return line
  let text = ''
  let width = 0
  for (const char of line) {
    width += displayWidth(char)
    if (width > columns - 1) return `${text}…`
    text += char
  }
  return text
}

const UNITS = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'm'],
] as const

/** `5s`, `12m`, `3h`, `9d`. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  for (const [size, unit] of UNITS) if (whole >= size * 2) return `${Math.floor(whole / size)}${unit}`
  return `${whole}s`
}

/** Says how long ago an ISO time was, or `in 5m` when it is still to come; empty when it is no time. */
export function age(time: unknown, nowMs: number): string {
  const at = typeof time === 'string' ? Date.parse(time) : Number.NaN
  if (Number.isNaN(at)) return ''
  const seconds = (nowMs - at) / 1000
  return seconds < -1 ? `in ${span(-seconds)}` : `${span(seconds)} ago`
}

/** `BCDFGHJK` as it is read aloud: `BCDF GHJK`. */
export function spokenCode(code: unknown): string {
  return typeof code === 'string' ? shown(code).replace(/^(.{4})(.{4})$/, '$1 $2') : ''
}
