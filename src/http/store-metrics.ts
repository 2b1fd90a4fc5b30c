import { Gauge, Histogram, type Registry } from 'prom-client'
import { AUDIT_LOGS } from '../protocol/audit-kinds.ts'

/** Commits of the database, and what waits in the queues of the bridge. */

/** Lengths at the moment of a scrape. Each is kept as a number by its owner: nothing is walked. */
export interface QueueReadings {
  /** Messages on disk for persistent sessions. */
  readonly queuedMessages: number
  /** Their topics and payloads. */
  readonly queuedBytes: number
  /** Persistent sessions that are kept. */
  readonly storedSessions: number
  /** Retained messages that are stored; the bridge's own are none of them. */
  readonly retainedMessages: number
  /** Writes that wait for the next commit. */
  readonly pendingWrites: number
  /** Messages whose delivery waits for the database. */
  readonly waitingMessages: number
  readonly waitingBytes: number
}

const QUEUES: Readonly<Record<keyof QueueReadings, { name: string; help: string }>> = {
  queuedMessages: {
    name: 'limb_queued_messages',
    help: 'Messages that are stored for persistent sessions until they are acknowledged.',
  },
  queuedBytes: {
    name: 'limb_queued_bytes',
    help: 'Bytes of topics, payloads and properties of the queued messages.',
  },
  storedSessions: { name: 'limb_stored_sessions', help: 'Persistent sessions that are kept, live or not.' },
  retainedMessages: {
    name: 'limb_retained_messages',
    help: "Retained messages that are stored; the bridge's own are made on demand and not counted.",
  },
  pendingWrites: {
    name: 'limb_pending_writes',
    help: 'Writes that wait for the next commit of the database.',
  },
  waitingMessages: {
    name: 'limb_waiting_messages',
    help: 'Messages whose delivery waits until the database has stored them.',
  },
  waitingBytes: {
    name: 'limb_waiting_message_bytes',
    help: 'Bytes of these messages and of those that were delivered before they are stored.',
  },
}

/** Shows how many rows each log of the audit log has; `read` costs a few point reads. */
export function auditMetrics(
  registry: Registry,
  read: () => Readonly<Record<string, number>> | undefined,
): void {
  new Gauge({
    name: 'limb_audit_rows',
    help: 'Rows of the audit log by log: decisions, activity, attempts.',
    labelNames: ['log'],
    registers: [registry],
    collect() {
      const rows = read() ?? {}
      for (const log of AUDIT_LOGS) this.set({ log }, rows[log] ?? 0)
    },
  })
}

export function queueMetrics(registry: Registry, read: () => QueueReadings | undefined): void {
  for (const [key, { name, help }] of Object.entries(QUEUES) as [
    keyof QueueReadings,
    (typeof QUEUES)[keyof QueueReadings],
  ][]) {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read()?.[key] ?? 0)
      },
    })
  }
}

/** An SSD takes a millisecond, a memory card ten to hundreds. */
const COMMIT_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
const WORKS_BUCKETS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000]

/** Returns what is to be told of each commit: its milliseconds, and how many works shared it. */
export function commitMetrics(registry: Registry): (durationMs: number, works: number) => void {
  const duration = new Histogram({
    name: 'limb_commit_duration_seconds',
    help: 'How long commits of the database took, the flush to disk included.',
    buckets: COMMIT_BUCKETS,
    registers: [registry],
  })
  const shared = new Histogram({
    name: 'limb_commit_works',
    help: 'Works that shared one commit of the database.',
    buckets: WORKS_BUCKETS,
    registers: [registry],
  })
  return (durationMs, works) => {
    duration.observe(durationMs / 1000)
    shared.observe(works)
  }
}
