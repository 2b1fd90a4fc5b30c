import { escapeJson } from '../../kernel/escape-text.ts'
import type { LineOutput } from './line-output.ts'
import type { DisplayRow } from './presentation.ts'
import { type Column, table } from './text.ts'

/** The text of a list that is written some items at a time. */
export interface ListForm {
  /** Returns the text of further items; `isFirst`: nothing was written before. */
  part(items: readonly DisplayRow[], isFirst: boolean): string
  /** Returns the text behind all items, of which there may be none, and of what is said beside them. */
  end(beside: DisplayRow, isEmpty: boolean): string
}

/** A list whose items are written as they come: what was written stays, whatever becomes of the command. */
export class GrowingList {
  readonly #output: LineOutput
  readonly #form: ListForm
  #isEmpty = true

  constructor(output: LineOutput, form: ListForm) {
    this.#output = output
    this.#form = form
  }

  /** Returns why nothing more can be written; undefined while it can. */
  get fault(): string | undefined {
    const { failure, ended } = this.#output
    return failure !== undefined ? `cannot write: ${failure.message}` : ended ? 'nobody reads on' : undefined
  }

  /** Resolves when the reader takes more. */
  async add(items: readonly DisplayRow[]): Promise<void> {
    if (items.length === 0) return
    const text = this.#form.part(items, this.#isEmpty)
    this.#isEmpty = false
    await this.#output.writeText(text)
  }

  async end(beside: DisplayRow): Promise<void> {
    await this.#output.writeText(this.#form.end(beside, this.#isEmpty))
  }
}

/** Returns the form for people: a table with one head. Its cells are whole, however narrow the terminal is. */
export function tableForm(columns: readonly Column<DisplayRow>[]): ListForm {
  return {
    part(items, isFirst) {
      const text = table(columns, items)
      return isFirst ? text : text.slice(text.indexOf('\n') + 1)
    },
    end: () => '',
  }
}

/** Returns the form of one JSON document a line: each is whole when it is written. */
export function linesForm(lineOf: (item: DisplayRow) => string): ListForm {
  return { part: (items) => items.map((item) => `${lineOf(item)}\n`).join(''), end: () => '' }
}

/** Returns the form of one JSON document with the list as `items`, which is whole at its end. */
export function documentForm(): ListForm {
  return {
    part: (items, isFirst) =>
      `${isFirst ? '{\n  "items": [' : ','}\n${items.map((item) => indented(item, 4)).join(',\n')}`,
    end(beside, isEmpty) {
      const rest = Object.entries(beside).map(
        ([key, value]) => `,\n  ${JSON.stringify(key)}: ${indented(value, 2).trimStart()}`,
      )
      return `${isEmpty ? '{\n  "items": []' : '\n  ]'}${rest.join('')}\n}\n`
    },
  }
}

function indented(value: unknown, columns: number): string {
  const lines = JSON.stringify(value, null, 2).split('\n')
  return lines.map((line) => `${' '.repeat(columns)}${escapeJson(line)}`).join('\n')
}
