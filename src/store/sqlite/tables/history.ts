import type Sqlite from 'better-sqlite3'
import type { HistoryRow, StatusChange } from '../../../domain/history.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import { historyOfRow } from '../../records.ts'
import { RowReader } from '../../rows.ts'
import { BORN } from './running.ts'

/** New rows of a limb after which its oldest are looked at. */
const TRIM_EVERY = 256

const BEGAN = 'history_since'

/** Keeps when each limb came and went. */
export class HistoryTable {
  readonly #reader = new RowReader('presence_history', ['node_id', 'seq'])
  readonly #running: () => number
  readonly #insert: Sqlite.Statement<[number, string, string, number, string]>
  readonly #trim: Sqlite.Statement<[string, string, number]>
  readonly #ofNode: Sqlite.Statement<[string, number]>
  readonly #closeOpen: Sqlite.Statement<[number]>
  readonly #dropBefore: Sqlite.Statement<[number, number]>
  readonly #dropOldest: Sqlite.Statement<[number]>
  readonly #count: Sqlite.Statement<[]>
  readonly #began: Sqlite.Statement<[string]>
  readonly #set: Sqlite.Statement<[string, string]>
  /** Rows written since a limb was last trimmed; at most one entry a limb. */
  readonly #sinceTrim = new Map<string, number>()
  /** Rows, or some more than there are while the count is not exact. undefined: not counted yet. */
  #rows: number | undefined
  #isExact = true

  /** `running`: the time by which rows get old. */
  constructor(sql: Sqlite.Database, running: () => number) {
    this.#running = running
    // A limb that was revoked meanwhile leaves nothing behind.
    this.#insert = sql.prepare(`INSERT INTO presence_history (node_id, at, status, reason, running)
      SELECT node_id, ?, ?, ?, ? FROM nodes WHERE node_id = ?`)
    this.#trim = sql.prepare(`DELETE FROM presence_history WHERE node_id = ? AND seq <=
      (SELECT seq FROM presence_history WHERE node_id = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)`)
    this.#ofNode = sql.prepare(`SELECT * FROM
      (SELECT * FROM presence_history WHERE node_id = ? ORDER BY seq DESC LIMIT ?) ORDER BY seq`)
    // The last heartbeat that was stored is the last that is known of a limb whose bridge was killed.
    this.#closeOpen = sql.prepare(`INSERT INTO presence_history (node_id, at, status, reason, running)
      SELECT n.node_id, max(p.at, coalesce(h.at, p.at)), 'offline', 'bridge_restart', ?
      FROM nodes n
      JOIN presence_history p ON p.seq = (SELECT max(seq) FROM presence_history WHERE node_id = n.node_id)
      LEFT JOIN heartbeats h ON h.node_id = n.node_id
      WHERE p.status = 'online'`)
    this.#dropBefore = sql.prepare(`DELETE FROM presence_history WHERE seq IN
      (SELECT seq FROM (SELECT seq, ${BORN} AS born FROM presence_history ORDER BY seq LIMIT ?) WHERE born < ?)`)
    this.#dropOldest = sql.prepare(
      'DELETE FROM presence_history WHERE seq IN (SELECT seq FROM presence_history ORDER BY seq LIMIT ?)',
    )
    this.#count = sql.prepare<[]>('SELECT count(*) FROM presence_history').pluck()
    this.#began = sql.prepare<[string]>('SELECT value FROM meta WHERE key = ?').pluck()
    this.#set = sql.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)')
  }

  put({ nodeId, at, status, reason }: StatusChange): void {
    if (this.#insert.run(at, status, reason, this.#running(), nodeId).changes === 0) return
    if (this.#rows !== undefined) this.#rows++
    const written = (this.#sinceTrim.get(nodeId) ?? 0) + 1
    if (written < TRIM_EVERY) {
      this.#sinceTrim.set(nodeId, written)
      return
    }
    this.#sinceTrim.delete(nodeId)
    const { changes } = this.#trim.run(nodeId, nodeId, LIMITS.historyRowsPerNode)
    if (this.#rows !== undefined) this.#rows -= changes
  }

  /** There may be fewer rows than were counted: a limb goes with its own, or a write was undone. */
  countAgain(): void {
    this.#isExact = false
  }

  /** The newest rows of a limb, the oldest of them first. */
  ofNode(nodeId: string): HistoryRow[] {
    return this.#ofNode.all(nodeId, LIMITS.historyRowsPerNode).map((row) => historyOfRow(row, this.#reader))
  }

  /** Ends what a killed bridge left open. Returns since when history is kept: `now` at the first time. */
  resume(now: number): number {
    this.#closeOpen.run(this.#running())
    // A count of a million rows takes longer than all the rest, and here nobody waits for another turn.
    this.#recount()
    // At every start something is written: a disk that cannot is known before anybody asks.
    this.#set.run('started_at', String(now))
    const began = Number(this.#began.get(BEGAN))
    if (Number.isSafeInteger(began)) return began
    this.#set.run(BEGAN, String(now))
    return now
  }

  /** Counts the rows, or some more than there are; 0 until the start has counted them. */
  size(): number {
    return this.#rows ?? 0
  }

  /**
   * Deletes at most `limit` of the oldest rows: those from before a running time, and those beyond a number.
   */
  prune(before: number, maxRows: number, limit: number): number {
    const old = this.#dropBefore.run(limit, before).changes
    if (this.#rows !== undefined) this.#rows -= old
    let rows = this.#rows ?? this.#recount()
    if (rows > maxRows && !this.#isExact) rows = this.#recount()
    const excess = rows - maxRows
    const beyond = excess > 0 ? this.#dropOldest.run(Math.min(excess, limit)).changes : 0
    this.#rows = rows - beyond
    return old + beyond
  }

  #recount(): number {
    this.#isExact = true
    this.#rows = Number(this.#count.get())
    return this.#rows
  }
}
