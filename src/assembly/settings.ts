import type { RetainedLimits } from '../bridge/mqtt-store.ts'
import type { BridgeSettings } from '../bridge/settings.ts'
import type { DropKind, PersistenceLimits } from '../broker/persistence/persistence.ts'
import { placeOf } from '../broker/rights.ts'
import type { Config } from '../host/config/config.ts'
import type { HttpLimits } from '../http/server.ts'
import { filterMatches, type Topics } from '../protocol/topics.ts'

/** Picks from the configuration what each part needs. */

/** The sections that the use cases read, under the names of the configuration. Copies, because a reload changes them. */
export function settingsOf(config: Config, version: string): BridgeSettings {
  const { pairing, presence, policy, lease, invocation, adapters, retention, mqtt } = config
  const backup = { ...config.backup, everyHours: backupHours(config) }
  const sections = { pairing, presence, policy, lease, invocation, adapters, backup, retention }
  return structuredClone({ version, ...sections, signIn: mqtt, turns: mqtt })
}

/** A server of PostgreSQL is backed up by whoever runs it; 0: the bridge makes no backups by itself. */
export function backupHours({ store, backup }: Pick<Config, 'store' | 'backup'>): number {
  return store.kind === 'postgres' ? 0 : backup.everyHours
}

/** The keys of both sections that are read once, when the server starts: what it is, and where it listens. */
const AT_START = ['enabled', 'host', 'port', 'proxyNetworks', 'tls', 'api', 'console', 'mcp'] as const

/** The limits of the web server, under the names of the configuration: those of `http` before those of `mqtt`. */
export function httpLimits({ http, mqtt }: Pick<Config, 'http' | 'mqtt'>): HttpLimits {
  return { ...withoutStart(mqtt), ...withoutStart(http) }
}

function withoutStart<T extends object>(section: T): Omit<T, (typeof AT_START)[number]> {
  const isLimit = ([key]: [string, unknown]) => !AT_START.some((each) => each === key)
  return Object.fromEntries(Object.entries(section).filter(isLimit)) as typeof section
}

export function persistenceLimits({ mqtt }: Config, topics: Topics): PersistenceLimits {
  return {
    ...mqtt,
    retainedBelow(topic) {
      const address = topics.parse(topic)
      if (address?.kind === 'data') {
        const { maxRetainedPerNode: max, maxRetainedBytesPerNode: maxBytes } = mqtt
        return { prefix: topics.dataPrefix(address.nodeId), max, maxBytes }
      }
      return address === undefined ? grantedShare(topic, mqtt) : undefined
    },
  }
}

/**
 * Limbs may keep messages below their grants: one of them as many as of its data where the grant names it (`%u`), and
 * all who share a filter half of what there is room for, so that they leave some to others.
 */
function grantedShare(topic: string, { grants, ...mqtt }: Config['mqtt']): RetainedLimits['below'] {
  for (const filter of grants.flatMap(({ to, publish }) => (to === 'limb' ? publish : []))) {
    const pattern = filter.replaceAll(/[^/]*%[uc][^/]*/g, '+')
    if (!filterMatches(pattern, topic)) continue
    const place = placeOf(filter)
    const levels = topic.split('/')
    if (place !== undefined) {
      const prefix = `${levels.slice(0, place.split('/').length - 1).join('/')}/`
      return { prefix, max: mqtt.maxRetainedPerNode, maxBytes: mqtt.maxRetainedBytesPerNode }
    }
    const prefix = literalStart(pattern)
    const [max, maxBytes] = [Math.ceil(mqtt.maxRetained / 2), Math.ceil(mqtt.maxRetainedBytes / 2)]
    return prefix === '' ? undefined : { prefix, max, maxBytes }
  }
  return undefined
}

/** `a/b/` of `a/b/+/c`, and of `a/b/c`: what all topics of the filter begin with. */
function literalStart(filter: string): string {
  const levels = filter.split('/')
  const wildcard = levels.findIndex((level) => level === '+' || level === '#')
  const literal = levels.slice(0, wildcard < 0 ? -1 : wildcard)
  return literal.length === 0 ? '' : `${literal.join('/')}/`
}

/** Home Assistant's principal reads and writes below its own prefix, without a line in `mqtt.grants`. */
export function grantsOf({ mqtt, homeAssistant }: Config): Config['mqtt']['grants'] {
  const { enabled, principal, prefix } = homeAssistant
  const own = { to: principal, publish: [`${prefix}/#`], subscribe: [`${prefix}/#`] }
  return enabled ? [...mqtt.grants, own] : mqtt.grants
}

/** The words of the log for a message that was not kept, with the setting that bounds it. */
export const DROPPED: Readonly<Record<DropKind, string>> = {
  queue: 'a message was not kept for a session that is away: its queue is full (mqtt.maxQueuedPerSession)',
  queue_bytes:
    'a message was not kept for a session that is away: the queues of its name, or all, hold too many bytes (mqtt.maxQueuedBytesPerIdentity, mqtt.maxQueuedBytes)',
  retained: 'a retained message was not kept: there are too many (mqtt.maxRetained)',
  retained_bytes: 'a retained message was not kept: all together have too many bytes (mqtt.maxRetainedBytes)',
  retained_bytes_below:
    'a retained message of a limb was not kept: its messages have too many bytes (mqtt.maxRetainedBytesPerNode)',
  database: 'a message was not kept: the database has reached its bound (store.maxBytes)',
  retained_below: 'a retained message of a limb was not kept: it has too many (mqtt.maxRetainedPerNode)',
}
