import { mixedAlphabets } from '../../kernel/confusables.ts'
import {
  ageColumn,
  asRow,
  capabilitiesColumn,
  column,
  commandsText,
  type DisplayRow,
} from './presentation.ts'
import { age, type Column, shown, spokenCode, table, tableFits, wrappedPairs } from './text.ts'

/** Requests to be paired, and what is refused, for people: what is approved is never cut. */

/** `camera.snap, camera.delete-all (removes every picture)`. */
export function addsText(value: unknown): string {
  if (!Array.isArray(value)) return ''
  return value
    .map((each) => {
      if (typeof each === 'string') return shown(each)
      const { name, title, description } = asRow(each)
      const words = description ?? title
      return words === undefined ? shown(name) : `${shown(name)} (${shown(words)})`
    })
    .join(', ')
}

/** `camera from gated to free`. */
export function loosensText(value: unknown): string {
  if (!Array.isArray(value)) return ''
  return value
    .map(asRow)
    .map(({ capability, from, to }) => `${shown(capability)} from ${shown(from)} to ${shown(to)}`)
    .join(', ')
}

/** A stranger chose this name. */
function nameText(value: unknown): string {
  const name = shown(value)
  return mixedAlphabets(name).length > 0 ? `${name} (MIXED ALPHABETS)` : name
}

function requestColumns(nowMs: number): Column<DisplayRow>[] {
  return [
    column('REQUEST', 'requestId'),
    column('NODE', 'nodeId'),
    { title: 'NAME', value: (row) => nameText(row.displayName) },
    column('PLATFORM', 'platform'),
    { title: 'CODE', value: (row) => spokenCode(row.code) },
    column('KIND', 'kind'),
    { title: 'CONFLICT', value: (row) => (row.conflict === true ? 'YES' : 'no') },
    ageColumn('ASKED', 'requestedAt', nowMs),
    column('FROM', 'address'),
    capabilitiesColumn,
    { title: 'ADDS', value: (row) => addsText(row.adds) },
    { title: 'LOOSENS', value: (row) => loosensText(row.loosens) },
  ]
}

/** Keys and widenings that are refused for a while. */
export function refusedColumns(nowMs: number): Column<DisplayRow>[] {
  return [
    column('NODE', 'nodeId'),
    { title: 'WHY', value: (row) => WHY[shown(row.why)] ?? row.why },
    ageColumn('AT', 'at', nowMs),
    ageColumn('UNTIL', 'until', nowMs),
  ]
}

const WHY: Readonly<Record<string, string>> = {
  rejected: 'its request was rejected',
  revoked: 'its pairing was revoked',
  other_approved: 'another claim to the name was approved',
  widening_rejected: 'its wish for more was rejected',
}

/** A table; or one request below the other, where a table would have to be cut. */
export function requestsText(
  requests: readonly DisplayRow[],
  { nowMs, width, numbered = false }: { nowMs: number; width: number; numbered?: boolean },
): string {
  const number: Column<DisplayRow> = { title: '#', value: (row) => requests.indexOf(row) + 1 }
  const columns = [...(numbered ? [number] : []), ...requestColumns(nowMs)]
  if (tableFits(columns, requests, width)) return table(columns, requests)
  return requests
    .map((row, i) => {
      const head = `${numbered ? `#${i + 1}  ` : ''}${shown(row.nodeId)}`
      return `${head}\n${requestText(row, nowMs, width, '  ')}`
    })
    .join('')
}

/** All that a person looks at before one request is decided. */
export function requestText(row: DisplayRow, nowMs: number, width: number, indent = ''): string {
  const code = spokenCode(row.code)
  const entries: (readonly [string, unknown])[] = [
    ['request', row.requestId],
    ['node', row.nodeId],
    ['name', nameText(row.displayName)],
    ['platform', row.platform],
    ['firmware', row.firmware],
    ['code', code === '' ? 'none' : code],
    ['kind', `${shown(row.kind)}${row.conflict === true ? ', IN CONFLICT with another request' : ''}`],
    ['capabilities', commandsText(row.capabilities)],
    ['adds', addsText(row.adds) || 'no command'],
    ['loosens', loosensText(row.loosens) || 'nothing'],
    ['from', row.address],
    ['asked', age(row.requestedAt, nowMs)],
  ]
  return wrappedPairs(
    entries.filter(([, value]) => value !== undefined),
    width,
    indent,
  )
}
