import { isDeepStrictEqual } from 'node:util'
import type { Config } from './config.ts'
import { SECTIONS } from './leaves.ts'

/** Which settings a reload takes over in the running bridge, and which need a restart. Each key is in one list. */

export const LIVE_KEYS: readonly string[] = [
  // For what is published, subscribed and delivered from now on, by the sessions of now too.
  'mqtt.grants',
  'mqtt.maxConnections',
  'mqtt.maxConnectionsPerAddress',
  'mqtt.connectSeconds',
  'mqtt.maxConnectBytes',
  // Of sessions that begin from now on.
  'mqtt.maxMessagesPerSecond',
  'mqtt.maxBytesPerSecond',
  'mqtt.maxFailedSignIns',
  'mqtt.failedSignInSeconds',
  'mqtt.maxPacketBytes',
  'mqtt.maxKeepaliveSeconds',
  'mqtt.allowKeepaliveZero',
  'mqtt.maxSubscriptionsPerSession',
  'mqtt.maxTopicBytes',
  'mqtt.maxTopicLevels',
  'mqtt.maxInflightPerSession',
  'mqtt.maxQueuedPerSession',
  'mqtt.maxRetainedPerNode',
  'mqtt.maxRetained',
  'mqtt.maxSessionBufferBytes',
  'mqtt.sessionExpirySeconds',
  'http.token',
  'http.allowedOrigins',
  'pairing.pendingSeconds',
  'pairing.rejectedSeconds',
  'pairing.maxPending',
  'pairing.maxPendingPerAddress',
  // Of a limb without an interval of its own: from its next registration on, when it is told.
  'presence.heartbeatSeconds',
  'presence.timeoutSeconds',
  'presence.graceSeconds',
  'presence.stateRefreshSeconds',
  'presence.saveSeconds',
  'lease.ttlSeconds',
  'lease.maxPerPrincipal',
  'lease.maxQueued',
  'invocation.timeoutSeconds',
  'invocation.approvalSeconds',
  'invocation.maxPerNode',
  'invocation.maxPerPrincipal',
  'invocation.maxWaiting',
  'invocation.maxKeysPerPrincipal',
  'invocation.httpNetworks',
  'backup.everyHours',
  'backup.keep',
  'retention.historyDays',
  'retention.maxHistoryRows',
  'retention.invocationDays',
  'retention.maxInvocations',
  'retention.auditDays',
  'retention.maxAuditRows',
  'log.level',
]

export const RESTART_KEYS: readonly string[] = [
  'mqtt.host',
  'mqtt.port',
  'mqtt.allowPlaintext',
  // Sessions are subscribed to topics below the old root.
  'mqtt.topicRoot',
  // The files are read again at every reload; where they are is not.
  'tls.enabled',
  'tls.host',
  'tls.port',
  'tls.certFile',
  'tls.keyFile',
  'tls.caFile',
  'tls.crlFile',
  'tls.requireClientCertificate',
  'tls.minVersion',
  'http.enabled',
  'http.tls',
  'http.host',
  'http.port',
  'control.socket',
  'control.mode',
  'store.path',
  'backup.folder',
  'policy.floor',
  'log.format',
  'homeAssistant.enabled',
  'homeAssistant.prefix',
  'homeAssistant.principal',
  'homeAssistant.pairingSeconds',
  'uplinks',
]

export interface Change {
  /** What is to hold from now on: `current` with the live keys of `next`. */
  readonly config: Config
  /** Keys that changed and hold now. */
  readonly live: readonly string[]
  /** Keys that changed and wait for a restart. */
  readonly restart: readonly string[]
}

/** Every key of the schema; a section that is a list is one. */
export const ALL_KEYS: readonly string[] = SECTIONS.flatMap(({ key, leaves }) =>
  leaves.length === 0 ? [key] : leaves.map(({ path }) => path),
)

type Sections = Record<string, Record<string, unknown>>

function valueAt(config: Config, path: string): unknown {
  const [section = '', key] = path.split('.')
  const values = (config as unknown as Sections)[section]
  return key === undefined ? values : values?.[key]
}

export function changeOf(current: Config, next: Config): Change {
  const changed = ALL_KEYS.filter((path) => !isDeepStrictEqual(valueAt(current, path), valueAt(next, path)))
  const live = changed.filter((path) => LIVE_KEYS.includes(path))
  const config = structuredClone(current)
  for (const path of live) {
    const [section = '', key = ''] = path.split('.')
    Object.assign((config as unknown as Sections)[section] ?? {}, { [key]: valueAt(next, path) })
  }
  return { config, live, restart: changed.filter((path) => !live.includes(path)) }
}
