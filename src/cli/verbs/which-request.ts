import { CliError, EXIT } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import type { Bridge } from '../session/session.ts'
import type { DisplayRow } from '../terminal/presentation.ts'
import { shown, spokenCode } from '../terminal/text.ts'

/** Finds the pending request that somebody means: by its id, by the code that the device shows, or by its limb. */

const REQUEST_ID = /^pr_/

/**
 * Returns the request with the revision that was found, so that nothing else is decided. It throws CliError when none
 * or several are meant.
 */
export async function whichRequest(bridge: Bridge, text: string): Promise<DisplayRow> {
  // As the list shows it: no search, and nothing that a device could have named itself after.
  if (REQUEST_ID.test(text)) return { requestId: text }
  const { items } = await allPages(bridge, 'pairing/list')
  const code = codeIn(text)
  const found = items.filter(
    (row) =>
      row.requestId === text || row.nodeId === text || (row.code !== undefined && shown(row.code) === code),
  )
  const [request] = found
  if (!request) {
    throw new CliError(
      EXIT.notFound,
      `no pending request has the id, the code or the limb ${shown(text)}; see \`limb-bridge pairing list\``,
    )
  }
  if (found.length > 1) throw severalMeant(text, found)
  return { requestId: request.requestId, revision: request.revision }
}

/** However it was read aloud: `bcdf ghjk`, `BCDF-GHJK`. */
function codeIn(text: string): string {
  return text.replaceAll(/[\s-]/g, '').toUpperCase()
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
