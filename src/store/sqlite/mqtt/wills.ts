import type Sqlite from 'better-sqlite3'
import type { StoredWill } from '../../../bridge/mqtt-store.ts'
import { willOfRow } from '../../mqtt-records.ts'
import { RowReader } from '../../rows.ts'

/** Wills that are sent some time after their connection has ended. */
export class MqttWillsTable {
  readonly #reader = new RowReader('mqtt_wills', ['client_id'])
  readonly #put: Sqlite.Statement
  readonly #all: Sqlite.Statement<[]>
  readonly #delete: Sqlite.Statement<[string]>

  constructor(sql: Sqlite.Database) {
    this.#put = sql.prepare(`INSERT OR REPLACE INTO mqtt_wills
      (client_id, topic, payload, qos, retain, extra, delay_seconds, due_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
    this.#all = sql.prepare('SELECT * FROM mqtt_wills')
    this.#delete = sql.prepare('DELETE FROM mqtt_wills WHERE client_id = ?')
  }

  put(will: StoredWill): void {
    const { clientId, topic, payload, qos, retain, extra, delaySeconds, dueAt } = will
    this.#put.run(clientId, topic, payload, qos, retain ? 1 : 0, extra, delaySeconds, dueAt)
  }

  all(): StoredWill[] {
    return this.#all.all().map((row) => willOfRow(row, this.#reader))
  }

  delete(clientId: string): void {
    this.#delete.run(clientId)
  }
}
