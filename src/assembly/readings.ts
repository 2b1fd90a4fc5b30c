import type { Core } from '../bridge/core.ts'
import type { Broker } from '../broker/broker.ts'
import type { Readings } from '../http/metrics.ts'
import type { Database } from '../store/sqlite/database.ts'

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
