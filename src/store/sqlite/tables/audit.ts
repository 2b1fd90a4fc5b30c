import type Sqlite from 'better-sqlite3'
import type {
  AuditEnd,
  AuditFilter,
  AuditPair,
  AuditRow,
  AuditVerdict,
  Order,
  Page,
} from '../../../bridge/ports.ts'
import type { AuditEntry } from '../../../domain/records.ts'
import { Refusal } from '../../../kernel/errors.ts'
import {
  AUDIT_LOGS,
  type AuditLog,
  auditLogOf,
  isBeginning,
  isRefusal,
} from '../../../protocol/audit-kinds.ts'
import { type ChainReader, verification } from '../../audit-verify.ts'
import { auditOfRow } from '../../records.ts'
import { RowReader } from '../../rows.ts'
import { AuditChain, CHAIN_TABLES, type ChainRetention, type ChainTable } from './audit-chain.ts'
import { mergedPage, windowPage } from './paging.ts'

export const TABLE_OF: Readonly<Record<AuditLog, ChainTable>> = {
  decisions: 'audit',
  activity: 'audit_activity',
  attempts: 'audit_attempts',
}

/**
 * The audit log: three chains of hashes with one sequence of numbers. Who can write the file can still write a whole
 * new one, or cut its end; who keeps one hash elsewhere can then prove it.
 */
export class AuditTable {
  readonly #sql: Sqlite.Database
  readonly #hasRoom: () => boolean
  readonly #chains: Readonly<Record<AuditLog, AuditChain>>
  readonly #rowsAfter: Sqlite.Statement<[number, number, number, number]>
  readonly #reader = new RowReader('audit', ['seq'])

  /** `hasRoom`: whether the database is within `store.maxBytes`; absent: it always is. */
  constructor(sql: Sqlite.Database, hasRoom: () => boolean = () => true, running?: () => number) {
    this.#sql = sql
    this.#hasRoom = hasRoom
    this.#chains = {
      decisions: new AuditChain(sql, 'audit', 'placed', running),
      activity: new AuditChain(sql, 'audit_activity', 'placed', running),
      attempts: new AuditChain(sql, 'audit_attempts', 'placed', running),
    }
    // Merged as they are read: each of them comes in this order.
    const rows = AUDIT_LOGS.map((log) => `SELECT '${log}' AS log, * FROM ${TABLE_OF[log]} WHERE seq > ?`)
    this.#rowsAfter = sql.prepare(`${rows.join(' UNION ALL ')} ORDER BY seq LIMIT ?`)
  }

  /**
   * Appends rows. Without room what begins is refused, and what was refused is left out; decisions and what ends are
   * kept on, so that a full database lets every revocation and denial through.
   *
   * @throws Refusal `storage_unavailable`; then no row is there
   */
  append(...entries: readonly AuditEntry[]): void {
    const kept = entries.filter(({ kind }) => !isRefusal(kind) || this.#hasRoom())
    for (const entry of kept) {
      const noRoom = this.noRoomFor(entry)
      if (noRoom) throw noRoom
    }
    for (let first = 0, end = 0; first < kept.length; first = end) {
      const log = auditLogOf((kept[first] as AuditEntry).kind)
      while (end < kept.length && auditLogOf((kept[end] as AuditEntry).kind) === log) end++
      this.#chains[log].append(...kept.slice(first, end))
    }
  }

  /** Returns the refusal of a row that records a beginning, when there is no room for it. */
  noRoomFor({ kind }: AuditEntry): Refusal | undefined {
    return isBeginning(kind) && !this.#hasRoom() ? new Refusal('storage_unavailable', NO_ROOM) : undefined
  }

  page(filter: AuditFilter, order: Order, after: string | undefined, limit: number): Page<AuditRow> {
    const { actor, nodeId, kind, since, until } = filter
    const family = kind?.endsWith('.') === true
    const pages = CHAIN_TABLES.map((table) =>
      windowPage(this.#sql, {
        table,
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
      }),
    )
    const page = mergedPage(pages, order, limit)
    return { items: page.rows.map((row) => auditOfRow(row, this.#reader)), next: page.next }
  }

  /** The newest row of each log that has any. Costs a few point reads. */
  ends(): AuditEnd[] {
    return AUDIT_LOGS.flatMap((log) => {
      const last = this.#chains[log].last()
      return last ? [{ log, seq: last.seq, hash: last.hash, rows: this.#chains[log].size() }] : []
    })
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
   * Recomputes the chains from their anchors on, and looks for a row that somebody knows. Some 5 µs a row; other work
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
      anchor: (log) => this.#chains[log].anchor(),
      first: (log) => this.#chains[log].first(),
      last: (log) => this.#chains[log].last(),
      rowsAfter: (seq, limit) => this.#rowsAfter.all(seq, seq, seq, limit) as never,
    }
  }

  /** Deletes at most `limit` of the oldest rows of each log that may go. To be called within one transaction. */
  prune(retention: Readonly<Record<AuditLog, ChainRetention>>, limit: number, at: number): number {
    return AUDIT_LOGS.reduce((rows, log) => rows + this.#chains[log].prune(retention[log], limit, at), 0)
  }
}

const NO_ROOM =
  'the database has reached store.maxBytes; nothing was changed. An operator can raise it, or lower what is kept'
