import type Sqlite from 'better-sqlite3'
import type { QueuedMessage, QueueMessage, QueueSize, QueueTarget } from '../../../bridge/mqtt-store.ts'
import { queuedOfRow, queueSizeOfRow } from '../../mqtt-records.ts'
import { RowReader } from '../../rows.ts'

/** The bytes of one part of a queue that goes: each page of a payload is looked at. A row costs as much as so many. */
const PART_BYTES = 1024 * 1024
const ROW_BYTES = 2048

/** A part of the queue of a session, in the order of its numbers. */
export interface QueuePart {
  readonly upTo: number
  /** The cost of deleting it, as bytes of payloads. */
  readonly bytes: number
}

/** Messages of QoS 1 and 2 on their way to persistent sessions. */
export class MqttQueueTable {
  readonly #reader = new RowReader('mqtt_queue', ['sequence'])
  readonly #insert: Sqlite.Statement
  readonly #page: Sqlite.Statement<[string, number, number]>
  readonly #one: Sqlite.Statement<[number, string]>
  readonly #sizes: Sqlite.Statement<[]>
  readonly #setMessageId: Sqlite.Statement<[number, number, string]>
  readonly #setPubrel: Sqlite.Statement<[number, string]>
  readonly #delete: Sqlite.Statement<[number, string]>
  readonly #lengths: Sqlite.Statement<[string]>
  readonly #deleteUpTo: Sqlite.Statement<[string, number]>

  constructor(sql: Sqlite.Database) {
    this.#insert =
      sql.prepare(`INSERT INTO mqtt_queue (client_id, broker_id, broker_counter, message_id, stage,
      topic, payload, qos, retain, extra) VALUES (?, ?, ?, NULL, 'publish', ?, ?, ?, ?, ?)`)
    this.#page = sql.prepare(
      'SELECT * FROM mqtt_queue WHERE client_id = ? AND sequence > ? ORDER BY sequence LIMIT ?',
    )
    this.#one = sql.prepare('SELECT * FROM mqtt_queue WHERE sequence = ? AND client_id = ?')
    this.#sizes = sql.prepare(`SELECT client_id, count(*) AS messages, max(sequence) AS newest,
      max(broker_counter) AS newest_counter,
      sum(octet_length(topic) + octet_length(payload) + coalesce(octet_length(extra), 0)) AS bytes FROM mqtt_queue GROUP BY client_id`)
    this.#setMessageId = sql.prepare(
      'UPDATE mqtt_queue SET message_id = ? WHERE sequence = ? AND client_id = ?',
    )
    // The receiver has the message; what is left to do is the PUBREL, which has no payload.
    this.#setPubrel = sql.prepare(`UPDATE mqtt_queue SET stage = 'pubrel', payload = zeroblob(0), extra = NULL
      WHERE sequence = ? AND client_id = ?`)
    this.#delete = sql.prepare('DELETE FROM mqtt_queue WHERE sequence = ? AND client_id = ?')
    this.#lengths = sql.prepare(
      'SELECT sequence, octet_length(payload) AS bytes FROM mqtt_queue WHERE client_id = ? ORDER BY sequence',
    )
    this.#deleteUpTo = sql.prepare('DELETE FROM mqtt_queue WHERE client_id = ? AND sequence <= ?')
  }

  insert(targets: readonly QueueTarget[], message: QueueMessage): number[] {
    const { brokerId, brokerCounter, topic, payload, extra } = message
    return targets.map(({ clientId, qos, retain }) =>
      Number(
        this.#insert.run(clientId, brokerId, brokerCounter, topic, payload, qos, retain ? 1 : 0, extra)
          .lastInsertRowid,
      ),
    )
  }

  /** Cuts the queue of a session into parts that are each deleted in a few milliseconds, and what comes meanwhile in a last one. */
  parts(clientId: string): QueuePart[] {
    const parts: QueuePart[] = []
    let bytes = 0
    for (const row of this.#lengths.iterate(clientId) as Iterable<{ sequence: number; bytes: number }>) {
      bytes += ROW_BYTES + row.bytes
      if (bytes < PART_BYTES) continue
      parts.push({ upTo: row.sequence, bytes })
      bytes = 0
    }
    return [...parts, { upTo: Number.MAX_SAFE_INTEGER, bytes }]
  }

  deleteUpTo(clientId: string, sequence: number): void {
    this.#deleteUpTo.run(clientId, sequence)
  }

  page(clientId: string, after: number, limit: number): QueuedMessage[] {
    return this.#page.all(clientId, after, limit).map((row) => queuedOfRow(row, this.#reader))
  }

  one(clientId: string, sequence: number): QueuedMessage | null {
    const row = this.#one.get(sequence, clientId)
    return row === undefined ? null : queuedOfRow(row, this.#reader)
  }

  sizes(): QueueSize[] {
    return this.#sizes.all().map(queueSizeOfRow)
  }

  update(clientId: string, sequence: number, change: { messageId?: number; stage?: 'pubrel' }): void {
    if (change.messageId !== undefined) this.#setMessageId.run(change.messageId, sequence, clientId)
    if (change.stage === 'pubrel') this.#setPubrel.run(sequence, clientId)
  }

  delete(clientId: string, sequence: number): void {
    this.#delete.run(sequence, clientId)
  }
}
