import { VERBS, type VerbDefinition, type VerbName } from '../../protocol/verbs.ts'
import { asRow, columnsOf, commandsText, type DisplayRow, itemsOf } from './presentation.ts'
import { refusedColumns, requestsText } from './requests.ts'
import { sentencesOf } from './sentences.ts'
import { type Column, pairs, shown, table } from './text.ts'
import { uptimeText } from './uptime.ts'

/** The answer to a verb, for people. */

export interface Shown {
  readonly nowMs: number
  /** The columns that it has to fit into. */
  readonly width: number
  /** The arguments of the request. */
  readonly args: DisplayRow
}

/** Says what an empty list means, and what to do next. */
const EMPTY: Partial<Record<VerbName, string>> = {
  'node/list': 'No limbs. Let a device register, then `limb-bridge pairing approve`.',
  'pairing/list': 'Nothing is pending.',
  'policy/list': "No policies: each capability's own level holds.",
}

const PAGING = ['limit', 'after', 'order', 'all', 'json']

/** An empty answer to a narrowed question says nothing about the rest. */
function emptyText(verb: VerbName, args: DisplayRow): string {
  if (verb === 'pairing/list' && args.state === 'refused') return 'Nothing is refused.'
  const definition: VerbDefinition = VERBS[verb]
  const narrowed = Object.entries(args).filter(
    ([key, value]) => value !== undefined && !PAGING.includes(key) && key in definition.args.shape,
  )
  if (narrowed.length === 0 || verb === 'pairing/list') return EMPTY[verb] ?? 'Nothing.'
  const wanted = narrowed.map(([key, value]) => `${key} ${shown(value)}`).join(', ')
  return `Nothing with ${wanted}. \`limb-bridge ${verb.replace('/', ' ')}\` shows all there is.`
}

/** Columns of a list that nobody drew by hand: the keys of its rows. */
function columnsOfKeys(rows: readonly DisplayRow[]): Column<DisplayRow>[] {
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  return keys.map((key) => ({
    title: key.toUpperCase(),
    value: (row) => row[key],
    // What another command takes is never shortened.
    cut: !/(?:Id|^name)$/.test(key),
  }))
}

function listText(verb: VerbName, data: unknown, { nowMs, width, args }: Shown): string {
  const rows = itemsOf(data)
  const about = verb === 'node/history' ? uptimeText(asRow(data), nowMs) : ''
  if (rows.length === 0) return about === '' ? `${emptyText(verb, args)}\n` : about
  if (verb === 'pairing/list' && args.state !== 'refused') return requestsText(rows, { nowMs, width })
  const columns = verb === 'pairing/list' ? refusedColumns(nowMs) : columnsOf(verb, nowMs)
  return `${about}${table(columns ?? columnsOfKeys(rows), rows, width)}`
}

/** Tells of each thing in a line of its own when a verb was done to several at once. */
function sentencesOfSeveral(verb: VerbName, data: unknown, nowMs: number): string | undefined {
  if (!Array.isArray(asRow(data).items) || 'after' in VERBS[verb].args.shape) return undefined
  const lines = itemsOf(data).map((row) => {
    if (row.error === undefined) return sentencesOf(verb, row, nowMs)
    const { message, code } = asRow(row.error)
    return [`${shown(row.nodeId ?? row.requestId)}: ${shown(message)} (${shown(code)})`]
  })
  return lines.includes(undefined) ? undefined : `${lines.flat().join('\n')}\n`
}

const SECRET_KEYS = ['apiKey', 'password', 'token']

function objectText(data: unknown): string {
  const { advice, ...row } = asRow(data)
  const entries = Object.entries(row).map(
    ([key, value]) => [key, key === 'capabilities' ? commandsText(value, row.status) : value] as const,
  )
  const secret = SECRET_KEYS.some((key) => row[key] !== undefined)
  const sentences = Array.isArray(advice) ? advice.map((sentence) => `\n${shown(sentence)}\n`) : []
  return pairs(entries) + sentences.join('') + (secret ? 'It is shown this once; keep it now.\n' : '')
}

export function humanText(verb: VerbName, data: unknown, how: Shown): string {
  const several = sentencesOfSeveral(verb, data, how.nowMs)
  if (several !== undefined) return several
  if (Array.isArray(asRow(data).items)) return listText(verb, data, how)
  if (data === undefined || data === null || Object.keys(asRow(data)).length === 0) return 'Done.\n'
  const sentences = sentencesOf(verb, asRow(data), how.nowMs)
  return sentences === undefined ? objectText(data) : `${sentences.join('\n')}\n`
}
