import type Sqlite from 'better-sqlite3'
import type { NodeKeys, NodeRecord } from '../../../domain/records.ts'
import { legible } from '../../../kernel/readable-text.ts'
import { adapterSchema } from '../../../protocol/adapter.ts'
import { NAME_PATTERN } from '../../../protocol/names.ts'
import { operatorSettingsSchema } from '../../../protocol/node-settings.ts'
import { presenceSchema } from '../../../protocol/presence.ts'
import { Capabilities, Descriptions, RowReader } from './rows.ts'

const COLUMNS = `n.node_id, n.display_name, n.operator_name, n.platform, n.firmware, n.endpoint_url, n.registered_from, n.invoke,
  n.capabilities, n.heartbeat_seconds, n.timeout_seconds, n.presence, n.description, n.adapter, n.operator_description,
  n.operator_settings, n.approved_at, n.approved_by, n.updated_at, h.at AS last_heartbeat_at`
const FROM = 'FROM nodes n LEFT JOIN heartbeats h ON h.node_id = n.node_id'

const INVOKES = ['mqtt', 'http'] as const

/** Approved limbs, their keys, and when they were last heard. */
export class NodesTable {
  readonly #reader = new RowReader('nodes', ['node_id'])
  readonly #keyReader = new RowReader('node_keys', ['node_id'])
  readonly #capabilities = new Capabilities()
  readonly #descriptions = new Descriptions()
  readonly #one: Sqlite.Statement<[string]>
  readonly #page: Sqlite.Statement<[string, number]>
  readonly #put: Sqlite.Statement
  readonly #heard: Sqlite.Statement<[number, string]>
  readonly #keys: Sqlite.Statement<[string]>
  readonly #putKeys: Sqlite.Statement
  readonly #badKey: Sqlite.Statement<[]>
  readonly #deletes: readonly Sqlite.Statement<[string]>[]

  constructor(sql: Sqlite.Database) {
    this.#one = sql.prepare(`SELECT ${COLUMNS} ${FROM} WHERE n.node_id = ?`)
    this.#page = sql.prepare(`SELECT ${COLUMNS} ${FROM} WHERE n.node_id > ? ORDER BY n.node_id LIMIT ?`)
    this.#put =
      sql.prepare(`INSERT OR REPLACE INTO nodes (node_id, display_name, operator_name, platform, firmware,
      endpoint_url, registered_from, invoke, capabilities, heartbeat_seconds, timeout_seconds, presence, description, adapter,
      operator_description, operator_settings, approved_at, approved_by, updated_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
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
    return row === undefined ? null : this.#record(row)
  }

  /** Returns the rows after `after`, in order of nodeId. The rows are read at once: no iterator stays open. */
  page(after: string, limit: number): NodeRecord[] {
    return this.#page.all(after, limit).map((row) => this.#record(row))
  }

  put(node: NodeRecord): void {
    this.#put.run(
      node.nodeId,
      node.displayName,
      node.operatorName,
      node.platform,
      node.firmware,
      node.endpointUrl,
      node.registeredFrom,
      node.invoke,
      Capabilities.text(node.capabilities),
      node.heartbeatSeconds,
      node.timeoutSeconds,
      jsonOrNull(node.presence),
      jsonOrNull(node.ownDescription),
      jsonOrNull(node.adapter),
      jsonOrNull(node.operatorDescription),
      jsonOrNull(node.operatorSettings),
      node.approvedAt,
      node.approvedBy,
      node.updatedAt,
    )
    if (node.lastHeartbeatAt !== null) this.heard(node.nodeId, node.lastHeartbeatAt)
  }

  heard(nodeId: string, at: number): void {
    this.#heard.run(at, nodeId)
  }

  keys(nodeId: string): NodeKeys | null {
    const row = this.#keys.get(nodeId)
    return row === undefined ? null : this.#readKeys(row)
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
    if (row !== undefined) this.#readKeys(row)
  }

  #readKeys(row: unknown): NodeKeys {
    const reader = this.#keyReader.of(row)
    return {
      current: reader.key('salt', 'hash'),
      next: reader.keyOrNull('next_salt', 'next_hash'),
      currentUntil: reader.integerOrNull('current_until'),
    }
  }

  #record(row: unknown): NodeRecord {
    const reader = this.#reader.of(row)
    return {
      nodeId: reader.matching('node_id', NAME_PATTERN),
      displayName: legible(reader.text('display_name')),
      operatorName: legibleOrNull(reader.textOrNull('operator_name')),
      platform: legible(reader.text('platform')),
      firmware: legibleOrNull(reader.textOrNull('firmware')),
      endpointUrl: reader.textOrNull('endpoint_url'),
      registeredFrom: reader.textOrNull('registered_from'),
      invoke: reader.oneOf('invoke', INVOKES),
      capabilities: this.#capabilities.read(reader, 'capabilities'),
      heartbeatSeconds: reader.integerOrNull('heartbeat_seconds'),
      timeoutSeconds: reader.integerOrNull('timeout_seconds'),
      presence: reader.jsonOrNull('presence', presenceSchema),
      ownDescription: this.#descriptions.read(reader, 'description'),
      adapter: reader.jsonOrNull('adapter', adapterSchema),
      operatorDescription: this.#descriptions.read(reader, 'operator_description'),
      operatorSettings: reader.jsonOrNull('operator_settings', operatorSettingsSchema),
      approvedAt: reader.integer('approved_at'),
      approvedBy: reader.text('approved_by'),
      updatedAt: reader.integer('updated_at'),
      lastHeartbeatAt: reader.integerOrNull('last_heartbeat_at'),
    }
  }
}

function jsonOrNull(value: object | string | null): string | null {
  return value === null ? null : JSON.stringify(value)
}

function legibleOrNull(text: string | null): string | null {
  return text === null ? null : legible(text)
}
