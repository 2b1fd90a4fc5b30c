import type { VerbName } from '../../protocol/verbs.ts'
import { age, type Column, shown, span } from './text.ts'

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
export function commandsText(value: unknown, status?: unknown): string {
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

export function column(title: string, key: string): Column<DisplayRow> {
  return { title, value: (row) => row[key] }
}

/** One that may be shortened. */
export function textColumn(title: string, key: string): Column<DisplayRow> {
  return { ...column(title, key), cut: true }
}

export function ageColumn(title: string, key: string, nowMs: number): Column<DisplayRow> {
  return { title, value: (row) => age(row[key], nowMs) }
}

export const capabilitiesColumn: Column<DisplayRow> = {
  title: 'CAPABILITIES',
  cut: true,
  value: (row) => capabilitiesText(row.capabilities, row.status),
}

export function nodeColumns(nowMs: number): Column<DisplayRow>[] {
  return [
    column('NODE', 'nodeId'),
    textColumn('NAME', 'displayName'),
    column('STATUS', 'status'),
    column('REASON', 'reason'),
    ageColumn('SINCE', 'since', nowMs),
    ageColumn('HEARTBEAT', 'lastHeartbeatAt', nowMs),
    textColumn('PLATFORM', 'platform'),
    capabilitiesColumn,
  ]
}

/** Hash, fence and idempotency key are for programs. */
function invocationColumns(nowMs: number): Column<DisplayRow>[] {
  return [
    column('INVOCATION', 'invocationId'),
    textColumn('PRINCIPAL', 'principal'),
    textColumn('LIMB', 'nodeId'),
    textColumn('COMMAND', 'command'),
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

/** Returns the columns of a list, or undefined when nobody drew them by hand. */
export function columnsOf(verb: VerbName, nowMs: number): Column<DisplayRow>[] | undefined {
  if (verb === 'node/list') return nodeColumns(nowMs)
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
  if (verb === 'invocation/list') return invocationColumns(nowMs)
  // The hash is for programs: with it no line would fit on a terminal.
  if (verb === 'audit/list') {
    return [
      column('SEQ', 'seq'),
      column('AT', 'at'),
      column('KIND', 'kind'),
      column('OUTCOME', 'outcome'),
      column('ACTOR', 'actor'),
      column('NODE', 'nodeId'),
      textColumn('DETAIL', 'detail'),
    ]
  }
  return undefined
}
