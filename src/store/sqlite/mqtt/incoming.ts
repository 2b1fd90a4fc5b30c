import type Sqlite from 'better-sqlite3'
import type { StoredMessage } from '../../../bridge/mqtt-store.ts'
import { incomingOfRow } from '../../mqtt-records.ts'
import { RowReader } from '../../rows.ts'

/** QoS 2 messages that were received and not yet released by PUBREL. */
export class MqttIncomingTable {
  readonly #reader = new RowReader('mqtt_incoming', ['client_id', 'message_id'])
  readonly #put: Sqlite.Statement
  readonly #one: Sqlite.Statement<[string, number]>
  readonly #count: Sqlite.Statement<[string]>
  readonly #delete: Sqlite.Statement<[string, number]>
  readonly #deleteAll: Sqlite.Statement<[string]>

  constructor(sql: Sqlite.Database) {
    this.#put = sql.prepare(`INSERT OR REPLACE INTO mqtt_incoming
      (client_id, message_id, topic, payload, qos, retain, extra) VALUES (?, ?, ?, ?, ?, ?, ?)`)
    this.#one = sql.prepare('SELECT * FROM mqtt_incoming WHERE client_id = ? AND message_id = ?')
    this.#count = sql.prepare<[string]>('SELECT count(*) FROM mqtt_incoming WHERE client_id = ?').pluck()
    this.#delete = sql.prepare('DELETE FROM mqtt_incoming WHERE client_id = ? AND message_id = ?')
    this.#deleteAll = sql.prepare('DELETE FROM mqtt_incoming WHERE client_id = ?')
  }

  put(clientId: string, messageId: number, message: StoredMessage): void {
    const { topic, payload, qos, retain, extra } = message
    this.#put.run(clientId, messageId, topic, payload, qos, retain ? 1 : 0, extra)
  }

  one(clientId: string, messageId: number): StoredMessage | null {
    const row = this.#one.get(clientId, messageId)
    return row === undefined ? null : incomingOfRow(row, this.#reader)
  }

  count(clientId: string): number {
    return Number(this.#count.get(clientId))
  }

  delete(clientId: string, messageId: number): boolean {
    return this.#delete.run(clientId, messageId).changes > 0
  }

  deleteAll(clientId: string): void {
    this.#deleteAll.run(clientId)
  }
}
