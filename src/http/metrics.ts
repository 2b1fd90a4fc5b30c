import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { CounterName, Counters } from '../bridge/ports.ts'
import type { WebhookReading } from '../bridge/webhooks/webhooks.ts'
import { isOpen } from '../domain/invocations.ts'
import { ERROR_CODES } from '../kernel/errors.ts'
import { LEASE_ENDS } from '../protocol/events.ts'
import { INVOCATION_STATES, type NodeStatus, STATUSES } from '../protocol/names.ts'
import { type BoundReadings, boundMetrics } from './bound-metrics.ts'
import { type BrokerReadings, brokerMetrics, type TlsReadings, tlsMetrics } from './broker-metrics.ts'
import { type ControlReadings, controlGauges, durations } from './control-metrics.ts'
import { describe, type MetricDescription } from './describe-metrics.ts'
import { auditMetrics, commitMetrics, type QueueReadings, queueMetrics } from './store-metrics.ts'
import { type UplinkReading, uplinkMetrics } from './uplink-metrics.ts'
import { webhookMetrics } from './webhook-metrics.ts'

/** Every metric of the bridge, in Prometheus' conventions. Labels come from fixed sets only. */

/** Read when `/metrics` is asked for. What is absent counts as 0. */
export interface Readings extends ControlReadings {
  /** Approved nodes by status. */
  readonly nodes?: Readonly<Record<NodeStatus, number>>
  /** Requests that wait for an operator. */
  readonly pendingRequests?: number
  /** Live sessions by role: `candidate`, `limb`, or a principal's. */
  readonly sessions?: Readonly<Record<string, number>>
  readonly queues?: QueueReadings
  /** Rows of the audit log by log. */
  readonly auditRows?: Readonly<Record<string, number>>
  readonly bounds?: BoundReadings
  readonly broker?: BrokerReadings
  readonly tls?: TlsReadings
  readonly uplinks?: readonly UplinkReading[]
  readonly webhooks?: readonly WebhookReading[]
  readonly databaseBytes?: number
  readonly walBytes?: number
  /** The free bytes; undefined: the database is in memory. */
  readonly diskFreeBytes?: number | undefined
  /** Wall time in milliseconds; absent: there is none. */
  readonly lastBackupAt?: number
  /** The seconds between two backups; 0: only when somebody asks. */
  readonly backupEverySeconds?: number
  /** This bridge leads; false: it is a standby. */
  readonly leads?: boolean
  /** The limbs that a standby holds ready. */
  readonly heldLimbs?: number
}

export interface Metrics extends Counters {
  readonly contentType: string
  /** The text that Prometheus scrapes. */
  text(): Promise<string>
  /** Describes what there is to scrape, for the documents. */
  describe(): readonly MetricDescription[]
  /** One commit of the database: milliseconds of COMMIT, and how many works shared it. */
  committed(durationMs: number, works: number): void
}

export interface MetricsOptions {
  readonly version: string
  readonly collect: () => Readings
}

interface Described {
  readonly help: string
  /** The name of its label. */
  readonly label?: string
  /** The label's values, shown as 0 from the start: a rate of what appears with its first event misses that one. */
  readonly values?: readonly string[]
}

/** Each counter of the core. */
const COUNTERS: Readonly<Record<CounterName, Described>> = {
  heartbeats: { help: 'Heartbeats of approved limbs.' },
  heartbeats_invalid: { help: 'Heartbeats of which a part could not be used.' },
  discovery_messages: {
    help: 'Messages in which foreign firmware announces itself; `left_out`: things that are not read, as the log says.',
    label: 'outcome',
    values: ['taken', 'left_out', 'no_room'],
  },
  foreign_values_left_out: {
    help: 'Messages of foreign firmware whose values were not published whole: a newer one of their topic came, or there was no room to wait.',
    label: 'why',
    values: ['replaced', 'no_room'],
  },
  probes: {
    help: 'Probes of limbs that are HTTP servers, by outcome.',
    label: 'outcome',
    values: ['answered', 'failed'],
  },
  registrations: { help: 'Registrations of limbs and candidates.' },
  pairing_decisions: {
    help: 'Pairing decisions by kind; `window`: approved by an open pairing window.',
    label: 'decision',
    values: ['approved', 'window', 'rejected', 'expired', 'provisioned', 'revoked'],
  },
  verbs: {
    help: 'Requests of principals by outcome; `held_back`: the principal had spent its time.',
    label: 'outcome',
    values: ['ok', 'refused', 'held_back'],
  },
  requests_refused: {
    help: 'Requests that a role or a policy forbids; the log and the audit log sum them up.',
  },
  status_changes: {
    help: "Changes of a limb's status, by the new status.",
    label: 'status',
    values: STATUSES,
  },
  limbs_flapping: { help: 'Limbs that were named as flapping: only the newest of their changes is told.' },
  sign_ins_refused: {
    help: 'CONNECTs refused for who they say they are, by reason.',
    label: 'reason',
    values: ['name', 'password', 'too_many', 'key'],
  },
  sessions_replaced: {
    help: 'Sessions of limbs that a newer one with the same key has ended; two devices with one key end each other for ever.',
  },
  wrong_keys: { help: 'CONNECTs with the name of an approved limb and another key: lost keys, or guesses.' },
  registrations_refused: {
    help: 'Registrations that were not taken, by error code.',
    label: 'code',
    values: Object.keys(ERROR_CODES),
  },
  messages_dropped: {
    help: 'Messages that found no room in a queue or among the retained.',
    label: 'why',
    values: [
      'queue',
      'queue_bytes',
      'retained',
      'retained_below',
      'retained_bytes',
      'retained_bytes_below',
      'database',
    ],
  },
  answers_dropped: {
    help: 'Answers that are not kept for their idempotency key any more, because a bound in bytes was reached.',
  },
  invocations: {
    help: 'Invocations by how they ended.',
    label: 'outcome',
    values: [...INVOCATION_STATES.filter((state) => !isOpen(state)), 'refused'],
  },
  results_dropped: {
    help: 'Results of limbs that answered no invocation.',
    label: 'why',
    values: ['unknown', 'invalid', 'too_large'],
  },
  leases: { help: 'Leases by what happened to them.', label: 'change', values: ['granted', ...LEASE_ENDS] },
  backups: { help: 'Backups by outcome.', label: 'outcome', values: ['made', 'failed'] },
  http_connections_ended: {
    help: 'HTTP connections that were ended: there were too many that waited for nothing, or their answers were not read.',
  },
}

