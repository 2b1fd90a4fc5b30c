import type Sqlite from 'better-sqlite3'
import type { NodeKeys, NodeRecord } from '../../../domain/records.ts'
import { NODE_COLUMNS, NodeRows, nodeValues } from '../../records.ts'

const COLUMNS = `n.node_id, n.display_name, n.operator_name, n.platform, n.firmware, n.endpoint_url, n.registered_from, n.invoke,
  n.capabilities, n.heartbeat_seconds, n.timeout_seconds, n.presence, n.description, n.adapter, n.operator_description,
  n.operator_settings, n.approved_at, n.approved_by, n.updated_at, h.at AS last_heartbeat_at`
const FROM = 'FROM nodes n LEFT JOIN heartbeats h ON h.node_id = n.node_id'

/** Approved limbs, their keys, and when they were last heard. */
export class NodesTable {
  readonly #rows = new NodeRows()
  readonly #one: Sqlite.Statement<[string]>
  readonly #among: Sqlite.Statement<[string], string>
  readonly #page: Sqlite.Statement<[string, number]>
  readonly #put: Sqlite.Statement
  readonly #heard: Sqlite.Statement<[number, string]>
  readonly #keys: Sqlite.Statement<[string]>
  readonly #putKeys: Sqlite.Statement
  readonly #badKey: Sqlite.Statement<[]>
  readonly #deletes: readonly Sqlite.Statement<[string]>[]

  constructor(sql: Sqlite.Database) {
    this.#one = sql.prepare(`SELECT ${COLUMNS} ${FROM} WHERE n.node_id = ?`)
    this.#among = sql
      .prepare<[string], string>(
        'SELECT node_id FROM nodes WHERE node_id IN (SELECT value FROM json_each(?))',
      )
      .pluck()
    this.#page = sql.prepare(`SELECT ${COLUMNS} ${FROM} WHERE n.node_id > ? ORDER BY n.node_id LIMIT ?`)
    this.#put = sql.prepare(`INSERT OR REPLACE INTO nodes (${NODE_COLUMNS})
      VALUES (${NODE_COLUMNS.replaceAll(/\w+/g, '?')})`)
    // A cached record may be older than what a batch of heartbeats has stored: the later time stays.
    this.#heard =
      sql.prepare(`INSERT INTO heartbeats (at, node_id) SELECT ?, node_id FROM nodes WHERE node_id = ?
      ON CONFLICT (node_id) DO UPDATE SET at = excluded.at WHERE excluded.at > at`)
    this.#keys = sql.prepare('SELECT * FROM node_keys WHERE node_id = ?')
    this.#putKeys = sql.prepare(`INSERT OR REPLACE INTO node_keys
      (node_id, salt, hash, next_salt, next_hash, current_until) VALUES (?, ?, ?, ?, ?, ?)`)
    this.#badKey = sql.prepare(`SELECT * FROM node_keys
      WHERE length(hash) <> 32 OR length(salt) = 0 OR (next_hash IS NOT NULL AND length(next_hash) <> 32) LIMIT 1`)
    this.#deletes = [
      'nodes',
      'heartbeats',
      'node_keys',
      'requests',
      'refused_widenings',
      'policies',
      'presence_history',
    ].map((table) => sql.prepare(`DELETE FROM ${table} WHERE node_id = ?`))
  }

  get(nodeId: string): NodeRecord | null {
    const row = this.#one.get(nodeId)
    return row === undefined ? null : this.#rows.record(row)
  }

  /** Returns those of a list of names, as JSON, that are limbs. */
  among(names: string): string[] {
    return this.#among.all(names)
  }

  /** Returns the rows after `after`, in order of nodeId. The rows are read at once: no iterator stays open. */
  page(after: string, limit: number): NodeRecord[] {
    return this.#page.all(after, limit).map((row) => this.#rows.record(row))
  }

  put(node: NodeRecord): void {
    this.#put.run(...nodeValues(node))
    if (node.lastHeartbeatAt !== null) this.heard(node.nodeId, node.lastHeartbeatAt)
  }

  heard(nodeId: string, at: number): void {
    this.#heard.run(at, nodeId)
  }

  keys(nodeId: string): NodeKeys | null {
    const row = this.#keys.get(nodeId)
    return row === undefined ? null : this.#rows.keys(row)
  }

  putKeys(nodeId: string, { current, next, currentUntil }: NodeKeys): void {
    this.#putKeys.run(
      nodeId,
      current.salt,
      current.hash,
      next?.salt ?? null,
      next?.hash ?? null,
      currentUntil,
    )
  }

  delete(nodeId: string): void {
    for (const statement of this.#deletes) statement.run(nodeId)
  }

  /** Throws for the first key that does not parse. */
  checkKeys(): void {
    const row = this.#badKey.get()
    if (row !== undefined) this.#rows.keys(row)
  }
}
