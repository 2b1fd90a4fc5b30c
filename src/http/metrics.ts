import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { CounterName, Counters } from '../bridge/ports.ts'
import { type NodeStatus, STATUSES } from '../protocol/names.ts'
import { type BrokerReadings, brokerMetrics, type TlsReadings, tlsMetrics } from './broker-metrics.ts'
import { type UplinkReading, uplinkMetrics } from './uplink-metrics.ts'

/** Every metric of the bridge, in Prometheus' conventions. Labels come from fixed sets only. */

/** Read when `/metrics` is asked for. What is absent counts as 0. */
export interface Readings {
  /** Approved nodes by status. */
  readonly nodes?: Readonly<Record<NodeStatus, number>>
  /** Requests that wait for an operator. */
  readonly pendingRequests?: number
  /** Live sessions by kind, such as `limb` or `principal`. */
  readonly sessions?: Readonly<Record<string, number>>
  readonly broker?: BrokerReadings
  readonly tls?: TlsReadings
  readonly uplinks?: readonly UplinkReading[]
  readonly databaseBytes?: number
  readonly walBytes?: number
  /** null: the database is in memory. */
  readonly diskFreeBytes?: number | null
  /** Wall time in milliseconds; absent: none since the start. */
  readonly lastBackupAt?: number
}

export interface Metrics extends Counters {
  readonly contentType: string
  /** The text that Prometheus scrapes. */
  text(): Promise<string>
}

export interface MetricsOptions {
  readonly version: string
  readonly collect: () => Readings
}

/** Each counter of the core: its help, and the name of its label if it has one. */
const COUNTERS: Readonly<Record<CounterName, { help: string; label?: string }>> = {
  heartbeats: { help: 'Heartbeats of approved limbs.' },
  heartbeats_invalid: { help: 'Heartbeats whose payload did not follow the schema.' },
  registrations: { help: 'Registrations of limbs and candidates.' },
  pairing_decisions: { help: 'Pairing decisions by kind.', label: 'decision' },
  verbs: { help: 'Requests of principals by outcome.', label: 'outcome' },
  status_changes: { help: "Changes of a limb's status, by the new status.", label: 'status' },
  sign_ins_refused: { help: 'CONNECTs refused for who they say they are, by reason.', label: 'reason' },
  wrong_keys: { help: 'CONNECTs with the name of an approved limb and another key: lost keys, or guesses.' },
  registrations_refused: { help: 'Registrations that were not taken, by error code.', label: 'code' },
  messages_dropped: { help: 'Messages that found no room in a queue or among the retained.', label: 'why' },
  invocations: { help: 'Calls by how they ended.', label: 'outcome' },
  results_dropped: { help: 'Results of limbs that answered no call.', label: 'why' },
  leases: { help: 'Leases by what happened to them.', label: 'change' },
  backups: { help: 'Backups by outcome.', label: 'outcome' },
}

function coreCounters(registry: Registry): Counters {
  const counters = new Map<CounterName, { counter: Counter; label: string | undefined }>()
  for (const name of Object.keys(COUNTERS) as CounterName[]) {
    const { help, label } = COUNTERS[name]
    const counter = new Counter({
      name: `limb_${name}_total`,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [registry],
    })
    counters.set(name, { counter, label })
  }
  return {
    count(name, value) {
      const entry = counters.get(name)
      if (entry?.label === undefined) entry?.counter.inc()
      else entry.counter.inc({ [entry.label]: value ?? 'unknown' })
    },
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
  const pending = new Gauge({
    name: 'limb_pending_requests',
    help: 'Requests that wait for an operator.',
    registers,
  })
  const sessions = new Gauge({
    name: 'limb_sessions',
    help: 'Live sessions by kind.',
    labelNames: ['kind'],
    registers,
  })
  const fillUplinks = uplinkMetrics(registry)
  const disk = diskGauges(registry)
  return (readings) => {
    fillUplinks(readings.uplinks ?? [])
    disk(readings)
    for (const status of STATUSES) nodes.set({ status }, readings.nodes?.[status] ?? 0)
    pending.set(readings.pendingRequests ?? 0)
    for (const [kind, count] of Object.entries(readings.sessions ?? {})) sessions.set({ kind }, count)
  }
}

function diskGauges(registry: Registry): (readings: Readings) => void {
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers: [registry] })
  const database = gauge('limb_database_bytes', 'Size of the database file.')
  const wal = gauge('limb_database_wal_bytes', 'Size of the write-ahead log of the database.')
  const free = gauge('limb_disk_free_bytes', 'Free on the file system of the database; -1: it is in memory.')
  const backup = gauge(
    'limb_last_backup_timestamp_seconds',
    'When this process last made a backup, in seconds since 1970; 0: not yet.',
  )
  return ({ databaseBytes = 0, walBytes = 0, diskFreeBytes, lastBackupAt = 0 }) => {
    database.set(databaseBytes)
    wal.set(walBytes)
    free.set(diskFreeBytes ?? -1)
    backup.set(lastBackupAt / 1000)
  }
}

export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const fill = gauges(registry)
  new Gauge({
    name: 'limb_build_info',
    help: 'Always 1; the labels say what runs.',
    labelNames: ['version', 'node'],
    registers: [registry],
  }).set({ version: options.version, node: process.version }, 1)
  const counters = coreCounters(registry)
  let readings: Readings = {}
  brokerMetrics(registry, () => readings.broker)
  tlsMetrics(registry, () => readings.tls)
  const text = () => {
    readings = options.collect()
    fill(readings)
    return registry.metrics()
  }
  return { ...counters, contentType: registry.contentType, text }
}
