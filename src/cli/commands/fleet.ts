import type { Bridge } from '../session/session.ts'
import { asRow, type DisplayRow } from '../terminal/presentation.ts'
import { shown, spokenCode } from '../terminal/text.ts'

/** The limbs that `watch` keeps, and what waits for a person, as they were last heard of. */

/** Limbs that are followed; nobody reads more, and memory has an end. */
const MAX_NODES = 20_000
/** Requests and invocations that are followed. */
const MAX_WAITING = 1000

/** `state` says all of it, `status` that something changed; both are retained. The one that knows since when comes first. */
export function nodeFilters(bridge: Bridge): string[] {
  return [bridge.topics.node('+', 'state'), bridge.topics.node('+', 'status')]
}

export function waitingFilters({ topics }: Bridge): string[] {
  return [topics.pairingRequest('+'), topics.approval('+')]
}

function parsed(payload: Buffer): DisplayRow {
  try {
    return asRow(JSON.parse(payload.toString('utf8')))
  } catch {
    return {}
  }
}

interface HeardChange {
  readonly nodeId: string
  readonly status: unknown
  /** The time at which it came about, if that is known. */
  readonly since?: unknown
}

/** The limbs as they were last heard of. */
export class Fleet {
  readonly rows = new Map<string, DisplayRow>()
  /** Limbs beyond the bound. */
  missed = false

  /** Returns what is new, if the limb's status is another than before. */
  heard(bridge: Bridge, topic: string, payload: Buffer): HeardChange | undefined {
    const address = bridge.topics.parse(topic)
    if (address?.kind !== 'node') return undefined
    const { nodeId } = address
    const before = this.rows.get(nodeId)
    if (payload.length === 0) {
      this.rows.delete(nodeId)
      return before && { nodeId, status: 'removed' }
    }
    if (!before && this.rows.size >= MAX_NODES) {
      this.missed = true
      return undefined
    }
    const news: DisplayRow =
      address.leaf === 'status' ? { status: payload.toString('utf8') } : { ...parsed(payload), nodeId }
    const row: DisplayRow = { ...before, nodeId, ...news }
    this.rows.set(nodeId, row)
    if (row.status === before?.status) return undefined
    return { nodeId, status: row.status, since: news.since }
  }
}

/** Requests or invocations that wait for a person, by the last level of their topics. */
export class Waiting {
  readonly requests = new Map<string, DisplayRow>()
  readonly invocations = new Map<string, DisplayRow>()

  heard(bridge: Bridge, topic: string, payload: Buffer): void {
    const id = topic.slice(topic.lastIndexOf('/') + 1)
    const rows = topic === bridge.topics.approval(id) ? this.invocations : this.requests
    if (payload.length === 0) rows.delete(id)
    else if (rows.has(id) || rows.size < MAX_WAITING) rows.set(id, parsed(payload))
  }

  clear(): void {
    this.requests.clear()
    this.invocations.clear()
  }
}

/** Each is a line that says who waits, and the command that decides it. */
export function waitingLines(requests: Iterable<DisplayRow>, invocations: Iterable<DisplayRow>): string[] {
  const asking = [...requests].map((row) => `${shown(row.nodeId)} ${spokenCode(row.code)}`.trim())
  const decisions = [...invocations].map(
    (row) => `${shown(row.command)} on ${shown(row.nodeId)} for ${shown(row.principal)}`,
  )
  return [
    ...(asking.length === 0 ? [] : [`${many(asking, 'request')}: pairing approve: ${asking.join(', ')}`]),
    ...(decisions.length === 0
      ? []
      : [`${many(decisions, 'invocation')}: invocation approve: ${decisions.join(', ')}`]),
  ]
}

function many(rows: readonly string[], thing: string): string {
  return rows.length === 1 ? `1 ${thing} waits` : `${rows.length} ${thing}s wait`
}