function coreCounters(registry: Registry): Counters {
  const counters = new Map<CounterName, { counter: Counter; label: string | undefined }>()
  for (const name of Object.keys(COUNTERS) as CounterName[]) {
    const { help, label, values = [] } = COUNTERS[name]
    const counter = new Counter({
      name: `limb_${name}_total`,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [registry],
    })
    if (label !== undefined) for (const value of values) counter.inc({ [label]: value }, 0)
    counters.set(name, { counter, label })
  }
  return {
    count(name, value) {
      const entry = counters.get(name)
      if (entry?.label === undefined) entry?.counter.inc()
      else entry.counter.inc({ [entry.label]: value ?? 'unknown' })
    },
    took: durations(registry),
  }
}

/** Returns what fills the gauges: one reading for all of a scrape. */
function gauges(registry: Registry): (readings: Readings) => void {
  const registers = [registry]
  const nodes = new Gauge({
    name: 'limb_nodes',
    help: 'Approved limbs by status.',
    labelNames: ['status'],
    registers,
  })
  const pairings = new Gauge({
    name: 'limb_pairings',
    help: 'Pairings by status: approved limbs, and pending requests that wait for an operator.',
    labelNames: ['status'],
    registers,
  })
  const sessions = new Gauge({
    name: 'limb_sessions',
    help: 'Live sessions by role: candidates, limbs, and principals by their role.',
    labelNames: ['role'],
    registers,
  })
  const leads = new Gauge({
    name: 'limb_leads',
    help: '1: this bridge leads; 0: it is a standby, another one does.',
    registers,
  })
  const held = new Gauge({
    name: 'limb_standby_limbs',
    help: 'Approved limbs that this standby holds ready for a take-over; 0 at the bridge that leads.',
    registers,
  })
  const fillUplinks = uplinkMetrics(registry)
  const fillWebhooks = webhookMetrics(registry)
  const disk = diskGauges(registry)
  const control = controlGauges(registry)
  return (readings) => {
    leads.set(readings.leads === false ? 0 : 1)
    held.set(readings.heldLimbs ?? 0)
    fillUplinks(readings.uplinks ?? [])
    fillWebhooks(readings.webhooks ?? [])
    disk(readings)
    control(readings)
    let approved = 0
    for (const status of STATUSES) {
      const count = readings.nodes?.[status] ?? 0
      nodes.set({ status }, count)
      approved += count
    }
    pairings.set({ status: 'approved' }, approved)
    pairings.set({ status: 'pending' }, readings.pendingRequests ?? 0)
    for (const [role, count] of Object.entries(readings.sessions ?? {})) sessions.set({ role }, count)
  }
}

function diskGauges(registry: Registry): (readings: Readings) => void {
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers: [registry] })
  const database = gauge('limb_database_bytes', 'Size of the database file.')
  const wal = gauge('limb_database_wal_bytes', 'Size of the write-ahead log of the database.')
  const free = gauge('limb_disk_free_bytes', 'Free on the file system of the database; -1: it is in memory.')
  const backup = gauge(
    'limb_last_backup_timestamp_seconds',
    'When the newest backup was made, in seconds since 1970; 0: there is none.',
  )
  const every = gauge(
    'limb_backup_interval_seconds',
    'How often a backup is made; 0: only when somebody asks for one.',
  )
  return ({ databaseBytes = 0, walBytes = 0, diskFreeBytes, lastBackupAt = 0, backupEverySeconds = 0 }) => {
    database.set(databaseBytes)
    wal.set(walBytes)
    free.set(diskFreeBytes ?? -1)
    backup.set(lastBackupAt / 1000)
    every.set(backupEverySeconds)
  }
}

/** Gauges named as counters are, against Prometheus' conventions; the same numbers come by type. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

function processMetrics(registry: Registry, version: string): void {
  collectDefaultMetrics({ register: registry })
  for (const name of MISNAMED) registry.removeSingleMetric(name)
  new Gauge({
    name: 'limb_build_info',
    help: 'Always 1; the labels say what runs.',
    labelNames: ['version', 'node'],
    registers: [registry],
  }).set({ version, node: process.version }, 1)
}

export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry()
  processMetrics(registry, options.version)
  const fill = gauges(registry)
  const counters = coreCounters(registry)
  let readings: Readings = {}
  brokerMetrics(registry, () => readings.broker)
  tlsMetrics(registry, () => readings.tls)
  queueMetrics(registry, () => readings.queues)
  auditMetrics(registry, () => readings.auditRows)
  boundMetrics(registry, () => readings.bounds)
  const committed = commitMetrics(registry)
  const text = () => {
    readings = options.collect()
    fill(readings)
    return registry.metrics()
  }
  return {
    ...counters,
    contentType: registry.contentType,
    text,
    describe: () => describe(registry),
    committed,
  }
}
