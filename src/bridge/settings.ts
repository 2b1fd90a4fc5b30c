import type { AdapterSettings } from '../adapters/adapters.ts'
import type { NodeRecord } from '../domain/records.ts'
import type { Clock } from '../kernel/clock.ts'
import type { RunningClock } from '../kernel/running-clock.ts'
import type { AuthLevel } from '../protocol/names.ts'
import type { Topics } from '../protocol/topics.ts'
import type {
  Backups,
  BridgeSystem,
  Counters,
  Health,
  InvokeOverHttp,
  Log,
  Publisher,
  Sessions,
  Store,
  Upkeep,
} from './ports.ts'
import type { WebhookPorts } from './webhook-ports.ts'

/**
 * The settings of the use cases; the configuration file carries the same names. A reload changes them in place, so
 * they are read when they are used, and not kept.
 */
export interface BridgeSettings {
  readonly version: string
  readonly pairing: {
    readonly pendingSeconds: number
    readonly rejectedSeconds: number
    readonly maxPending: number
    readonly maxPendingPerAddress: number
    /** The bytes of registrations, as JSON. */
    readonly maxPendingBytes: number
  }
  readonly signIn: SignInSettings
  readonly turns: {
    /** The time of the event loop, for one principal in a second. */
    readonly maxWorkMsPerSecond: number
  }
  readonly presence: {
    readonly heartbeatSeconds: number
    readonly timeoutSeconds: number
    readonly graceSeconds: number
    /** The changes that are published for one limb. */
    readonly maxChangesPerSecond: number
    /** The seconds; 0: never. */
    readonly stateRefreshSeconds: number
    readonly saveSeconds: number
  }
  readonly policy: {
    /** The level that no decision is looser than. */
    readonly floor: AuthLevel
  }
  readonly lease: {
    readonly ttlSeconds: number
    readonly maxPerPrincipal: number
    readonly maxQueued: number
  }
  readonly invocation: {
    readonly timeoutSeconds: number
    readonly approvalSeconds: number
    readonly maxPerNode: number
    readonly maxPerPrincipal: number
    readonly maxWaiting: number
    /** Invocations of one principal that may wait for a limb that is away, and those that wait for one limb. */
    readonly maxOfflinePerPrincipal: number
    readonly maxOfflinePerNode: number
    readonly maxKeysPerPrincipal: number
    /** The bounds of what is kept for idempotency keys. */
    readonly maxAnswerBytesPerPrincipal: number
    readonly maxAnswerBytes: number
  }
  readonly adapters: AdapterSettings
  readonly backup: BackupSettings
  readonly retention: {
    readonly invocationDays: number
    readonly maxInvocations: number
    readonly auditDays: number
    readonly maxAuditRows: number
    readonly maxActivityRows: number
    readonly attemptDays: number
    readonly maxAttemptRows: number
    readonly historyDays: number
    readonly maxHistoryRows: number
  }
}

/** The parts that every use case is handed. */
export interface BridgeContext {
  readonly clock: Clock
  /** The clock of every end that is stored. */
  readonly running: RunningClock
  readonly log: Log
  readonly counters: Counters
  readonly topics: Topics
  /** The cost of a new password's hash, of `hashPassword`. */
  readonly passwordCost: number
  readonly settings: BridgeSettings
  readonly store: Store
  readonly publisher: Publisher
  readonly sessions: Sessions
  /** Invokes the limbs that asked for HTTP; absent: they are not invoked. */
  readonly invokeOverHttp?: InvokeOverHttp
  /** Sends and keeps what webhooks carry; absent: there are none. */
  readonly webhooks?: WebhookPorts
  readonly backups: Backups
  readonly system: BridgeSystem
  readonly upkeep: Upkeep
  /** Returns the health of this moment. */
  readonly health: () => Health
}

/**
 * Heartbeat interval and timeout of a limb, in seconds: what an operator set, the limb's own wish, or the configured
 * defaults. A limb with an interval of its own may miss two heartbeats.
 */
export function intervalsOf(
  settings: BridgeSettings,
  node: Pick<NodeRecord, 'heartbeatSeconds' | 'timeoutSeconds' | 'operatorSettings'>,
): { heartbeatSeconds: number; timeoutSeconds: number } {
  const operator = node.operatorSettings
  const own = operator?.heartbeatSeconds ?? node.heartbeatSeconds
  const given = operator?.timeoutSeconds ?? node.timeoutSeconds
  const heartbeatSeconds = own ?? settings.presence.heartbeatSeconds
  const preset = own === null ? settings.presence.timeoutSeconds : own * 3
  // What one said must not be undone by what the other said.
  const timeoutSeconds =
    given !== null && given > heartbeatSeconds ? given : Math.max(preset, heartbeatSeconds + 1)
  return { heartbeatSeconds, timeoutSeconds }
}

export interface BackupSettings {
  /** The hours; 0: only when somebody asks. */
  readonly everyHours: number
  readonly keep: number
  /** The bytes of all of them together; the newest is kept in any case. */
  readonly maxBytes: number
}

export interface SignInSettings {
  /** Wrong passwords of one name from one address until both are refused for a while. */
  readonly maxFailedSignIns: number
  /** The seconds of that while; a wrong password is remembered as long. */
  readonly failedSignInSeconds: number
}
