import type Sqlite from 'better-sqlite3'
import type { QueuedDelivery, WebhookDelivery } from '../../../bridge/webhook-ports.ts'
import { queuedDeliveryOfRow } from '../../records.ts'

/** Deliveries to webhooks that wait, and the limbs that each webhook was told of as offline. */
export class WebhooksTable {
  readonly #put: Sqlite.Statement<[string, string, string, number, string, number]>
  readonly #count: Sqlite.Statement<[string]>
  readonly #dropOne: Sqlite.Statement<[string, string]>
  readonly #next: Sqlite.Statement<[string]>
  readonly #tried: Sqlite.Statement<[number]>
  readonly #delete: Sqlite.Statement<[number]>
  readonly #sizes: Sqlite.Statement<[]>
  readonly #gone: Sqlite.Statement<[number, string]>
  readonly #deleteGone: Sqlite.Statement<[number, string]>
  readonly #offline: Sqlite.Statement<[string]>
  readonly #setOffline: Sqlite.Statement<[string, string]>
  readonly #setBack: Sqlite.Statement<[string, string]>
  readonly #forgetOffline: Sqlite.Statement<[string]>

  constructor(sql: Sqlite.Database) {
    this.#put = sql.prepare(`INSERT INTO webhook_deliveries
      (webhook, delivery_id, kind, urgent, payload, expires_at, attempts) VALUES (?, ?, ?, ?, ?, ?, 0)`)
    this.#count = sql.prepare<[string]>('SELECT count(*) FROM webhook_deliveries WHERE webhook = ?').pluck()
    this.#dropOne = sql.prepare(`DELETE FROM webhook_deliveries WHERE seq = (
      SELECT min(seq) FROM webhook_deliveries WHERE webhook = ? AND kind = (
        SELECT kind FROM webhook_deliveries WHERE webhook = ? GROUP BY kind ORDER BY count(*) DESC, min(seq) LIMIT 1))`)
    this.#next = sql.prepare(`SELECT * FROM webhook_deliveries WHERE webhook = ?
      ORDER BY attempts, urgent DESC, seq LIMIT 1`)
    this.#tried = sql.prepare('UPDATE webhook_deliveries SET attempts = attempts + 1 WHERE seq = ?')
    this.#delete = sql.prepare('DELETE FROM webhook_deliveries WHERE seq = ?')
    this.#sizes = sql.prepare('SELECT webhook, count(*) AS n FROM webhook_deliveries GROUP BY webhook')
    const over = 'expires_at <= ? OR webhook NOT IN (SELECT value FROM json_each(?))'
    this.#gone = sql.prepare(
      `SELECT webhook, count(*) AS n FROM webhook_deliveries WHERE ${over} GROUP BY webhook`,
    )
    this.#deleteGone = sql.prepare(`DELETE FROM webhook_deliveries WHERE ${over}`)
    this.#offline = sql
      .prepare<[string]>('SELECT node_id FROM webhook_offline WHERE webhook = ? ORDER BY node_id')
      .pluck()
    this.#setOffline = sql.prepare(`INSERT OR IGNORE INTO webhook_offline (webhook, node_id)
      SELECT ?, node_id FROM nodes WHERE node_id = ?`)
    this.#setBack = sql.prepare('DELETE FROM webhook_offline WHERE webhook = ? AND node_id = ?')
    this.#forgetOffline = sql.prepare(
      `DELETE FROM webhook_offline WHERE webhook NOT IN (SELECT value FROM json_each(?))
        OR node_id NOT IN (SELECT node_id FROM nodes)`,
    )
  }

  put({ webhook, deliveryId, kind, urgent, payload, expiresAt }: WebhookDelivery): void {
    this.#put.run(webhook, deliveryId, kind, urgent ? 1 : 0, payload, expiresAt)
  }

  /** Deletes what is beyond the bound, and returns how many. */
  trim(webhook: string, max: number): number {
    const beyond = Math.max(0, Number(this.#count.get(webhook)) - max)
    for (let i = 0; i < beyond; i++) this.#dropOne.run(webhook, webhook)
    return beyond
  }

  next(webhook: string): QueuedDelivery | null {
    const row = this.#next.get(webhook)
    return row === undefined ? null : queuedDeliveryOfRow(row)
  }

  tried(seq: number): void {
    this.#tried.run(seq)
  }

  delete(seq: number): void {
    this.#delete.run(seq)
  }

  sizes(): Map<string, number> {
    return countsOf(this.#sizes.all())
  }

  prune(now: number, names: readonly string[]): Map<string, number> {
    const text = JSON.stringify(names)
    const gone = countsOf(this.#gone.all(now, text))
    if (gone.size > 0) this.#deleteGone.run(now, text)
    this.#forgetOffline.run(text)
    return gone
  }

  offline(webhook: string): string[] {
    return this.#offline.all(webhook) as string[]
  }

  setOffline(webhook: string, nodeIds: readonly string[], offline: boolean): void {
    const statement = offline ? this.#setOffline : this.#setBack
    for (const nodeId of nodeIds) statement.run(webhook, nodeId)
  }
}

function countsOf(rows: readonly unknown[]): Map<string, number> {
  return new Map(
    rows.map((row) => {
      const { webhook, n } = row as { webhook: string; n: number }
      return [webhook, n]
    }),
  )
}
