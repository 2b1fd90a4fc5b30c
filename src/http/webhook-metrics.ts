import { Counter, Gauge, type Registry } from 'prom-client'
import type { WebhookReading } from '../bridge/webhooks/webhooks.ts'

/** Returns what fills them at a scrape. */
export function webhookMetrics(registry: Registry): (webhooks: readonly WebhookReading[]) => void {
  const common = { labelNames: ['webhook'], registers: [registry] }
  const queued = new Gauge({
    name: 'limb_webhook_queued_deliveries',
    help: 'Deliveries that wait for the receiver of a webhook.',
    ...common,
  })
  const failing = new Gauge({
    name: 'limb_webhook_failing_seconds',
    help: 'How long the receiver of a webhook has taken nothing that was sent; 0: it took the last delivery.',
    ...common,
  })
  const counter = (what: string, help: string) =>
    new Counter({ name: `limb_webhook_${what}_total`, help, ...common })
  const delivered = counter('delivered', 'Deliveries that a receiver took.')
  const failed = counter('failed', 'Tries that failed; each is tried again.')
  const dropped = counter('dropped', 'Deliveries that were given up: no room, no time left, or refused.')
  return (webhooks) => {
    // They count themselves; a scrape shows what they have. One that is configured no more is gone.
    for (const metric of [queued, failing, delivered, failed, dropped]) metric.reset()
    for (const reading of webhooks) {
      const labels = { webhook: reading.name }
      queued.set(labels, reading.queued)
      failing.set(labels, reading.failingSeconds)
      delivered.inc(labels, reading.delivered)
      failed.inc(labels, reading.failed)
      dropped.inc(labels, reading.dropped)
    }
  }
}
