import type Sqlite from 'better-sqlite3'
import type { SessionTerms, StoredSession, StoredSubscription } from '../../../bridge/mqtt-store.ts'
import { RowReader, type SqlRow } from '../tables/rows.ts'

const SESSION_TABLES = ['mqtt_sessions', 'mqtt_subscriptions', 'mqtt_queue', 'mqtt_incoming', 'mqtt_wills']

/** Persistent sessions and what they subscribed to. */
export class MqttSessionsTable {
  readonly #sessionReader = new RowReader('mqtt_sessions', ['client_id'])
  readonly #reader = new RowReader('mqtt_subscriptions', ['client_id', 'filter'])
  readonly #sessions: Sqlite.Statement<[]>
  readonly #subscriptions: Sqlite.Statement<[]>
  readonly #putSubscription: Sqlite.Statement
  readonly #deleteSubscription: Sqlite.Statement<[string, string]>
  readonly #put: Sqlite.Statement
  readonly #deletes: readonly Sqlite.Statement<[string]>[]
  readonly #idle: Sqlite.Statement<[number]>

  constructor(sql: Sqlite.Database) {
    this.#sessions = sql.prepare('SELECT * FROM mqtt_sessions ORDER BY used_at')
    this.#subscriptions = sql.prepare('SELECT * FROM mqtt_subscriptions')
    this.#putSubscription =
      sql.prepare(`INSERT OR REPLACE INTO mqtt_subscriptions (client_id, filter, qos, extra)
      VALUES (?, ?, ?, ?)`)
    this.#deleteSubscription = sql.prepare(
      'DELETE FROM mqtt_subscriptions WHERE client_id = ? AND filter = ?',
    )
    this.#put = sql.prepare(
      `INSERT OR REPLACE INTO mqtt_sessions (client_id, owner, used_at, expiry_seconds, left_at)
      VALUES (?, ?, ?, ?, ?)`,
    )
    this.#deletes = SESSION_TABLES.map((table) => sql.prepare(`DELETE FROM ${table} WHERE client_id = ?`))
    this.#idle = sql.prepare<[number]>('SELECT client_id FROM mqtt_sessions WHERE used_at < ?').pluck()
  }

  sessions(): StoredSession[] {
    return this.#sessions.all().map((row) => {
      const reader = this.#sessionReader.of(row)
      return {
        clientId: reader.text('client_id'),
        owner: reader.text('owner'),
        usedAt: reader.integer('used_at'),
        expirySeconds: reader.integerOrNull('expiry_seconds'),
        leftAt: reader.integerOrNull('left_at'),
      }
    })
  }

  subscriptions(): StoredSubscription[] {
    return this.#subscriptions.all().map((row) => {
      const reader = this.#reader.of(row)
      return {
        clientId: reader.text('client_id'),
        filter: reader.text('filter'),
        qos: qosOf(row as SqlRow, reader),
        extra: reader.textOrNull('extra'),
      }
    })
  }

  putSubscriptions(rows: readonly StoredSubscription[]): void {
    for (const { clientId, filter, qos, extra } of rows) {
      this.#putSubscription.run(clientId, filter, qos, extra)
    }
  }

  deleteSubscriptions(clientId: string, filters: readonly string[]): void {
    for (const filter of filters) this.#deleteSubscription.run(clientId, filter)
  }

  put(clientId: string, owner: string, at: number, { expirySeconds, leftAt }: SessionTerms): void {
    this.#put.run(clientId, owner, at, expirySeconds, leftAt)
  }

  delete(clientId: string): void {
    for (const statement of this.#deletes) statement.run(clientId)
  }

  idleSince(before: number): string[] {
    return this.#idle.all(before).map(String)
  }
}

export function qosOf(row: SqlRow, reader: RowReader): 0 | 1 | 2 {
  const { qos } = row
  return qos === 0 || qos === 1 || qos === 2 ? qos : reader.bad('qos', 'is not 0, 1 or 2')
}
