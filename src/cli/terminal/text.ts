import { escapeText } from '../../kernel/escape-text.ts'
import type { Io, OutputStream } from '../context.ts'

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

/** Some terminals (a serial line) say that they have no size, which is 0. */
const DEFAULT_COLUMNS = 80
const MIN_COLUMNS = 20

/** The columns that lines have to fit into. Lines that go to a file or a program are whole, unless COLUMNS says how wide. */
export function widthOf({ stdout, env }: Pick<Io, 'stdout' | 'env'>): number {
  if (stdout.isTTY) return Math.max(MIN_COLUMNS, stdout.columns || DEFAULT_COLUMNS)
  const asked = Number(env.COLUMNS)
  return asked >= MIN_COLUMNS ? asked : Number.POSITIVE_INFINITY
}

export interface Column<T> {
  readonly title: string
  readonly value: (row: T) => unknown
  /** Its values are shortened when the table is too wide; what a person copies from the others stays whole. */
  readonly cut?: boolean
}

/** Columns are kept apart by so much. */
const GAP = '  '
const MIN_CUT_WIDTH = 8

/**
 * An aligned table; every value is made visible. Ends without spaces and with a newline. A table that is wider than
 * `width` is cut: first the columns that say so, the widest most, then the ends of its lines.
 */
export function table<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  width = Number.POSITIVE_INFINITY,
): string {
  const lines = cellsOf(columns, rows)
  const widths = fittedWidths(columns, widthsOf(columns, lines), width)
  return lines
    .map((line) => {
      const cells = line.map((text, i) => pad(clip(text, widths[i] ?? 0), widths[i] ?? 0))
      return `${clip(cells.join(GAP).trimEnd(), width).trimEnd()}\n`
    })
    .join('')
}

/** Returns whether the table needs no cut to fit. */
export function tableFits<T>(columns: readonly Column<T>[], rows: readonly T[], width: number): boolean {
  return totalOf(widthsOf(columns, cellsOf(columns, rows))) <= width
}

function cellsOf<T>(columns: readonly Column<T>[], rows: readonly T[]): string[][] {
  return [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map((column) => shown(column.value(row)) || '-')),
  ]
}

function widthsOf(columns: readonly unknown[], lines: readonly string[][]): number[] {
  return columns.map((_, i) => lines.reduce((max, line) => Math.max(max, displayWidth(line[i] ?? '')), 0))
}

function totalOf(widths: readonly number[]): number {
  return widths.reduce((sum, each) => sum + each, 0) + GAP.length * Math.max(0, widths.length - 1)
}

function fittedWidths<T>(columns: readonly Column<T>[], natural: readonly number[], width: number): number[] {
  const widths = [...natural]
  for (;;) {
    const excess = totalOf(widths) - width
    if (excess <= 0) return widths
    const cuttable = widths.map((each, i) => (columns[i]?.cut && each > MIN_CUT_WIDTH ? each : 0))
    const widest = Math.max(...cuttable)
    if (widest === 0) return widths
    // Down to the next widest one, so that no column gives more than the others have left.
    const next = Math.max(MIN_CUT_WIDTH, ...cuttable.filter((each) => each < widest))
    const at = cuttable.indexOf(widest)
    widths[at] = Math.max(next === widest ? widest - 1 : next, widest - excess)
  }
}

function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - displayWidth(text)))
}

/** Lines of at most `width` columns, broken between words where there is one. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ').flatMap((each) => broken(each, width))) {
    const longer = line === '' ? word : `${line} ${word}`
    if (displayWidth(longer) <= width) line = longer
    else {
      lines.push(line)
      line = word
    }
  }
  return [...lines, line]
}

function broken(word: string, width: number): string[] {
  if (displayWidth(word) <= width) return [word]
  const parts: string[] = []
  let part = ''
  for (const char of word) {
    if (displayWidth(part + char) > width) {
      parts.push(part)
      part = ''
    }
    part += char
  }
  return [...parts, part]
}

/** `key: value` lines, aligned, in which a long value goes on below itself. */
export function wrappedPairs(
  entries: readonly (readonly [string, unknown])[],
  width: number,
  indent = '',
): string {
  const keys = Math.max(0, ...entries.map(([key]) => key.length)) + 2
  const room = Math.max(MIN_CUT_WIDTH, width - keys - indent.length)
  const margin = `${indent}${' '.repeat(keys)}`
  return entries
    .map(([key, value]) => {
      const text = shown(value)
      const lines = Number.isFinite(room) ? wrapped(text, room) : [text]
      return `${indent}${`${key}:`.padEnd(keys)}${lines.join(`\n${margin}`)}\n`
    })
    .join('')
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

/** A code however it was read aloud, typed or pasted: `bcdf ghjk`, `BCDF-GHJK`. */
export function codeIn(text: string): string {
  return text.replaceAll(/[\s-]/g, '').toUpperCase()
}

/** `BCDFGHJK` as it is read aloud: `BCDF GHJK`. */
export function spokenCode(code: unknown): string {
  return typeof code === 'string' ? shown(code).replace(/^(.{4})(.{4})$/, '$1 $2') : ''
}
