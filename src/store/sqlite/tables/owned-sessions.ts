import type Sqlite from 'better-sqlite3'

/** The tables with rows of an MQTT session, but for its queue; its own row is the last to go. */
const TABLES = ['mqtt_subscriptions', 'mqtt_incoming', 'mqtt_wills', 'mqtt_sessions']

/**
 * Deletes the stored MQTT sessions of an identity, for decisions that end it. Their queues may be tens of megabytes: they are
 * nobody's from then on, and are deleted in parts by who forgets the sessions, or by the next start.
 */
export class OwnedSessionsTable {
  readonly #of: Sqlite.Statement<[string]>
  readonly #deletes: readonly Sqlite.Statement<[string]>[]

  constructor(sql: Sqlite.Database) {
    this.#of = sql.prepare<[string]>('SELECT client_id FROM mqtt_sessions WHERE owner = ?').pluck()
    this.#deletes = TABLES.map((table) => sql.prepare(`DELETE FROM ${table} WHERE client_id = ?`))
  }

  deleteOf(owner: string): void {
    for (const clientId of this.#of.all(owner).map(String)) {
      for (const statement of this.#deletes) statement.run(clientId)
    }
  }
}
