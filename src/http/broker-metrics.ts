import { Counter, Gauge, type Registry } from 'prom-client'

/** Shows what the broker counts by itself, as Prometheus' counters and gauges. */

/** A number, or one for each value of its label. */
type Count = number | Readonly<Record<string, number>>

/** The slice of the broker's counters that is shown. */
export interface BrokerReadings {
  readonly connections: Readonly<Record<string, number>>
  readonly connectionsTotal: number
  readonly messagesIn: number
  readonly messagesOut: number
  readonly denied: Readonly<Record<string, number>>
  readonly refused: Readonly<Record<string, number>>
  readonly limits: Readonly<Record<string, number>>
  readonly shed: number
  readonly undelivered: number
  readonly versions: Readonly<Record<string, number>>
  readonly overrun: number
  readonly unstored: number
  readonly violations: number
  readonly keepaliveTimeouts: number
  /** Memory of those who have shown no secret. */
  readonly strangerBytes: number
  readonly partialBytes: number
  readonly unsentBytes: number
}

export interface TlsReadings {
  /** The time at which the certificate ends, in milliseconds since 1970. */
  readonly notAfterMs: number
  /** New certificates, by outcome. */
  readonly reloads: Readonly<Record<string, number>>
}

interface Shown {
  readonly name: string
  readonly help: string
  readonly label?: string
}

const COUNTERS: Readonly<
  Record<
    Exclude<keyof BrokerReadings, 'connections' | 'strangerBytes' | 'partialBytes' | 'unsentBytes'>,
    Shown
  >
> = {
  connectionsTotal: { name: 'limb_connections_opened_total', help: 'Connections that were accepted.' },
  messagesIn: { name: 'limb_messages_received_total', help: 'PUBLISH packets of sessions.' },
  messagesOut: { name: 'limb_messages_sent_total', help: 'PUBLISH packets to sessions.' },
  denied: { name: 'limb_denied_total', help: 'What no right was granted for, by kind.', label: 'what' },
  refused: {
    name: 'limb_connections_refused_total',
    help: 'Connections that did not become a session, by reason.',
    label: 'reason',
  },
  limits: {
    name: 'limb_limits_reached_total',
    help: 'How often a session met a limit: paused (messages, bytes), denied (topic, subscriptions) or ended.',
    label: 'limit',
  },
  shed: {
    name: 'limb_messages_shed_total',
    help: 'Messages that a slow reader was not sent: those of QoS 0, and answers that another session asked for.',
  },
  undelivered: {
    name: 'limb_messages_undelivered_total',
    help: 'Messages that were left out because their time was up, or the client takes none as large.',
  },
  versions: {
    name: 'limb_sessions_opened_total',
    help: 'Sessions that were let in, by version of MQTT.',
    label: 'version',
  },
  overrun: { name: 'limb_sessions_overrun_total', help: 'Sessions ended because they read nothing.' },
  unstored: { name: 'limb_messages_unstored_total', help: 'Messages that the store could not keep.' },
  violations: { name: 'limb_violations_total', help: 'Connections ended for a violation of MQTT.' },
  keepaliveTimeouts: {
    name: 'limb_keepalive_timeouts_total',
    help: 'Sessions ended because their keepalive passed.',
  },
}

/** Makes the metrics; each scrape reads the numbers of that moment. */
export function brokerMetrics(registry: Registry, read: () => BrokerReadings | undefined): void {
  for (const [key, shown] of Object.entries(COUNTERS) as [keyof typeof COUNTERS, Shown][]) {
    totals(registry, shown, () => read()?.[key])
  }
  strangerGauge(registry, read)
  partialGauge(registry, read)
  unsentGauge(registry, read)
  new Gauge({
    name: 'limb_connections',
    help: 'Open connections by transport, those that have not signed in included.',
    labelNames: ['transport'],
    registers: [registry],
    collect() {
      for (const [transport, count] of Object.entries(read()?.connections ?? {})) {
        this.set({ transport }, count)
      }
    },
  })
}

function partialGauge(registry: Registry, read: () => BrokerReadings | undefined): void {
  new Gauge({
    name: 'limb_partial_packet_bytes',
    help: 'Bytes of packets of limbs and principals that have begun to arrive and are not whole, as their headers say.',
    registers: [registry],
    collect() {
      this.set(read()?.partialBytes ?? 0)
    },
  })
}

function unsentGauge(registry: Registry, read: () => BrokerReadings | undefined): void {
  new Gauge({
    name: 'limb_unsent_bytes',
    help: 'Bytes that sessions were sent and have not taken, those that keep up left out.',
    registers: [registry],
    collect() {
      this.set(read()?.unsentBytes ?? 0)
    },
  })
}

function strangerGauge(registry: Registry, read: () => BrokerReadings | undefined): void {
  new Gauge({
    name: 'limb_stranger_bytes',
    help: 'Memory of connections that have shown no key or password, candidates included.',
    registers: [registry],
    collect() {
      this.set(read()?.strangerBytes ?? 0)
    },
  })
}

export function tlsMetrics(registry: Registry, read: () => TlsReadings | undefined): void {
  new Gauge({
    name: 'limb_tls_certificate_end_timestamp_seconds',
    help: 'When the certificate in use ends; 0 without one.',
    registers: [registry],
    collect() {
      this.set((read()?.notAfterMs ?? 0) / 1000)
    },
  })
  const reloads = { name: 'limb_tls_reloads_total', help: 'New certificates by outcome.', label: 'outcome' }
  totals(registry, reloads, () => read()?.reloads)
}

/** A counter that something else counts. */
function totals(registry: Registry, { name, help, label }: Shown, read: () => Count | undefined): void {
  new Counter({
    name,
    help,
    labelNames: label === undefined ? [] : [label],
    registers: [registry],
    collect() {
      const count = read() ?? 0
      this.reset()
      if (typeof count === 'number') this.inc(count)
      else for (const [value, number] of Object.entries(count)) this.inc({ [label ?? '']: value }, number)
    },
  })
}
