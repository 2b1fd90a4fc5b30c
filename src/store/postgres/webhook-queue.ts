import type { QueuedDelivery, WebhookDelivery, WebhookQueue } from '../../bridge/webhook-ports.ts'
import { queuedDeliveryOfRow } from '../records.ts'
import type { SqlRow } from '../rows.ts'
import { beyondOf, type CountedKind } from '../webhook-counts.ts'
import type { Sql } from './connection.ts'
import type { PostgresDatabase } from './database.ts'
import type { WorkSql } from './writer.ts'

const PUT = `INSERT INTO webhook_deliveries (webhook, delivery_id, kind, urgent, payload, expires_at, attempts)
  SELECT b.webhook, b.delivery_id, b.kind, b.urgent, b.payload, b.expires_at, 0
  FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::text[], $6::bigint[])
    WITH ORDINALITY b(webhook, delivery_id, kind, urgent, payload, expires_at, place) ORDER BY b.place`
const KINDS = `SELECT webhook, kind, n,
    (SELECT min(seq) FROM webhook_deliveries d WHERE d.webhook = c.webhook AND d.kind = c.kind) AS oldest
  FROM webhook_counts c WHERE webhook = ANY($1)`
const DROP = `DELETE FROM webhook_deliveries WHERE seq IN (
  SELECT seq FROM webhook_deliveries WHERE webhook = $1 AND kind = $2 ORDER BY seq LIMIT $3)`
const SIZES = 'SELECT webhook, sum(n) AS n FROM webhook_counts GROUP BY webhook'
const NEXT = `SELECT * FROM webhook_deliveries WHERE webhook = $1 ORDER BY attempts, urgent DESC, seq LIMIT 1`
const SET_OFFLINE = `INSERT INTO webhook_offline (webhook, node_id)
  SELECT $1, node_id FROM nodes WHERE node_id = ANY($2) ON CONFLICT DO NOTHING`
const SET_BACK = 'DELETE FROM webhook_offline WHERE webhook = $1 AND node_id = ANY($2)'
const FORGET_OFFLINE = `DELETE FROM webhook_offline WHERE webhook <> ALL($1)
  OR node_id NOT IN (SELECT node_id FROM nodes)`
const OVER = 'FROM webhook_deliveries WHERE expires_at <= $1 OR webhook <> ALL($2)'

/** The WebhookQueue port on PostgreSQL. Shares the connections and the commits of `createPostgresStore`. */
export class PostgresWebhookQueue implements WebhookQueue {
  readonly #database: PostgresDatabase
  /** The number that waits for each webhook, as of the last commit that changed it. */
  #sizes: ReadonlyMap<string, number> = new Map()

  constructor(database: PostgresDatabase) {
    this.#database = database
  }

  /** Counts what an earlier bridge left. Called once, before anything else. */
  async load(): Promise<void> {
    this.#sizes = await this.#database.read((sql) => sizesOf(sql))
  }

  put(
    batch: readonly WebhookDelivery[],
    max: (webhook: string) => number,
  ): Promise<ReadonlyMap<string, number>> {
    return this.#change(async (sql) => {
      sql.later(
        PUT,
        batch.map(({ webhook }) => webhook),
        batch.map(({ deliveryId }) => deliveryId),
        batch.map(({ kind }) => kind),
        batch.map(({ urgent }) => (urgent ? 1 : 0)),
        batch.map(({ payload }) => payload),
        batch.map(({ expiresAt }) => Math.round(expiresAt)),
      )
      const webhooks = [...new Set(batch.map((delivery) => delivery.webhook))]
      const rows = await sql.all(KINDS, webhooks)
      const dropped = new Map<string, number>()
      for (const webhook of webhooks) {
        const kinds = rows.filter((row) => row.webhook === webhook).map(countedOf)
        for (const { kind, n } of beyondOf(kinds, max(webhook))) {
          sql.later(DROP, webhook, kind, n)
          dropped.set(webhook, (dropped.get(webhook) ?? 0) + n)
        }
      }
      return dropped
    })
  }

  async next(webhook: string): Promise<QueuedDelivery | null> {
    await this.#database.writer.settled()
    const [row] = await this.#database.read((sql) => sql.all(NEXT, webhook))
    return row === undefined ? null : queuedDeliveryOfRow(row)
  }

  async tried(seq: number): Promise<void> {
    await this.#database.writer.transact((sql) =>
      sql.run('UPDATE webhook_deliveries SET attempts = attempts + 1 WHERE seq = $1', seq),
    )
  }

  async delete(seq: number): Promise<void> {
    await this.#change((sql) => sql.run('DELETE FROM webhook_deliveries WHERE seq = $1', seq))
  }

  sizes(): ReadonlyMap<string, number> {
    return this.#sizes
  }

  prune(now: number, names: () => readonly string[]): Promise<ReadonlyMap<string, number>> {
    return this.#change(async (sql) => {
      const named = names()
      const rows = await sql.all(
        `WITH gone AS (DELETE ${OVER} RETURNING webhook) SELECT webhook, count(*) AS n FROM gone GROUP BY webhook`,
        Math.floor(now),
        named,
      )
      sql.later(FORGET_OFFLINE, named)
      return countsOf(rows)
    })
  }

  async offline(webhook: string): Promise<readonly string[]> {
    await this.#database.writer.settled()
    const text = 'SELECT node_id FROM webhook_offline WHERE webhook = $1 ORDER BY node_id'
    return (await this.#database.read((sql) => sql.all(text, webhook))).map((row) => String(row.node_id))
  }

  async setOffline(webhook: string, nodeIds: readonly string[], offline: boolean): Promise<void> {
    await this.#database.writer.transact((sql) => sql.run(offline ? SET_OFFLINE : SET_BACK, webhook, nodeIds))
  }

  /** Makes a change, and keeps what waits then once it is stored. */
  async #change<T>(run: (sql: WorkSql) => Promise<T>): Promise<T> {
    const { result, sizes } = await this.#database.writer.transact(async (sql) => {
      const result = await run(sql)
      return { result, sizes: await sizesOf(sql) }
    })
    this.#sizes = sizes
    return result
  }
}

async function sizesOf(sql: Sql): Promise<Map<string, number>> {
  return countsOf(await sql.all(SIZES))
}

function countedOf({ kind, n, oldest }: SqlRow): CountedKind {
  return { kind: String(kind), n: Number(n), oldest: Number(oldest) }
}

function countsOf(
  rows: readonly { readonly webhook?: unknown; readonly n?: unknown }[],
): Map<string, number> {
  return new Map(rows.map(({ webhook, n }) => [String(webhook), Number(n)]))
}
