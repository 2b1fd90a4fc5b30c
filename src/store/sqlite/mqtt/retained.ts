import type Sqlite from 'better-sqlite3'
import type { RetainedLimits, StoredMessage } from '../../../bridge/mqtt-store.ts'
import { invariant } from '../../../kernel/assert.ts'
import { RowReader, type SqlRow } from '../tables/rows.ts'
import { qosOf } from './sessions.ts'

/** Retained messages, found by topic or by range of topics. */
export class MqttRetainedTable {
  readonly #reader = new RowReader('mqtt_retained', ['topic'])
  readonly #one: Sqlite.Statement<[string]>
  readonly #replace: Sqlite.Statement
  readonly #insert: Sqlite.Statement
  readonly #delete: Sqlite.Statement<[string]>
  readonly #deleteBelow: Sqlite.Statement<[string, string]>
  readonly #first: Sqlite.Statement<[string, string, number]>
  readonly #next: Sqlite.Statement<[string, string, number]>
  readonly #all: Sqlite.Statement<[string, number]>
  readonly #fullBelow: Sqlite.Statement<[string, string, number]>
  readonly #count: Sqlite.Statement<[]>
  /** Rows, give or take what a failed commit took back; null: not counted yet. */
  #estimate: number | null = null

  constructor(sql: Sqlite.Database) {
    // The range includes its prefix: `a/` is a topic too, and `a/+` matches it.
    const below = 'FROM mqtt_retained WHERE topic >= ? AND topic < ?'
    this.#one = sql.prepare('SELECT * FROM mqtt_retained WHERE topic = ?')
    this.#replace = sql.prepare('UPDATE mqtt_retained SET payload = ?, qos = ?, extra = ? WHERE topic = ?')
    this.#insert = sql.prepare('INSERT INTO mqtt_retained (payload, qos, extra, topic) VALUES (?, ?, ?, ?)')
    this.#delete = sql.prepare('DELETE FROM mqtt_retained WHERE topic = ?')
    this.#deleteBelow = sql.prepare<[string, string]>(`DELETE ${below} RETURNING topic`).pluck()
    this.#first = sql
      .prepare<[string, string, number]>(`SELECT topic ${below} ORDER BY topic LIMIT ?`)
      .pluck()
    this.#next = sql
      .prepare<[string, string, number]>(
        'SELECT topic FROM mqtt_retained WHERE topic > ? AND topic < ? ORDER BY topic LIMIT ?',
      )
      .pluck()
    this.#all = sql
      .prepare<[string, number]>('SELECT topic FROM mqtt_retained WHERE topic > ? ORDER BY topic LIMIT ?')
      .pluck()
    this.#count = sql.prepare<[]>('SELECT count(*) FROM mqtt_retained').pluck()
    this.#fullBelow = sql.prepare(`SELECT 1 ${below} LIMIT 1 OFFSET ?`)
  }

  one(topic: string): StoredMessage | null {
    const row = this.#one.get(topic)
    if (row === undefined) return null
    const reader = this.#reader.of(row)
    return {
      topic: reader.text('topic'),
      payload: reader.blob('payload'),
      qos: qosOf(row as SqlRow, reader),
      retain: true,
      extra: reader.textOrNull('extra'),
    }
  }

  put(
    message: Omit<StoredMessage, 'retain'>,
    { total, below }: RetainedLimits,
  ): 'stored' | 'too_many' | 'too_many_below' {
    const values = [message.payload, message.qos, message.extra, message.topic]
    if (this.#replace.run(...values).changes > 0) return 'stored'
    if (below !== null && this.#fullBelow.get(...range(below.prefix), below.max - 1)) return 'too_many_below'
    // Counted again at the limit only: a count of all rows for each new topic would be quadratic.
    if (this.size() >= total) this.#estimate = this.count()
    if (this.size() >= total) return 'too_many'
    this.#insert.run(...values)
    this.#estimate = this.size() + 1
    return 'stored'
  }

  delete(topic: string): void {
    this.#forget(this.#delete.run(topic).changes)
  }

  deleteBelow(prefix: string): string[] {
    const topics = this.#deleteBelow.all(...range(prefix)).map(String)
    this.#forget(topics.length)
    return topics
  }

  topics(prefix: string, after: string, limit: number): string[] {
    return this.#topicRows(prefix, after, limit).map(String)
  }

  #topicRows(prefix: string, after: string, limit: number): unknown[] {
    if (prefix === '') return this.#all.all(after, limit)
    const [first, end] = range(prefix)
    return after === '' ? this.#first.all(first, end, limit) : this.#next.all(after, end, limit)
  }

  #forget(rows: number): void {
    if (this.#estimate !== null) this.#estimate = Math.max(0, this.#estimate - rows)
  }

  /** See `#estimate`. */
  size(): number {
    this.#estimate ??= this.count()
    return this.#estimate
  }

  count(): number {
    return Number(this.#count.get())
  }
}

/** Every topic below `a/` lies between `a/` and `a0`, because 0 is the character after the slash. */
function range(prefix: string): [string, string] {
  invariant(prefix.endsWith('/'), 'a prefix of topics ends with a slash')
  return [prefix, `${prefix.slice(0, -1)}0`]
}
