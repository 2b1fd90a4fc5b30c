import { CliError, EXIT } from '../exit.ts'
import type { DisplayRow } from './presentation.ts'
import type { Conversation } from './questions.ts'
import { codeIn, shown } from './text.ts'

/** The words of a dialogue that decides about one of several waiting things. */

export interface Choice {
  /** The things that an answer may name besides the number: `number, request or node`. */
  readonly names: string
  /** The keys whose value an answer may be. */
  readonly keys: readonly string[]
  /** The word for several of them: `requests`. */
  readonly plural: string
  /** The words for what was not done: `nothing was approved`. */
  readonly nothing: string
}

/** Asks for one of `items`, which are numbered from 1 on. Throws CliError when the answer names none, or several. */
export async function chooseOne(
  questions: Conversation,
  items: readonly DisplayRow[],
  choice: Choice,
): Promise<DisplayRow> {
  const preset = items.length === 1 ? '1' : ''
  const answer =
    (await questions.ask(`Which one? (${choice.names}${preset === '' ? '' : `; Enter for ${preset}`}) `)) ||
    preset
  // A number is always the place in the list: a device may have named itself "1".
  const numbered = /^\d{1,9}$/.test(answer) ? items[Number(answer) - 1] : undefined
  if (numbered) return numbered
  const matches = items.filter((row) => choice.keys.some((key) => names(row, key, answer)))
  const [found] = matches
  if (!found) throw new CliError(EXIT.refused, `none of them; ${choice.nothing}`)
  if (matches.length > 1) {
    throw new CliError(
      EXIT.refused,
      `there are ${matches.length} ${choice.plural} of ${shown(answer)}; choose by number`,
    )
  }
  return found
}

function names(row: DisplayRow, key: string, answer: string): boolean {
  if (key === 'code') return row.code !== undefined && shown(row.code) === codeIn(answer)
  return row[key] === answer
}

/** Throws CliError with `otherwise` unless the answer is yes. */
export async function insistOnYes(
  questions: Conversation,
  question: string,
  otherwise: string,
): Promise<void> {
  const answer = await questions.ask(`${question} [y/N] `)
  if (!/^y(es)?$/i.test(answer)) throw new CliError(EXIT.refused, otherwise)
}
