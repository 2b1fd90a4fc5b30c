import type Sqlite from 'better-sqlite3'
import type { QueuedDelivery, WebhookDelivery } from '../../../bridge/webhook-ports.ts'
import { queuedDeliveryOfRow } from '../../records.ts'
import { beyondOf, type CountedKind } from '../../webhook-counts.ts'

/** Deliveries to webhooks that wait, and the limbs that each webhook was told of as offline. */
export class WebhooksTable {
  readonly #put: Sqlite.Statement<[string, string, string, number, string, number]>
  readonly #kinds: Sqlite.Statement<[string]>
  readonly #deleteOldest: Sqlite.Statement<[string, string, number]>
  readonly #next: Sqlite.Statement<[string]>
  readonly #tried: Sqlite.Statement<[number]>
  readonly #delete: Sqlite.Statement<[number]>
  readonly #sizes: Sqlite.Statement<[]>
  readonly #deleteEnded: Sqlite.Statement<[string, number, number]>
  readonly #deleteSome: Sqlite.Statement<[string, number]>
  readonly #offline: Sqlite.Statement<[string]>
  readonly #setOffline: Sqlite.Statement<[string, string]>
  readonly #setBack: Sqlite.Statement<[string, string]>
  readonly #toldAfter: Sqlite.Statement<[string]>
  readonly #forgetSome: Sqlite.Statement<[string, number]>

  constructor(sql: Sqlite.Database) {
    this.#put = sql.prepare(`INSERT INTO webhook_deliveries
      (webhook, delivery_id, kind, urgent, payload, expires_at, attempts) VALUES (?, ?, ?, ?, ?, ?, 0)`)
    this.#kinds = sql.prepare(`SELECT kind, n,
        (SELECT min(seq) FROM webhook_deliveries d WHERE d.webhook = c.webhook AND d.kind = c.kind) AS oldest
      FROM webhook_counts c WHERE webhook = ?`)
    const some = (where: string) =>
      `DELETE FROM webhook_deliveries WHERE seq IN (SELECT seq FROM webhook_deliveries WHERE ${where} LIMIT ?)`
    this.#deleteOldest = sql.prepare(some('webhook = ? AND kind = ? ORDER BY seq'))
    this.#deleteEnded = sql.prepare(some('webhook = ? AND expires_at <= ?'))
    this.#deleteSome = sql.prepare(some('webhook = ?'))
    this.#next = sql.prepare(`SELECT * FROM webhook_deliveries WHERE webhook = ?
      ORDER BY attempts, urgent DESC, seq LIMIT 1`)
    this.#tried = sql.prepare('UPDATE webhook_deliveries SET attempts = attempts + 1 WHERE seq = ?')
    this.#delete = sql.prepare('DELETE FROM webhook_deliveries WHERE seq = ?')
    this.#sizes = sql.prepare('SELECT webhook, sum(n) AS n FROM webhook_counts GROUP BY webhook')
    this.#offline = sql
      .prepare<[string]>('SELECT node_id FROM webhook_offline WHERE webhook = ? ORDER BY node_id')
      .pluck()
    this.#setOffline = sql.prepare(`INSERT OR IGNORE INTO webhook_offline (webhook, node_id)
      SELECT ?, node_id FROM nodes WHERE node_id = ?`)
    this.#setBack = sql.prepare('DELETE FROM webhook_offline WHERE webhook = ? AND node_id = ?')
    this.#toldAfter = sql
      .prepare<[string]>('SELECT min(webhook) FROM webhook_offline WHERE webhook > ?')
      .pluck()
    this.#forgetSome = sql.prepare(`DELETE FROM webhook_offline WHERE (webhook, node_id) IN (
      SELECT webhook, node_id FROM webhook_offline WHERE webhook = ? LIMIT ?)`)
  }

  put({ webhook, deliveryId, kind, urgent, payload, expiresAt }: WebhookDelivery): void {
    this.#put.run(webhook, deliveryId, kind, urgent ? 1 : 0, payload, expiresAt)
  }

  /** Deletes those beyond the bound, and returns their number. */
  trim(webhook: string, max: number): number {
    const beyond = beyondOf(this.#kinds.all(webhook) as CountedKind[], max)
    for (const { kind, n } of beyond) this.#deleteOldest.run(webhook, kind, n)
    return beyond.reduce((sum, { n }) => sum + n, 0)
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
    const rows = this.#sizes.all() as { webhook: string; n: number }[]
    return new Map(rows.map(({ webhook, n }) => [webhook, n]))
  }

  /** Deletes at most `most` whose time is over, or whose webhook is not among the names. Returns how many, by webhook. */
  prune(now: number, names: readonly string[], most: number): Map<string, number> {
    const gone = new Map<string, number>()
    let left = most
    for (const webhook of this.sizes().keys()) {
      if (left === 0) break
      const { changes } = names.includes(webhook)
        ? this.#deleteEnded.run(webhook, now, left)
        : this.#deleteSome.run(webhook, left)
      left -= changes
      if (changes > 0) gone.set(webhook, changes)
    }
    return gone
  }

  /** Forgets at most `most` limbs that webhooks were told of which are not among the names. Returns how many. */
  forgetOffline(names: readonly string[], most: number): number {
    let webhook = ''
    for (;;) {
      const next = this.#toldAfter.get(webhook) as string | null
      if (next === null) return 0
      if (!names.includes(next)) return this.#forgetSome.run(next, most).changes
      webhook = next
    }
  }

  offline(webhook: string): string[] {
    return this.#offline.all(webhook) as string[]
  }

  setOffline(webhook: string, nodeIds: readonly string[], offline: boolean): void {
    const statement = offline ? this.#setOffline : this.#setBack
    for (const nodeId of nodeIds) statement.run(webhook, nodeId)
  }
}
