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
  const { pairing, presence, policy, lease, invocation, backup, retention, mqtt } = config
  const sections = { pairing, presence, policy, lease, invocation, backup, retention }
  return structuredClone({ version, ...sections, signIn: mqtt, turns: mqtt })
}

export function httpLimits({ http, mqtt }: Config): HttpLimits {
  const { token, allowedOrigins } = http
  const { maxConnections, maxConnectionsPerAddress, maxPacketBytes, maxConnectBytes } = mqtt
  return { token, allowedOrigins, maxConnections, maxConnectionsPerAddress, maxPacketBytes, maxConnectBytes }
}

/** The queues of one identity may fill some megabytes of disk, whatever the number of its sessions and messages. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024

export function persistenceLimits({ mqtt }: Config, topics: Topics): PersistenceLimits {
  return {
    ...mqtt,
    maxQueuedBytesPerIdentity: MAX_QUEUED_BYTES,
    retainedBelow(topic) {
      const address = topics.parse(topic)
      if (address?.kind === 'data') {
        return { prefix: topics.dataPrefix(address.nodeId), max: mqtt.maxRetainedPerNode }
      }
      return address === undefined ? grantedShare(topic, mqtt) : null
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
      return { prefix, max: mqtt.maxRetainedPerNode }
    }
    const prefix = literalStart(pattern)
    return prefix === '' ? null : { prefix, max: Math.ceil(mqtt.maxRetained / 2) }
  }
  return null
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
  retained: 'a retained message was not kept: there are too many (mqtt.maxRetained)',
  retained_below: 'a retained message of a limb was not kept: it has too many (mqtt.maxRetainedPerNode)',
}
