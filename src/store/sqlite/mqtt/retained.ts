import type Sqlite from 'better-sqlite3'
import {
  messageBytes,
  type RetainedLimits,
  type RetainedOutcome,
  type StoredMessage,
} from '../../../bridge/mqtt-store.ts'
import { retainedOfRow, topicRange } from '../../mqtt-records.ts'
import { type RetainedChange, RetainedSums } from '../../retained-sums.ts'
import { RowReader } from '../../rows.ts'

/** The bytes of a row as `messageBytes` counts them, which are read from its header. */
const SIZE = '(octet_length(topic) + octet_length(payload) + coalesce(octet_length(extra), 0))'

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
  readonly #expiries: Sqlite.Statement<[string, number]>
  readonly #bytes: Sqlite.Statement<[string]>
  readonly #sumBelow: Sqlite.Statement<[string, string]>
  /** The table is counted once, when the bridge starts. */
  readonly sums: RetainedSums

  constructor(sql: Sqlite.Database) {
    // The range includes its prefix: `a/` is a topic too, and `a/+` matches it.
    const below = 'FROM mqtt_retained WHERE topic >= ? AND topic < ?'
    this.#one = sql.prepare('SELECT * FROM mqtt_retained WHERE topic = ?')
    this.#replace = sql.prepare('UPDATE mqtt_retained SET payload = ?, qos = ?, extra = ? WHERE topic = ?')
    this.#insert = sql.prepare('INSERT INTO mqtt_retained (payload, qos, extra, topic) VALUES (?, ?, ?, ?)')
    this.#delete = sql.prepare('DELETE FROM mqtt_retained WHERE topic = ?')
    this.#deleteBelow = sql.prepare<[string, string]>(`DELETE ${below} RETURNING topic, ${SIZE} AS bytes`)
    this.#bytes = sql.prepare<[string]>(`SELECT ${SIZE} FROM mqtt_retained WHERE topic = ?`).pluck()
    this.#sumBelow = sql.prepare<[string, string]>(`SELECT total(${SIZE}) ${below}`).pluck()
    const all = sql.prepare<[]>(`SELECT count(*) AS rows, total(${SIZE}) AS bytes FROM mqtt_retained`).get()
    const { rows, bytes } = all as { rows: number; bytes: number }
    this.sums = new RetainedSums(rows, bytes)
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
    this.#expiries = sql.prepare(
      `SELECT topic, extra ->> '$.expiresAt' AS expiresAt FROM mqtt_retained WHERE topic > ? ORDER BY topic LIMIT ?`,
    )
    this.#fullBelow = sql.prepare(`SELECT 1 ${below} LIMIT 1 OFFSET ?`)
  }

  one(topic: string): StoredMessage | null {
    const row = this.#one.get(topic)
    return row === undefined ? null : retainedOfRow(row, this.#reader)
  }

  /** Notes in `changes` what it changes, so that a failed commit can be taken back. */
  put(
    message: Omit<StoredMessage, 'retain'>,
    limits: RetainedLimits,
    hasRoom: (bytes: number) => boolean,
    changes: RetainedChange[],
  ): RetainedOutcome {
    const { topic, payload, qos, extra } = message
    const before = this.#bytes.get(topic)
    const bytes = messageBytes(message)
    const more = bytes - (before === undefined ? 0 : Number(before))
    const outcome = this.#judge(topic, before === undefined, more, limits, hasRoom)
    if (outcome !== 'stored') {
      if (before !== undefined) this.delete(topic, changes)
      return outcome
    }
    if (before === undefined) this.#insert.run(payload, qos, extra, topic)
    else this.#replace.run(payload, qos, extra, topic)
    this.#note({ topic, rows: before === undefined ? 1 : 0, bytes: more }, changes)
    return 'stored'
  }

  #judge(
    topic: string,
    isNew: boolean,
    more: number,
    { total, totalBytes, below }: RetainedLimits,
    hasRoom: (bytes: number) => boolean,
  ): RetainedOutcome {
    if (isNew && below !== undefined && this.#fullBelow.get(...topicRange(below.prefix), below.max - 1))
      return 'too_many_below'
    if (isNew && this.sums.rows >= total) return 'too_many'
    if (more <= 0) return 'stored'
    if (below !== undefined && this.#bytesBelow(below.prefix) + more > below.maxBytes)
      return 'too_many_bytes_below'
    if (this.sums.bytes + more > totalBytes) return 'too_many_bytes'
    return hasRoom(Buffer.byteLength(topic) + more) ? 'stored' : 'no_room'
  }

  #bytesBelow(prefix: string): number {
    return this.sums.below(prefix, () => Number(this.#sumBelow.get(...topicRange(prefix))))
  }

  delete(topic: string, changes: RetainedChange[]): void {
    const before = this.#bytes.get(topic)
    if (before === undefined) return
    this.#delete.run(topic)
    this.#note({ topic, rows: -1, bytes: -Number(before) }, changes)
  }

  /** Deletes those of the next `limit` topics whose time is up; returns the last of these topics, or undefined at the end. */
  deleteExpired(after: string, limit: number, now: number, changes: RetainedChange[]): string | undefined {
    const page = this.#expiries.all(after, limit) as { topic: string; expiresAt: unknown }[]
    for (const { topic, expiresAt } of page) {
      if (typeof expiresAt === 'number' && expiresAt <= now) this.delete(topic, changes)
    }
    return page.length < limit ? undefined : page.at(-1)?.topic
  }

  deleteBelow(prefix: string, changes: RetainedChange[]): string[] {
    const gone = this.#deleteBelow.all(...topicRange(prefix)) as { topic: string; bytes: number }[]
    for (const { topic, bytes } of gone) this.#note({ topic, rows: -1, bytes: -bytes }, changes)
    return gone.map(({ topic }) => topic)
  }

  #note(change: RetainedChange, changes: RetainedChange[]): void {
    this.sums.add(change)
    changes.push(change)
  }

  /** Takes back what a commit that failed did not change. */
  undo(changes: readonly RetainedChange[]): void {
    for (const change of changes) this.sums.add(change, -1)
  }

  topics(prefix: string, after: string, limit: number): string[] {
    return this.#topicRows(prefix, after, limit).map(String)
  }

  #topicRows(prefix: string, after: string, limit: number): unknown[] {
    if (prefix === '') return this.#all.all(after, limit)
    const [first, end] = topicRange(prefix)
    return after === '' ? this.#first.all(first, end, limit) : this.#next.all(after, end, limit)
  }
}
