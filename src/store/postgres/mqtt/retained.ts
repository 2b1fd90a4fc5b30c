import {
  messageBytes,
  type RetainedLimits,
  type RetainedOutcome,
  type StoredMessage,
} from '../../../bridge/mqtt-store.ts'
import { retainedOfRow, topicRange } from '../../mqtt-records.ts'
import { type RetainedChange, RetainedSums } from '../../retained-sums.ts'
import type { Sql } from '../connection.ts'
import { upsert } from '../tables/statements.ts'
import type { WorkSql } from '../writer.ts'

const SIZE = '(octet_length(topic) + octet_length(payload) + coalesce(octet_length(extra), 0))'
/** The range includes its prefix: `a/` is a topic too, and `a/+` matches it. */
const BELOW = 'FROM mqtt_retained WHERE topic >= $1 AND topic < $2'
const PUT = upsert('mqtt_retained', 'topic, payload, qos, extra', 'topic')

/** Retained messages, found by topic or by range of topics. Their sums are counted once, and kept in memory. */
export class RetainedTable {
  #sums: RetainedSums | undefined

  /** The sums as they are known; nothing until something was retained. */
  get known(): { readonly rows: number; readonly bytes: number } {
    return this.#sums ?? { rows: 0, bytes: 0 }
  }

  async one(sql: Sql, topic: string): Promise<StoredMessage | null> {
    const [row] = await sql.all('SELECT * FROM mqtt_retained WHERE topic = $1', topic)
    return row === undefined ? null : retainedOfRow(row)
  }

  /** Notes in `changes` what it changes, so that it can be taken back. */
  async put(
    sql: WorkSql,
    message: Omit<StoredMessage, 'retain'>,
    limits: RetainedLimits,
    changes: RetainedChange[],
  ): Promise<RetainedOutcome> {
    const { topic, payload, qos, extra } = message
    const before = await this.#bytesOf(sql, topic)
    const more = messageBytes(message) - (before ?? 0)
    const outcome = await this.#judge(sql, before === undefined, more, limits)
    if (outcome !== 'stored') {
      await this.#delete(sql, topic, before, changes)
      return outcome
    }
    sql.later(PUT, topic, payload, qos, extra)
    this.#note({ topic, rows: before === undefined ? 1 : 0, bytes: more }, changes)
    return 'stored'
  }

  async delete(sql: WorkSql, topic: string, changes: RetainedChange[]): Promise<void> {
    await this.#delete(sql, topic, await this.#bytesOf(sql, topic), changes)
  }

  /** Deletes those of the next `limit` topics whose time is up; resolves to the last of these topics, or undefined. */
  async deleteExpired(
    sql: WorkSql,
    after: string,
    limit: number,
    now: number,
    changes: RetainedChange[],
  ): Promise<string | undefined> {
    const text = `SELECT topic, extra, ${SIZE} AS bytes FROM mqtt_retained WHERE topic > $1 ORDER BY topic LIMIT $2`
    const page = await sql.all(text, after, limit)
    for (const { topic, extra, bytes } of page) {
      if (expiryOf(extra) <= now) await this.#delete(sql, String(topic), Number(bytes), changes)
    }
    return page.length < limit ? undefined : String(page.at(-1)?.topic)
  }

  async deleteBelow(sql: WorkSql, prefix: string, changes: RetainedChange[]): Promise<string[]> {
    const gone = await sql.all(`DELETE ${BELOW} RETURNING topic, ${SIZE} AS bytes`, ...topicRange(prefix))
    for (const { topic, bytes } of gone)
      this.#note({ topic: String(topic), rows: -1, bytes: -Number(bytes) }, changes)
    return gone.map(({ topic }) => String(topic))
  }

  /** Takes back what was not stored. */
  undo(changes: readonly RetainedChange[]): void {
    for (const change of changes) this.#sums?.add(change, -1)
  }

  async topics(sql: Sql, prefix: string, after: string, limit: number): Promise<string[]> {
    const [first, end] = prefix === '' ? ['', null] : topicRange(prefix)
    const from = after === '' ? 'topic >= $1' : 'topic > $1'
    const below = end === null ? '' : ' AND topic < $3'
    const rows = await sql.all(
      `SELECT topic FROM mqtt_retained WHERE ${from}${below} ORDER BY topic LIMIT $2`,
      after === '' ? first : after,
      limit,
      ...(end === null ? [] : [end]),
    )
    return rows.map(({ topic }) => String(topic))
  }

  async #judge(
    sql: Sql,
    isNew: boolean,
    more: number,
    { total, totalBytes, below }: RetainedLimits,
  ): Promise<RetainedOutcome> {
    if (isNew && below !== undefined) {
      const beyond = await sql.all(
        `SELECT 1 ${BELOW} LIMIT 1 OFFSET $3`,
        ...topicRange(below.prefix),
        below.max - 1,
      )
      if (beyond.length > 0) return 'too_many_below'
    }
    const sums = await this.loaded(sql)
    if (isNew && sums.rows >= total) return 'too_many'
    if (more <= 0) return 'stored'
    if (below !== undefined && (await this.#bytesBelow(sql, sums, below.prefix)) + more > below.maxBytes)
      return 'too_many_bytes_below'
    return sums.bytes + more > totalBytes ? 'too_many_bytes' : 'stored'
  }

  async #bytesBelow(sql: Sql, sums: RetainedSums, prefix: string): Promise<number> {
    const [row] = await sql.all(`SELECT coalesce(sum(${SIZE}), 0) AS bytes ${BELOW}`, ...topicRange(prefix))
    return sums.below(prefix, () => Number(row?.bytes))
  }

  async #bytesOf(sql: Sql, topic: string): Promise<number | undefined> {
    const [row] = await sql.all(`SELECT ${SIZE} AS bytes FROM mqtt_retained WHERE topic = $1`, topic)
    return row === undefined ? undefined : Number(row.bytes)
  }

  async #delete(
    sql: WorkSql,
    topic: string,
    bytes: number | undefined,
    changes: RetainedChange[],
  ): Promise<void> {
    if (bytes === undefined) return
    sql.later('DELETE FROM mqtt_retained WHERE topic = $1', topic)
    this.#note({ topic, rows: -1, bytes: -bytes }, changes)
  }

  #note(change: RetainedChange, changes: RetainedChange[]): void {
    this.#sums?.add(change)
    changes.push(change)
  }

  /** Counts once; before the first change, so that none is counted twice. */
  async loaded(sql: Sql): Promise<RetainedSums> {
    if (this.#sums === undefined) {
      const [row] = await sql.all(
        `SELECT count(*) AS rows, coalesce(sum(${SIZE}), 0) AS bytes FROM mqtt_retained`,
      )
      this.#sums = new RetainedSums(Number(row?.rows), Number(row?.bytes))
    }
    return this.#sums
  }
}

function expiryOf(extra: unknown): number {
  if (typeof extra !== 'string') return Number.POSITIVE_INFINITY
  const { expiresAt } = JSON.parse(extra) as { expiresAt?: unknown }
  return typeof expiresAt === 'number' ? expiresAt : Number.POSITIVE_INFINITY
}
