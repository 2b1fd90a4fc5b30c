import type Sqlite from 'better-sqlite3'
import { canonicalJson } from '../../../domain/canonical.ts'
import type { AuditEntry } from '../../../domain/records.ts'
import { type ChainLink, type ChainRow, chainHash, ORIGIN } from '../../audit-chain.ts'
import { PRUNED, prunedDetail } from '../../audit-verify.ts'
import { BORN, RunningTime } from './running.ts'

/** Rows stay for this much longer than they must, so that a quiet log is not full of prunings. */
const PRUNE_SLACK_MS = 86_400_000

export type ChainTable = 'audit' | 'audit_activity' | 'audit_attempts'

export const CHAIN_TABLES: readonly ChainTable[] = ['audit', 'audit_activity', 'audit_attempts']

/** The rows of a chain that stay; the others may go. */
export interface ChainRetention {
  /** The running time from which on rows stay. */
  readonly before: number
  /** The number of rows that stay. */
  readonly keep: number
}

interface PlacedRow extends ChainRow {
  readonly place: number | null
  readonly born: number
}

/** Counts the rows of its chain up to this one. Rows of before there were several are numbered so. */
function placeOf({ seq, place }: Pick<PlacedRow, 'seq' | 'place'>): number {
  return place ?? seq
}

function storedRunning(sql: Sqlite.Database): () => number {
  return () => new RunningTime(sql).get()
}

/**
 * One of the chains of the audit log: each row's hash is SHA-256 of the hash before it and the row as JSON. Retention
 * takes a beginning of it, and leaves a row that says so.
 */
export class AuditChain {
  readonly #last: Sqlite.Statement<[]>
  readonly #first: Sqlite.Statement<[]>
  readonly #anchor: Sqlite.Statement<[]>
  readonly #next: Sqlite.Statement<[]>
  readonly #insert: Sqlite.Statement
  readonly #page: Sqlite.Statement<[number, number]>
  readonly #moveAnchor: Sqlite.Statement
  readonly #dropOld: Sqlite.Statement
  readonly #running: () => number

  /**
   * `form`: `numbered` is the only chain of a database of before there were several. `running`: the time by which rows
   * get old; else what was stored of it.
   */
  constructor(
    sql: Sqlite.Database,
    table: ChainTable,
    form: 'placed' | 'numbered' = 'placed',
    running: () => number = storedRunning(sql),
  ) {
    this.#running = running
    const placed = form === 'placed'
    const place = placed ? 'place' : 'NULL AS place'
    this.#last = sql.prepare(`SELECT seq, hash, ${place} FROM ${table} ORDER BY seq DESC LIMIT 1`)
    this.#first = sql.prepare(`SELECT seq, hash, ${place} FROM ${table} ORDER BY seq LIMIT 1`)
    this.#anchor = sql.prepare(`SELECT seq, hash FROM ${table}_anchor`)
    const newest = (placed ? CHAIN_TABLES : [table]).map(
      (each) => `coalesce((SELECT max(seq) FROM ${each}), (SELECT seq FROM ${each}_anchor), 0)`,
    )
    this.#next = sql.prepare<[]>(`SELECT 1 + max(0, ${newest.join(', ')})`).pluck()
    const [column, value] = placed ? [', place, running', ', ?, ?'] : ['', '']
    this.#insert =
      sql.prepare(`INSERT INTO ${table} (seq, at, actor, kind, node_id, outcome, detail, hash${column})
      VALUES (?, ?, ?, ?, ?, ?, ?, ?${value})`)
    this.#page = sql.prepare(
      `SELECT *${placed ? `, ${BORN} AS born` : ''} FROM ${table} WHERE seq > ? ORDER BY seq LIMIT ?`,
    )
    this.#moveAnchor = sql.prepare(`UPDATE ${table}_anchor SET seq = ?, hash = ?`)
    this.#dropOld = sql.prepare(`DELETE FROM ${table} WHERE seq <= ?`)
    this.#placed = placed
  }

  readonly #placed: boolean

  append(...entries: readonly AuditEntry[]): void {
    // Read, not remembered: a work that was undone has taken its rows with it.
    const last = this.last()
    let seq = Number(this.#next.get())
    let place = last === undefined ? 0 : placeOf(last)
    let { hash } = last ?? this.anchor() ?? ORIGIN
    for (const { at, actor, kind, nodeId, outcome, detail: given } of entries) {
      const detail = canonicalJson(given)
      const row = { seq, at, actor, kind, node_id: nodeId, outcome, detail }
      hash = chainHash(hash, row)
      place++
      const placed = this.#placed ? [place, this.#running()] : []
      this.#insert.run(seq++, at, actor, kind, nodeId, outcome, detail, hash, ...placed)
    }
  }

  last(): PlacedRow | undefined {
    return this.#last.get() as PlacedRow | undefined
  }

  first(): PlacedRow | undefined {
    return this.#first.get() as PlacedRow | undefined
  }

  /** The anchor; undefined when somebody has deleted it. */
  anchor(): ChainLink | undefined {
    return this.#anchor.get() as ChainLink | undefined
  }

  /** Rows that are there. */
  size(): number {
    const [first, last] = [this.first(), this.last()]
    return first && last ? placeOf(last) - placeOf(first) + 1 : 0
  }

  /**
   * Deletes at most `limit` of the oldest rows, those from before a time and those beyond a number, and leaves a row
   * that says so. To be called within one transaction.
   */
  prune({ before, keep }: ChainRetention, limit: number, at: number): number {
    const anchor = this.anchor()
    const last = this.last()
    if (!anchor || !last) return 0
    const page = this.#page.all(anchor.seq, limit) as PlacedRow[]
    const [oldest] = page
    if (!oldest) return 0
    // Not the row that this leaves, whatever is asked for: it would never end.
    const old = Math.min(before, this.#running())
    const beyond = placeOf(last) - keep
    if (oldest.born >= old - PRUNE_SLACK_MS && placeOf(oldest) > beyond) return 0
    // Only a beginning may go. The new row counts too.
    const end = page.findIndex((row) => row.born >= old && placeOf(row) > beyond + 1)
    const gone = end < 0 ? page : page.slice(0, end)
    const edge = gone.at(-1)
    if (!edge) return 0
    this.vouchFor(edge, gone.length, at)
    this.#moveAnchor.run(edge.seq, edge.hash)
    return this.#dropOld.run(edge.seq).changes
  }

  /** Appends the row that says up to where the chain was pruned. */
  vouchFor(edge: ChainLink, rows: number, at: number): void {
    const detail = prunedDetail(rows, edge)
    this.append({ at, actor: 'bridge', kind: PRUNED, nodeId: null, outcome: 'pruned', detail })
  }
}
