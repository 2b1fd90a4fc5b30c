import type { Core } from '../bridge/core.ts'
import type { Broker } from '../broker/broker.ts'
import type { MqttPersistence } from '../broker/persistence/persistence.ts'
import type { Config } from '../host/config/config.ts'
import type { BoundReadings } from '../http/bound-metrics.ts'
import type { Readings } from '../http/metrics.ts'
import type { FileBackups } from '../store/sqlite/backup/backups.ts'
import type { Database } from '../store/sqlite/database.ts'
import type { SqliteMqttStore } from '../store/sqlite/mqtt/store.ts'
import { HISTORY_ROW_BYTES, type SqliteStore } from '../store/sqlite/store.ts'

/** Reads how the bridge is, for metrics, readiness and the service manager. */

export function readings(core: Core, broker: Broker): Readings {
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

export function diskReadings(database: Database): Readings {
  return { ...database.sizes(), diskFreeBytes: freeBytes(database) }
}

/** A disk that cannot even be asked has no room. */
export function freeBytes(database: Database): number | null {
  try {
    return database.freeBytes()
  } catch {
    return 0
  }
}

export function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

export function statusLine(core: Core, broker: Broker): string {
  const { registry, pending } = core
  const sessions = total(broker.counters.sessions)
  return `${registry.online} of ${registry.size} limbs online, ${pending.size} pending, ${sessions} sessions`
}

interface Keepers {
  readonly database: Database
  readonly store: SqliteStore
  readonly mqttStore: SqliteMqttStore
  readonly backups: FileBackups
  readonly persistence: MqttPersistence
  readonly core: Core
}

/** Sums what is kept on disk for others, each beside its bound. */
export function keptBytes(
  { mqtt, invocation, backup, retention, pairing, store: { maxBytes } }: Config,
  { database, store, mqttStore, backups, persistence, core }: Keepers,
): NonNullable<BoundReadings['kept']> {
  const history = { bytes: store.historyRows(), max: retention.maxHistoryRows }
  return {
    answers: { bytes: store.answerBytes(), max: invocation.maxAnswerBytes },
    backups: { bytes: backups.bytes, max: backup.maxBytes },
    database: { bytes: database.room.usedBytes(), max: maxBytes },
    history: { bytes: history.bytes * HISTORY_ROW_BYTES, max: history.max * HISTORY_ROW_BYTES },
    pending: { bytes: core.pending.bytes, max: pairing.maxPendingBytes },
    queued: { bytes: persistence.queued.bytes, max: mqtt.maxQueuedBytes },
    retained: { bytes: mqttStore.retainedSums().bytes, max: mqtt.maxRetainedBytes },
  }
}
