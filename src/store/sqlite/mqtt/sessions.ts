import type Sqlite from 'better-sqlite3'
import type {
  SessionBounds,
  SessionTerms,
  StoredSession,
  StoredSubscription,
} from '../../../bridge/mqtt-store.ts'
import { sessionOfRow, subscriptionOfRow } from '../../mqtt-records.ts'
import { RowReader } from '../../rows.ts'
import { QUEUES_OF_NOBODY, SESSIONS_BEYOND, SUBSCRIPTIONS_BEYOND } from '../../sessions-beyond.ts'

/** The row of a session is the last to go: what is beyond is found by it. */
const SESSION_TABLES = ['mqtt_subscriptions', 'mqtt_queue', 'mqtt_incoming', 'mqtt_wills', 'mqtt_sessions']

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
  readonly #cuts: readonly Sqlite.Statement<[number]>[]
  readonly #beyond: Sqlite.Statement<[number]>
  readonly #crowded: Sqlite.Statement<[number]>
  readonly #ofNobody: Sqlite.Statement<[]>
  readonly #cutQueues: Sqlite.Statement<[]>
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
    this.#cuts = SESSION_TABLES.map((table) =>
      sql.prepare(`DELETE FROM ${table} WHERE client_id IN (${SESSIONS_BEYOND('?')})`),
    )
    this.#beyond = sql.prepare<[number]>(`${SESSIONS_BEYOND('?')} LIMIT 1`).pluck()
    this.#crowded = sql.prepare<[number]>(SUBSCRIPTIONS_BEYOND('?')).pluck()
    this.#ofNobody = sql.prepare<[]>(`${QUEUES_OF_NOBODY} LIMIT 1`).pluck()
    this.#cutQueues = sql.prepare<[]>(`DELETE FROM mqtt_queue WHERE client_id IN (${QUEUES_OF_NOBODY})`)
    this.#idle = sql.prepare<[number]>('SELECT client_id FROM mqtt_sessions WHERE used_at < ?').pluck()
  }

  sessions(): StoredSession[] {
    return this.#sessions.all().map((row) => sessionOfRow(row, this.#sessionReader))
  }

  subscriptions(): StoredSubscription[] {
    return this.#subscriptions.all().map((row) => subscriptionOfRow(row, this.#reader))
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

  /** Returns whether anything is beyond the bounds of one owner, or a queue has no session. */
  isBeyond({ sessions, subscriptions }: SessionBounds): boolean {
    const found = [this.#beyond.get(sessions), this.#crowded.get(subscriptions), this.#ofNobody.get()]
    return found.some((row) => row !== undefined)
  }

  /** Forgets what is beyond the bounds of one owner, and the queues without a session. Returns how many sessions. */
  cut({ sessions, subscriptions }: SessionBounds): number {
    let gone = 0
    // The last one tells how many rows of sessions went.
    for (const statement of this.#cuts) gone = statement.run(sessions).changes
    const crowded = this.#crowded.all(subscriptions).map(String)
    for (const clientId of crowded) this.delete(clientId)
    this.#cutQueues.run()
    return gone + crowded.length
  }

  idleSince(before: number): string[] {
    return this.#idle.all(before).map(String)
  }
}
