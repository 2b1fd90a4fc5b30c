import { createHash } from 'node:crypto'
import type Sqlite from 'better-sqlite3'
import type { AuditEntry } from '../domain/records.ts'

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

export type AuditVerdict =
  | { readonly whole: true; readonly rows: number }
  /** `brokenAt`: the first row that is not what was written, or that is missing. */
  | { readonly whole: false; readonly rows: number; readonly brokenAt: number }

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

  constructor(sql: Sqlite.Database) {
    this.#last = sql.prepare('SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1')
    this.#anchor = sql.prepare('SELECT seq, hash FROM audit_anchor')
    this.#insert = sql.prepare(`INSERT INTO audit (seq, at, actor, kind, node_id, outcome, detail, hash)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
    this.#page = sql.prepare('SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?')
  }

  append(entry: AuditEntry): void {
    // Read, not remembered: a work that was undone has taken its rows with it.
    const last = (this.#last.get() ?? this.#anchor.get()) as Link
    const { at, actor, kind, nodeId, outcome } = entry
    const detail = canonicalJson(entry.detail)
    const row = { seq: last.seq + 1, at, actor, kind, node_id: nodeId, outcome, detail }
    this.#insert.run(row.seq, at, actor, kind, nodeId, outcome, detail, chainHash(last.hash, row))
  }

  /** Recomputes the chain from the anchor on, a page at a time. */
  verify(): AuditVerdict {
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
    }
  }
}

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
