import type { Core } from '../bridge/core.ts'
import type { Broker } from '../broker/broker.ts'
import type { BoundReadings } from '../http/bound-metrics.ts'
import type { Readings } from '../http/metrics.ts'
import { readinessOf } from '../http/readiness.ts'
import type { Readiness } from '../http/server.ts'
import { HISTORY_ROW_BYTES, type StoreReadings } from '../store/engine.ts'
import type { Build } from './parts.ts'
import { backupHours } from './settings.ts'

/** Reads how the bridge is, for metrics, readiness and the service manager. */

/** Reads everything that `/metrics` shows of this moment. */
export function collect(build: Build): Readings {
  if (build.now.standby !== undefined)
    return { leads: false, heldLimbs: build.now.standbyDoors?.heldLimbs ?? 0 }
  const { core } = build.core.value
  const { broker, persistence, uplinks } = build.broker.value
  const { backups } = build.store.value
  const { config, certificates } = build.now
  const stored = build.store.value.readings()
  return {
    ...readings(core, broker),
    leads: true,
    databaseBytes: stored.databaseBytes,
    walBytes: stored.walBytes,
    diskFreeBytes: build.store.value.freeBytes(),
    ...(certificates && { tls: certificates }),
    ...(backups.lastKnownAt !== undefined && { lastBackupAt: backups.lastKnownAt }),
    backupEverySeconds: backupHours(config) * 3600,
    uplinks: uplinks.map((uplink) => uplink.readings()),
    webhooks: core.webhooks.readings(),
    bounds: {
      logLinesDropped: build.options.log.droppedLines,
      pendingBytes: core.pending.bytes,
      ...doorReadings(build),
      kept: keptBytes(build, stored),
    },
    auditRows: stored.auditRows,
    queues: {
      queuedMessages: persistence.queued.messages,
      queuedBytes: persistence.queued.bytes,
      storedSessions: persistence.sessions.size,
      retainedMessages: stored.retained.rows,
      pendingWrites: stored.pendingWrites,
      waitingMessages: broker.waiting,
      waitingBytes: broker.waitingBytes,
    },
  }
}

/** Reads what is held for who asks over HTTP, and for the answers of limbs that are HTTP servers. */
function doorReadings({ now, core }: Build): Pick<BoundReadings, 'httpHeldBytes'> {
  const doors = now.http?.readings()
  const ofLimbs = core.value.context.invokeOverHttp?.client.heldBytes ?? 0
  return { ...doors, httpHeldBytes: (doors?.httpHeldBytes ?? 0) + ofLimbs }
}

/** Says whether the bridge is ready, and why not. */
export function readinessNow(build: Build): Readiness {
  // Strangers ask: who leads is for `limb-bridge status`.
  if (build.now.standby !== undefined) return { ready: false, reasons: ['standby'] }
  const { store, freeBytes } = build.store.value
  return readinessOf({
    phase: build.now.phase,
    database: store.health(),
    diskFreeBytes: freeBytes(),
    connections: total(build.broker.value.broker.counters.connections),
    maxConnections: build.now.config.mqtt.maxConnections,
  })
}

function readings(core: Core, broker: Broker): Readings {
  const { counters } = broker
  return {
    nodes: core.registry.byStatus,
    pendingRequests: core.pending.size,
    sessions: core.sessionRoles,
    leases: core.control.leases.size,
    openInvocations: core.control.openInvocations,
    broker: {
      ...counters,
      strangerBytes: broker.strangerBytes,
      partialBytes: broker.partialBytes,
      unsentBytes: broker.unsentBytes,
    },
  }
}

function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

export function statusLine(core: Core, broker: Broker): string {
  const { registry, pending } = core
  const sessions = total(broker.counters.sessions)
  return `${registry.online} of ${registry.size} limbs online, ${pending.size} pending, ${sessions} sessions`
}

/** Sums what is kept on disk for others, each beside its bound. */
function keptBytes(build: Build, stored: StoreReadings): NonNullable<BoundReadings['kept']> {
  const { mqtt, invocation, backup, retention, pairing, store: kept } = build.now.config
  const { backups } = build.store.value
  const { core } = build.core.value
  const { persistence } = build.broker.value
  return {
    answers: { bytes: stored.answerBytes, max: invocation.maxAnswerBytes },
    backups: { bytes: backups.bytes, max: backup.maxBytes },
    ...(stored.usedBytes !== undefined && { database: { bytes: stored.usedBytes, max: kept.maxBytes } }),
    history: {
      bytes: stored.historyRows * HISTORY_ROW_BYTES,
      max: retention.maxHistoryRows * HISTORY_ROW_BYTES,
    },
    pending: { bytes: core.pending.bytes, max: pairing.maxPendingBytes },
    queued: { bytes: persistence.queued.bytes, max: mqtt.maxQueuedBytes },
    retained: { bytes: stored.retained.bytes, max: mqtt.maxRetainedBytes },
  }
}
