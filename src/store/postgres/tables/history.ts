import type { HistoryRow, StatusChange } from '../../../domain/history.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import { historyOfRow } from '../../records.ts'
import type { Sql } from '../connection.ts'
import type { WorkSql } from '../writer.ts'
import { upsert } from './statements.ts'

/** New rows of a limb after which its oldest are looked at. */
const TRIM_EVERY = 256
const PUT_META = upsert('meta', 'key, value', 'key')

/** Keeps when each limb came and went. */
export class PostgresHistory {
  readonly #running: () => number
  /** Rows written since a limb was last trimmed; at most one entry a limb. */
  readonly #sinceTrim = new Map<string, number>()

  constructor(running: () => number) {
    this.#running = running
  }

  /** One statement for many changes, in order. A limb that was revoked meanwhile leaves nothing behind. */
  put(sql: WorkSql, batch: readonly StatusChange[]): void {
    sql.later(
      `INSERT INTO presence_history (node_id, at, status, reason, running)
        SELECT n.node_id, b.at, b.status, b.reason, $5
        FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) WITH ORDINALITY b(node_id, at, status, reason, place)
        JOIN nodes n ON n.node_id = b.node_id ORDER BY b.place`,
      batch.map(({ nodeId }) => nodeId),
      batch.map(({ at }) => at),
      batch.map(({ status }) => status),
      batch.map(({ reason }) => reason),
      this.#running(),
    )
    for (const { nodeId } of batch) this.#trim(sql, nodeId)
  }

  #trim(sql: WorkSql, nodeId: string): void {
    const written = (this.#sinceTrim.get(nodeId) ?? 0) + 1
    if (written < TRIM_EVERY) {
      this.#sinceTrim.set(nodeId, written)
      return
    }
    this.#sinceTrim.delete(nodeId)
    sql.later(
      `DELETE FROM presence_history WHERE node_id = $1 AND seq <=
        (SELECT seq FROM presence_history WHERE node_id = $1 ORDER BY seq DESC LIMIT 1 OFFSET $2)`,
      nodeId,
      LIMITS.historyRowsPerNode,
    )
  }

  /** The newest rows of a limb, the oldest of them first. */
  async ofNode(sql: Sql, nodeId: string): Promise<HistoryRow[]> {
    const newest = 'SELECT * FROM presence_history WHERE node_id = $1 ORDER BY seq DESC LIMIT $2'
    const rows = await sql.all(
      `SELECT * FROM (${newest}) newest ORDER BY seq`,
      nodeId,
      LIMITS.historyRowsPerNode,
    )
    return rows.map((row) => historyOfRow(row))
  }

  /** Ends what a killed bridge left open. Resolves to since when history is kept. */
  async resume(sql: WorkSql, now: number): Promise<number> {
    // The last heartbeat that was stored is the last that is known of a limb whose bridge was killed.
    sql.later(
      `INSERT INTO presence_history (node_id, at, status, reason, running)
        SELECT n.node_id, greatest(p.at, coalesce(h.at, p.at)), 'offline', 'bridge_restart', $1
        FROM nodes n
        CROSS JOIN LATERAL (SELECT * FROM presence_history WHERE node_id = n.node_id ORDER BY seq DESC LIMIT 1) p
        LEFT JOIN heartbeats h ON h.node_id = n.node_id
        WHERE p.status = 'online'`,
      this.#running(),
    )
    sql.later(PUT_META, 'started_at', String(now))
    sql.later(
      "INSERT INTO meta (key, value) VALUES ('history_since', $1) ON CONFLICT DO NOTHING",
      String(now),
    )
    const [row] = await sql.all("SELECT value FROM meta WHERE key = 'history_since'")
    return Number(row?.value)
  }

  /** Deletes at most `limit` of the oldest rows: those from before a running time, and those beyond a number. */
  async prune(sql: WorkSql, before: number, maxRows: number, limit: number): Promise<number> {
    const oldest = 'SELECT seq, running FROM presence_history ORDER BY seq LIMIT $1'
    const old = await sql.run(
      `DELETE FROM presence_history WHERE seq IN (SELECT seq FROM (${oldest}) oldest WHERE running < $2)`,
      limit,
      before,
    )
    const beyond = await sql.run(
      `DELETE FROM presence_history WHERE seq IN (SELECT seq FROM presence_history ORDER BY seq
        LIMIT least($1, greatest(0, (SELECT count(*) FROM presence_history) - $2)))`,
      limit,
      maxRows,
    )
    return old + beyond
  }
}
