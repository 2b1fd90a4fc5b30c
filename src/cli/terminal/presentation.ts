import { mixedAlphabets } from '../../kernel/confusables.ts'
import type { VerbName } from '../../protocol/verbs.ts'
import { age, type Column, pairs, shown, span, spokenCode, table } from './text.ts'

/**
 * Responses for people. What comes from a bridge is looked at key by key: a newer bridge may say more, and
 * nothing here relies on a key being there.
 */

export type DisplayRow = Readonly<Record<string, unknown>>

export function asRow(value: unknown): DisplayRow {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as DisplayRow)
    : { value }
}

export function itemsOf(data: unknown): readonly DisplayRow[] {
  const items = asRow(data).items
  return Array.isArray(items) ? items.map(asRow) : []
}

/** `camera (leased), sensor (free, unavailable)`; of an offline limb nothing is available, which needs no saying. */
export function capabilitiesText(value: unknown, status?: unknown): string {
  if (!Array.isArray(value)) return ''
  return value
    .map(asRow)
    .map(({ cap, authLevel, available }) => {
      const notes = [
        shown(authLevel),
        available === false && status !== 'offline' ? 'unavailable' : '',
      ].filter((note) => note !== '')
      return notes.length === 0 ? shown(cap) : `${shown(cap)} (${notes.join(', ')})`
    })
    .join(', ')
}

/** `camera (leased): camera.snap, camera.clip; sensor (free)`, for one limb. */
function commandsText(value: unknown, status?: unknown): string {
  if (!Array.isArray(value)) return ''
  return value
    .map(asRow)
    .map((entry) => {
      const { commands } = entry
      const names = Array.isArray(commands) ? commands.map(shown).join(', ') : ''
      const text = capabilitiesText([entry], status)
      return names === '' ? text : `${text}: ${names}`
    })
    .join('; ')
}

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

function column(title: string, key: string): Column<DisplayRow> {
  return { title, value: (row) => row[key] }
}

function ageColumn(title: string, key: string, nowMs: number): Column<DisplayRow> {
  return { title, value: (row) => age(row[key], nowMs) }
}

const capabilities: Column<DisplayRow> = {
  title: 'CAPABILITIES',
  value: (row) => capabilitiesText(row.capabilities, row.status),
}

export function nodeColumns(nowMs: number): Column<DisplayRow>[] {
  return [
    column('NODE', 'nodeId'),
    column('NAME', 'displayName'),
    column('STATUS', 'status'),
    column('REASON', 'reason'),
    ageColumn('SINCE', 'since', nowMs),
    ageColumn('HEARTBEAT', 'lastHeartbeatAt', nowMs),
    column('PLATFORM', 'platform'),
    capabilities,
  ]
}

/** A stranger chose this name. */
function nameText(value: unknown): string {
  const name = shown(value)
  return mixedAlphabets(name).length > 0 ? `${name} (MIXED ALPHABETS)` : name
}

export function requestColumns(nowMs: number): Column<DisplayRow>[] {
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
    capabilities,
    { title: 'ADDS', value: (row) => addsText(row.adds) },
    { title: 'LOOSENS', value: (row) => loosensText(row.loosens) },
  ]
}

/** Hash, fence and idempotency key are for programs. */
function callColumns(nowMs: number): Column<DisplayRow>[] {
  return [
    column('CALL', 'invocationId'),
    column('PRINCIPAL', 'principal'),
    column('LIMB', 'nodeId'),
    column('COMMAND', 'command'),
    column('LEVEL', 'level'),
    column('STATE', 'state'),
    ageColumn('ASKED', 'createdAt', nowMs),
    { title: 'TOOK', value: (row) => took(row.createdAt, row.endedAt) },
    column('BY', 'decidedBy'),
  ]
}

/** Shows the time from the question to the end, with what it waited for; empty while it goes on. */
function took(from: unknown, to: unknown): string {
  const ms = Date.parse(shown(to)) - Date.parse(shown(from))
  if (Number.isNaN(ms)) return ''
  return ms < 1000 ? `${Math.max(0, ms)}ms` : span(ms / 1000)
}

function columnsOf(verb: VerbName, nowMs: number): Column<DisplayRow>[] | undefined {
  if (verb === 'node/list') return nodeColumns(nowMs)
  if (verb === 'pairing/list') return requestColumns(nowMs)
  if (verb === 'policy/list') {
    return [
      column('PRINCIPAL', 'principal'),
      column('NODE', 'nodeId'),
      column('CAPABILITY', 'capability'),
      column('LEVEL', 'level'),
      ageColumn('SET', 'setAt', nowMs),
      column('BY', 'setBy'),
    ]
  }
  if (verb === 'policy/explain') {
    return [
      column('NODE', 'nodeId'),
      column('CAPABILITY', 'capability'),
      column('LEVEL', 'level'),
      column('DECIDED BY', 'decidedBy'),
    ]
  }
  if (verb === 'principal/list') {
    return [
      column('NAME', 'name'),
      column('ROLE', 'role'),
      ageColumn('ADDED', 'createdAt', nowMs),
      column('BY', 'createdBy'),
    ]
  }
  if (verb === 'invocation/list') return callColumns(nowMs)
  // The hash is for programs: with it no line would fit on a terminal.
  if (verb === 'audit/list') {
    return [
      column('SEQ', 'seq'),
      column('AT', 'at'),
      column('KIND', 'kind'),
      column('OUTCOME', 'outcome'),
      column('ACTOR', 'actor'),
      column('NODE', 'nodeId'),
      column('DETAIL', 'detail'),
    ]
  }
  return undefined
}

/** Says what an empty list means, and what to do next. */
const EMPTY: Partial<Record<VerbName, string>> = {
  'node/list': 'No limbs. Let a device register, then `limb-bridge pairing approve`.',
  'pairing/list': 'Nothing is pending.',
  'policy/list': "No policies: each capability's own level holds.",
}

/** Columns of a list that nobody drew by hand: the keys of its rows. */
function plainColumns(rows: readonly DisplayRow[]): Column<DisplayRow>[] {
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  return keys.map((key) => column(key.toUpperCase(), key))
}

function listText(verb: VerbName, data: unknown, nowMs: number): string {
  const rows = itemsOf(data)
  if (rows.length === 0) return `${EMPTY[verb] ?? 'Nothing.'}\n`
  return table(columnsOf(verb, nowMs) ?? plainColumns(rows), rows)
}

const SECRET_KEYS = ['apiKey', 'password']

function objectText(data: unknown): string {
  const row = asRow(data)
  const entries = Object.entries(row).map(
    ([key, value]) => [key, key === 'capabilities' ? commandsText(value, row.status) : value] as const,
  )
  const secret = SECRET_KEYS.some((key) => row[key] !== undefined)
  return pairs(entries) + (secret ? 'It is shown this once; keep it now.\n' : '')
}

export function humanText(verb: VerbName, data: unknown, nowMs: number): string {
  if (Array.isArray(asRow(data).items)) return listText(verb, data, nowMs)
  if (data === undefined || data === null || Object.keys(asRow(data)).length === 0) return 'Done.\n'
  return objectText(data)
}
