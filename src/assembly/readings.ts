import type { Core } from '../bridge/core.ts'
import type { Broker } from '../broker/broker.ts'
import type { BoundReadings } from '../http/bound-metrics.ts'
import type { Readings } from '../http/metrics.ts'
import { readinessOf } from '../http/readiness.ts'
import type { Readiness } from '../http/server.ts'
import type { Database } from '../store/sqlite/database.ts'
import { HISTORY_ROW_BYTES } from '../store/sqlite/store.ts'
import type { Build } from './parts.ts'

/** Reads how the bridge is, for metrics, readiness and the service manager. */

/** Reads everything that `/metrics` shows of this moment. */
export function collect(build: Build): Readings {
  const { core } = build.core.value
  const { broker, persistence, uplinks } = build.broker.value
  const { database, store, mqttStore, backups } = build.store.value
  const { config, certificates } = build.now
  return {
    ...readings(core, broker),
    ...diskReadings(database),
    ...(certificates && { tls: certificates }),
    ...(backups.lastKnownAt !== null && { lastBackupAt: backups.lastKnownAt }),
    backupEverySeconds: config.backup.everyHours * 3600,
    uplinks: uplinks.map((uplink) => uplink.readings()),
    webhooks: core.webhooks.readings(),
    bounds: {
      logLinesDropped: build.options.log.droppedLines,
      pendingBytes: core.pending.bytes,
      ...build.now.http?.readings(),
      kept: keptBytes(build),
    },
    auditRows: store.auditRows(),
    queues: {
      queuedMessages: persistence.queued.messages,
      queuedBytes: persistence.queued.bytes,
      storedSessions: persistence.sessions.size,
      retainedMessages: mqttStore.retainedSums().rows,
      pendingWrites: database.writer.pending,
      waitingMessages: broker.waiting,
    },
  }
}

/** Says whether the bridge is ready, and why not. */
export function readinessNow(build: Build): Readiness {
  const { database, store } = build.store.value
  const lost = database.lost()
  return readinessOf({
    phase: build.now.phase,
    database: store.health(),
    diskFreeBytes: lost === undefined ? freeBytes(database) : null,
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
    broker: { ...counters, strangerBytes: broker.strangerBytes },
  }
}

function diskReadings(database: Database): Readings {
  return { ...database.sizes(), diskFreeBytes: freeBytes(database) }
}

/** A disk that cannot even be asked has no room. */
function freeBytes(database: Database): number | null {
  try {
    return database.freeBytes()
  } catch {
    return 0
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
function keptBytes(build: Build): NonNullable<BoundReadings['kept']> {
  const { mqtt, invocation, backup, retention, pairing, store: kept } = build.now.config
  const { database, store, mqttStore, backups } = build.store.value
  const { core } = build.core.value
  const { persistence } = build.broker.value
  const history = { bytes: store.historyRows(), max: retention.maxHistoryRows }
  return {
    answers: { bytes: store.answerBytes(), max: invocation.maxAnswerBytes },
    backups: { bytes: backups.bytes, max: backup.maxBytes },
    database: { bytes: database.room.usedBytes(), max: kept.maxBytes },
    history: { bytes: history.bytes * HISTORY_ROW_BYTES, max: history.max * HISTORY_ROW_BYTES },
    pending: { bytes: core.pending.bytes, max: pairing.maxPendingBytes },
    queued: { bytes: persistence.queued.bytes, max: mqtt.maxQueuedBytes },
    retained: { bytes: mqttStore.retainedSums().bytes, max: mqtt.maxRetainedBytes },
  }
}
