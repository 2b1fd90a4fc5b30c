import { CliError, EXIT } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import type { Bridge } from '../session/session.ts'
import type { DisplayRow } from '../terminal/presentation.ts'
import { codeIn, shown, spokenCode } from '../terminal/text.ts'

/** Finds the pending requests that somebody means: by their ids, by the codes that the devices show, or by their limbs. */

const REQUEST_ID = /^pr_/
/** One half of a code, as it is shown: `BCDF GHJK`. */
const HALF_CODE = /^[BCDFGHJKLMNPQRSTVWXZ]{4}$/i

export interface MeantRequest {
  readonly requestId: string
  /** The revision that was found, so that nothing else is decided; undefined for an id that went to the bridge as it is. */
  readonly revision?: unknown
  /** Its row of the list, if the list was looked at. */
  readonly row?: DisplayRow
  /** True if the code that the device shows was typed: to type it is to compare it. */
  readonly byCode: boolean
}

/**
 * Returns every request that the words mean, in their order. Throws CliError when a word means none, or several, before
 * anything is decided. `looked`: the list is looked at for ids too.
 */
export async function requestsMeant(
  bridge: Bridge,
  words: readonly string[],
  looked: boolean,
): Promise<MeantRequest[]> {
  // As the list shows it: no search, and nothing that a device could have named itself after.
  if (!looked && words.every((word) => REQUEST_ID.test(word))) {
    return unique(words.map((requestId) => ({ requestId, byCode: false })))
  }
  const { items } = await allPages(bridge, 'pairing/list')
  return unique(codesJoined(words, items).map((word) => meant(word, items)))
}

function unique(requests: readonly MeantRequest[]): MeantRequest[] {
  return [...new Map(requests.map((request) => [request.requestId, request])).values()]
}

/** A code that was pasted with its space comes as two words. */
function codesJoined(words: readonly string[], items: readonly DisplayRow[]): string[] {
  const joined: string[] = []
  for (let at = 0; at < words.length; at++) {
    const [word = '', next = ''] = words.slice(at, at + 2)
    const isCode = HALF_CODE.test(word) && HALF_CODE.test(next) && !items.some((row) => row.nodeId === word)
    joined.push(isCode ? word + next : word)
    if (isCode) at++
  }
  return joined
}

function meant(word: string, items: readonly DisplayRow[]): MeantRequest {
  const code = codeIn(word)
  const isCode = (row: DisplayRow) => row.code !== undefined && shown(row.code) === code
  const found = items.filter((row) => row.requestId === word || row.nodeId === word || isCode(row))
  const [row] = found
  if (!row) {
    // It may be decided already: the bridge says what became of it.
    if (REQUEST_ID.test(word)) return { requestId: word, byCode: false }
    throw new CliError(
      EXIT.notFound,
      `no pending request has the id, the code or the limb ${shown(word)}; see \`limb-bridge pairing list\``,
    )
  }
  if (found.length > 1) throw severalMeant(word, found)
  return { requestId: shown(row.requestId), revision: row.revision, row, byCode: isCode(row) }
}

function severalMeant(text: string, found: readonly DisplayRow[]): CliError {
  const each = found.map(
    (row) => `${shown(row.requestId)} of ${shown(row.nodeId)}, code ${spokenCode(row.code) || 'none'}`,
  )
  return new CliError(
    EXIT.refused,
    `${found.length} requests are meant by ${shown(text)}; say which one by its code or id:\n${each.join('\n')}`,
  )
}
