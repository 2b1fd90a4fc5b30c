import { Counter, Gauge, type Registry } from 'prom-client'

/** The reading of one uplink; its name is the label, and the configuration bounds how many there are. */
export interface UplinkReading {
  readonly name: string
  readonly connected: boolean
  readonly queued: number
  readonly published: number
  readonly dropped: number
  readonly reconnects: number
  readonly setAside: number
}

/** Returns what fills them at a scrape. */
export function uplinkMetrics(registry: Registry): (uplinks: readonly UplinkReading[]) => void {
  const common = { labelNames: ['uplink'], registers: [registry] }
  const connected = new Gauge({
    name: 'limb_uplink_connected',
    help: 'Whether the uplink has a connection: 1 or 0.',
    ...common,
  })
  const queued = new Gauge({
    name: 'limb_uplink_queued_messages',
    help: 'Messages that wait for the other broker.',
    ...common,
  })
  const setAside = new Gauge({
    name: 'limb_uplink_set_aside_topics',
    help: 'Topics of which messages are not sent, because the other broker does not take them.',
    ...common,
  })
  const counter = (what: string, help: string) =>
    new Counter({ name: `limb_uplink_${what}_total`, help, ...common })
  const published = counter('published', 'Messages that were published on the other broker.')
  const dropped = counter(
    'dropped',
    'Messages that were given up: no connection, no room, or not taken by the other broker.',
  )
  const reconnects = counter('reconnects', 'Connections after the first.')
  return (uplinks) => {
    // The uplinks count themselves; a scrape shows what they have.
    for (const total of [published, dropped, reconnects]) total.reset()
    for (const reading of uplinks) {
      const labels = { uplink: reading.name }
      connected.set(labels, reading.connected ? 1 : 0)
      queued.set(labels, reading.queued)
      setAside.set(labels, reading.setAside)
      published.inc(labels, reading.published)
      dropped.inc(labels, reading.dropped)
      reconnects.inc(labels, reading.reconnects)
    }
  }
}
