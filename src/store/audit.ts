import { createHash } from 'node:crypto'
import type Sqlite from 'better-sqlite3'
import { z } from 'zod'
import type { AuditFilter, AuditRow, AuditVerdict, Order, Page } from '../bridge/ports.ts'
import type { AuditEntry } from '../domain/records.ts'
import { windowPage } from './paging.ts'
import { type Row, RowReader } from './rows.ts'

interface ChainRow {
  readonly seq: number
  readonly at: number
  readonly actor: string
  readonly kind: string
  readonly node_id: string | null
  readonly outcome: string
  readonly detail: string
  readonly hash: Uint8Array
}

type Link = { readonly seq: number; readonly hash: Uint8Array }

const VERIFY_PAGE = 1000

/**
 * The audit log: each row's hash is SHA-256 of the hash before it and the row in canonical JSON. Who can write
 * the file can still write a whole new chain; who keeps one hash elsewhere can then prove it.
 */
export class AuditTable {
  readonly #last: Sqlite.Statement<[]>
  readonly #anchor: Sqlite.Statement<[]>
  readonly #insert: Sqlite.Statement
  readonly #page: Sqlite.Statement<[number, number]>
  readonly #moveAnchor: Sqlite.Statement
  readonly #dropOld: Sqlite.Statement
  readonly #sql: Sqlite.Database
  readonly #reader = new RowReader('audit', ['seq'])

  constructor(sql: Sqlite.Database) {
    this.#last = sql.prepare('SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1')
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
    const last = (this.#last.get() ?? this.#anchor.get()) as Link
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
      index: nodeId === undefined ? null : ['node_id = ?', nodeId],
      where: [
        ['actor = ?', actor],
        ['kind = ?', family ? undefined : kind],
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

  /** Recomputes the chain from the anchor on. Blocks for some 5 µs a row. */
  verify(): AuditVerdict {
    const pages = this.#verification()
    for (;;) {
      const step = pages.next()
      if (step.done) return step.value
    }
  }

  /** The same; other work runs between two pages. */
  async verifyInTurns(): Promise<AuditVerdict> {
    const pages = this.#verification()
    for (;;) {
      const step = pages.next()
      if (step.done) return step.value
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Yields after each page. */
  *#verification(): Generator<void, AuditVerdict> {
    let { seq, hash } = this.#anchor.get() as Link
    let rows = 0
    for (;;) {
      const page = this.#page.all(seq, VERIFY_PAGE) as ChainRow[]
      for (const row of page) {
        // A missing row shows here too: the next one's hash was made with it.
        if (chainHash(hash, row).compare(row.hash) !== 0) return { whole: false, rows, brokenAt: seq + 1 }
        seq = row.seq
        hash = row.hash
        rows++
      }
      if (page.length < VERIFY_PAGE) return { whole: true, rows }
      yield
      const anchor = this.#anchor.get() as Link
      // Retention has taken rows away meanwhile, which is no gap.
      if (anchor.seq > seq) ({ seq, hash } = anchor)
    }
  }

  /** Deletes at most `limit` of the oldest rows: those from before a time, and those beyond a number. */
  prune(before: number, keep: number, limit: number): number {
    const anchor = this.#anchor.get() as Link
    const last = this.#last.get() as Link | undefined
    if (!last) return 0
    const page = this.#page.all(anchor.seq, limit) as ChainRow[]
    // Only a beginning may go. A clock that jumped back stops it at a row that looks young.
    const end = page.findIndex((row) => row.at >= before && row.seq > last.seq - keep)
    const edge = page[(end < 0 ? page.length : end) - 1]
    // The newest row stays: the next one is chained to it.
    if (!edge || edge.seq >= last.seq) return 0
    this.#moveAnchor.run(edge.seq, edge.hash)
    return this.#dropOld.run(edge.seq).changes
  }

  #record(row: Row): AuditRow {
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

function chainHash(previous: Uint8Array, row: Omit<ChainRow, 'hash'>): Buffer {
  const { seq, at, actor, kind, node_id, outcome, detail } = row
  return createHash('sha256')
    .update(previous)
    .update(JSON.stringify([seq, at, actor, kind, node_id, outcome, detail]))
    .digest()
}

/** JSON with the keys of every object in order, so that equal values are equal texts. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => {
    if (each === null || typeof each !== 'object' || Array.isArray(each)) return each
    const entries = Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1))
    return Object.fromEntries(entries)
  })
}
