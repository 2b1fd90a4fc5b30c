import { escapeJson } from '../../kernel/escape-text.ts'
import type { CliContext, OutputStream } from '../context.ts'
import { errorJson, usageError } from '../exit.ts'
import { documentForm, GrowingList, linesForm, tableForm } from './growing-list.ts'
import { LineOutput } from './line-output.ts'
import type { DisplayRow } from './presentation.ts'
import { type Column, print } from './text.ts'

/** The output of a command is text for people, one JSON document, or JSON Lines: this is where that is decided. */

export interface FormatOptions {
  readonly json?: boolean
  readonly jsonl?: boolean
}

export class Output {
  readonly #stdout: OutputStream
  readonly #options: FormatOptions

  constructor({ io }: CliContext, options: FormatOptions) {
    this.#stdout = io.stdout
    this.#options = options
  }

  /** True if the output is for people, so that it may be drawn anew on a terminal. */
  get isText(): boolean {
    return !this.#options.json && !this.#options.jsonl
  }

  /** True if JSON Lines were asked for by name. */
  get isJsonLines(): boolean {
    return this.#options.jsonl === true
  }

  /** Writes one answer: as a JSON document, or by `writeText`. */
  answer(value: unknown, writeText: () => void): void {
    if (this.isText) writeText()
    else writeJson(this.#stdout, value)
  }

  /** Opens an output of rows that come one after the other: as JSON a line for each, or as `humanLine` shows it. */
  rows(humanLine: (row: DisplayRow) => string): LineOutput {
    return new LineOutput(this.#stdout, this.isText ? humanLine : jsonLine)
  }

  /** Opens a list whose items come some at a time: as a table with these columns, as JSON Lines, or as one JSON document. */
  list(columns: readonly Column<DisplayRow>[]): GrowingList {
    const form = this.isText ? tableForm(columns) : this.isJsonLines ? linesForm(jsonLine) : documentForm()
    return new GrowingList(new LineOutput(this.#stdout, jsonLine), form)
  }

  /** @throws CliError when one document was asked for of rows that have no end. */
  refuseDocument(): void {
    if (this.#options.json)
      throw usageError('--json is one document; with --follow too, --jsonl prints one a line')
  }

  /** Writes an error as the document that was asked for; people read it on standard error. */
  failure(error: unknown): void {
    if (this.#options.json) writeJson(this.#stdout, errorJson(error))
  }
}

/** Writes one JSON document, the same for a terminal and a pipe. */
function writeJson(stdout: OutputStream, value: unknown): void {
  const lines = JSON.stringify(value ?? null, null, 2).split('\n')
  print(stdout, lines.map((line) => escapeJson(line)).join('\n'))
}

function jsonLine(row: DisplayRow): string {
  return escapeJson(JSON.stringify(row))
}
