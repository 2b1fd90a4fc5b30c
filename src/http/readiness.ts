import type { Readiness } from './server.ts'

/** Says whether the bridge can do its work now, for whoever sends it clients: a proxy, an orchestrator, a person. */

export type Phase = 'starting' | 'running' | 'stopping'

export interface Vitals {
  readonly phase: Phase
  readonly database:
    | { readonly ok: true }
    | { readonly ok: false; readonly reason: string; readonly away?: boolean }
  /** The free bytes; undefined: the database is in memory. */
  readonly diskFreeBytes: number | undefined
  readonly connections: number
  readonly maxConnections: number
}

/**
 * The free bytes below which the next commit may be the one that fails. It is far below what an operator wants to be
 * told of: that is the alerts' part, and a bridge that still stores is ready.
 */
const DISK_MIN_BYTES = 1024 * 1024

export function readinessOf(vitals: Vitals): Readiness {
  const reasons: string[] = []
  const { phase, database, diskFreeBytes, connections, maxConnections } = vitals
  if (phase === 'starting') reasons.push('broker: it is starting')
  if (phase === 'stopping') reasons.push('broker: it is stopping')
  if (connections >= maxConnections) {
    reasons.push(`broker: all ${maxConnections} connections (mqtt.maxConnections) are taken`)
  }
  // A balancer that took the limbs away from who still leads would help nobody: the other one has the same database.
  if (!database.ok && !database.away) reasons.push(`database: ${database.reason}`)
  if (diskFreeBytes !== undefined && diskFreeBytes < DISK_MIN_BYTES) {
    reasons.push(`disk: ${Math.floor(diskFreeBytes / 1024)} KiB are left for the database; make room`)
  }
  return { ready: reasons.length === 0, reasons }
}
