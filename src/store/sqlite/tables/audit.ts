import type Sqlite from 'better-sqlite3'
import { z } from 'zod'
import type { AuditFilter, AuditPair, AuditRow, AuditVerdict, Order, Page } from '../../../bridge/ports.ts'
import { canonicalJson } from '../../../domain/canonical.ts'
import type { AuditEntry } from '../../../domain/records.ts'
import { type ChainLink, type ChainRow, chainHash, ORIGIN } from '../../audit-chain.ts'
import { type ChainReader, PRUNED, prunedDetail, verification } from './audit-verify.ts'
import { windowPage } from './paging.ts'
import { RowReader, type SqlRow } from './rows.ts'

/** Rows stay for this much longer than they must, so that a quiet log is not full of prunings. */
const PRUNE_SLACK_MS = 86_400_000

/**
 * The audit log: each row's hash is SHA-256 of the hash before it and the row as JSON. Who can write
 * the file can still write a whole new chain, or cut its end; who keeps one hash elsewhere can then prove it.
 */
export class AuditTable {
  readonly #last: Sqlite.Statement<[]>
  readonly #first: Sqlite.Statement<[]>
  readonly #anchor: Sqlite.Statement<[]>
  readonly #insert: Sqlite.Statement
  readonly #page: Sqlite.Statement<[number, number]>
  readonly #moveAnchor: Sqlite.Statement
  readonly #dropOld: Sqlite.Statement
  readonly #sql: Sqlite.Database
  readonly #reader = new RowReader('audit', ['seq'])

  constructor(sql: Sqlite.Database) {
    this.#last = sql.prepare('SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1')
    this.#first = sql.prepare('SELECT seq, hash FROM audit ORDER BY seq LIMIT 1')
    this.#anchor = sql.prepare('SELECT seq, hash FROM audit_anchor')
    this.#insert = sql.prepare(`INSERT INTO audit (seq, at, actor, kind, node_id, outcome, detail, hash)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
    this.#page = sql.prepare('SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?')
    this.#moveAnchor = sql.prepare('UPDATE audit_anchor SET seq = ?, hash = ?')
    this.#dropOld = sql.prepare('DELETE FROM audit WHERE seq <= ?')
    this.#sql = sql
  }

  append(entry: AuditEntry): void {
    // Read, not remembered: a work that was undone has taken its rows with it.
    const last = (this.#last.get() ?? this.#anchor.get() ?? ORIGIN) as ChainLink
    const { at, actor, kind, nodeId, outcome } = entry
    const detail = canonicalJson(entry.detail)
    const row = { seq: last.seq + 1, at, actor, kind, node_id: nodeId, outcome, detail }
    this.#insert.run(row.seq, at, actor, kind, nodeId, outcome, detail, chainHash(last.hash, row))
  }

  page(filter: AuditFilter, order: Order, after: string | null, limit: number): Page<AuditRow> {
    const { actor, nodeId, kind, since, until } = filter
    const family = kind?.endsWith('.') === true
    const page = windowPage(this.#sql, {
      table: 'audit',
      indexed: [
        ['node_id', nodeId],
        ['actor', actor],
        ['kind', family ? undefined : kind],
      ],
      where: [
        ['instr(kind, ?) = 1', family ? kind : undefined],
        ['at >= ?', since],
        ['at < ?', until],
      ],
      order,
      after,
      limit,
    })
    return { items: page.rows.map((row) => this.#record(row)), next: page.next }
  }

  /** The same as `verifyInTurns`, at once. */
  verify(known?: AuditPair): AuditVerdict {
    const pages = verification(this.#chain, known)
    for (;;) {
      const step = pages.next()
      if (step.done) return step.value
    }
  }

  /**
   * Recomputes the chain from the anchor on, and looks for a row that somebody knows. Some 5 µs a row; other work
   * runs between two pages.
   */
  async verifyInTurns(known?: AuditPair): Promise<AuditVerdict> {
    const pages = verification(this.#chain, known)
    for (;;) {
      const step = pages.next()
      if (step.done) return step.value
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  get #chain(): ChainReader {
    return {
      anchor: () => this.#anchor.get() as ChainLink | undefined,
      first: () => this.#first.get() as ChainLink | undefined,
      last: () => this.#last.get() as ChainLink | undefined,
      rowsAfter: (seq, limit) => this.#page.all(seq, limit) as ChainRow[],
    }
  }

  /**
   * Deletes at most `limit` of the oldest rows, those from before a time and those beyond a number, and leaves a row
   * that says so. To be called within one transaction.
   */
  prune(before: number, keep: number, limit: number, at: number): number {
    const anchor = this.#anchor.get() as ChainLink | undefined
    const last = this.#last.get() as ChainLink | undefined
    if (!anchor || !last) return 0
    const page = this.#page.all(anchor.seq, limit) as ChainRow[]
    const [oldest] = page
    // Not the row that this leaves, whatever is asked for: it would never end.
    const old = Math.min(before, at)
    const due = oldest && (oldest.at < old - PRUNE_SLACK_MS || oldest.seq <= last.seq - keep)
    if (!due) return 0
    // Only a beginning may go. A clock that jumped back stops it at a row that looks young. The new row counts too.
    const end = page.findIndex((row) => row.at >= old && row.seq > last.seq + 1 - keep)
    const gone = end < 0 ? page : page.slice(0, end)
    const edge = gone.at(-1)
    if (!edge) return 0
    this.vouchFor(edge, gone.length, at)
    this.#moveAnchor.run(edge.seq, edge.hash)
    return this.#dropOld.run(edge.seq).changes
  }

  /** The row that says up to where the log was pruned. */
  vouchFor(edge: ChainLink, rows: number, at: number): void {
    const detail = prunedDetail(rows, edge)
    this.append({ at, actor: 'bridge', kind: PRUNED, nodeId: null, outcome: 'pruned', detail })
  }

  #record(row: SqlRow): AuditRow {
    const reader = this.#reader.of(row)
    return {
      seq: reader.integer('seq'),
      at: reader.integer('at'),
      actor: reader.text('actor'),
      kind: reader.text('kind'),
      nodeId: reader.textOrNull('node_id'),
      outcome: reader.text('outcome'),
      detail: reader.json('detail', detailSchema),
      hash: reader.blob('hash'),
    }
  }
}

const detailSchema = z.record(z.string(), z.unknown())
