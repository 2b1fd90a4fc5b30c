import type { QueuedDelivery, WebhookDelivery, WebhookQueue } from '../../bridge/webhook-ports.ts'
import type { Database } from './database.ts'
import { WebhooksTable } from './tables/webhooks.ts'

/** The WebhookQueue port on SQLite. Shares the connection and the commits of `createStore`. */
export function createWebhookQueue({ sql, writer, room }: Database): WebhookQueue {
  const table = new WebhooksTable(sql)
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
    prune: (now, names) => writer.write(() => table.prune(now, names)),
    async offline(webhook) {
      await writer.settled()
      return table.offline(webhook)
    },
    setOffline: (webhook, nodeIds, offline) =>
      writer.write(() => table.setOffline(webhook, nodeIds, offline)),
  }
}

const ROW_BYTES = 200

function bytesOf({ payload }: WebhookDelivery): number {
  return ROW_BYTES + Buffer.byteLength(payload)
}
