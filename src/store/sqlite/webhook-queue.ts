import type { QueuedDelivery, WebhookDelivery, WebhookQueue } from '../../bridge/webhook-ports.ts'
import type { Database } from './database.ts'
import { WebhooksTable } from './tables/webhooks.ts'

/** The WebhookQueue port on SQLite. Shares the connection and the commits of `createStore`. */
export function createWebhookQueue({ sql, writer, room }: Database): WebhookQueue {
  const table = new WebhooksTable(sql)
  /** The end of what each webhook was told of its limbs, which is many commits: what it is told later comes behind it. */
  const telling = new Map<string, Promise<void>>()
  return {
    put(batch, max) {
      return writer.write(() => {
        const dropped = new Map<string, number>()
        const drop = (webhook: string, count: number) => {
          if (count > 0) dropped.set(webhook, (dropped.get(webhook) ?? 0) + count)
        }
        for (const delivery of batch) {
          if (room.has(bytesOf(delivery))) table.put(delivery)
          else drop(delivery.webhook, 1)
        }
        for (const webhook of new Set(batch.map((delivery) => delivery.webhook)))
          drop(webhook, table.trim(webhook, max(webhook)))
        return dropped
      })
    },
    async next(webhook): Promise<QueuedDelivery | null> {
      await writer.settled()
      return table.next(webhook)
    },
    tried: (seq) => writer.write(() => table.tried(seq)),
    delete: (seq) => writer.write(() => table.delete(seq)),
    sizes: () => table.sizes(),
    async prune(now, names) {
      const gone = new Map<string, number>()
      for (;;) {
        const some = await writer.write(() => table.prune(now, names(), ROWS_IN_ONE_GO))
        for (const [webhook, n] of some) gone.set(webhook, (gone.get(webhook) ?? 0) + n)
        if (some.size === 0) break
      }
      while ((await writer.write(() => table.forgetOffline(names(), ROWS_IN_ONE_GO))) > 0);
      return gone
    },
    async offline(webhook) {
      await telling.get(webhook)
      await writer.settled()
      return table.offline(webhook)
    },
    setOffline(webhook, nodeIds, offline) {
      const before = telling.get(webhook) ?? Promise.resolve()
      const all = before.then(async () => {
        for (let i = 0; i < nodeIds.length; i += ROWS_IN_ONE_GO) {
          const some = nodeIds.slice(i, i + ROWS_IN_ONE_GO)
          await writer.write(() => table.setOffline(webhook, some, offline))
        }
      })
      const ended = all
        .catch(() => undefined)
        .then(() => {
          if (telling.get(webhook) === ended) telling.delete(webhook)
        })
      telling.set(webhook, ended)
      return all
    },
  }
}

const ROW_BYTES = 200
/** Rows of one work: others of sixteen webhooks may share its commit, and each may be on sixteen pages. */
const ROWS_IN_ONE_GO = 100

function bytesOf({ payload }: WebhookDelivery): number {
  return ROW_BYTES + Buffer.byteLength(payload)
}
