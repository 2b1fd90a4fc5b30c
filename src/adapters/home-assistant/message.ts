import { LIMITS } from '../../protocol/limits.ts'
import { type DiscoveryOptions, isConfig, longNames, longNamesOfDevice, withBase } from './abbreviations.ts'

/** One thing of a discovery message, with the options by their long names. */
export interface AnnouncedThing {
  /** The message below the prefix, with the id of the thing where it announces several. */
  readonly key: string
  readonly component: string
  /** The last name of its topic, or its id among the things of a device. */
  readonly objectId: string
  readonly config: DiscoveryOptions
  readonly device: DiscoveryOptions
}

export interface DiscoveryMessage {
  /** The topic below the prefix, without its end. */
  readonly place: string
  /** Empty when the message takes back what it announced before. */
  readonly announced: readonly AnnouncedThing[]
}

const MAX_BYTES = 65_536
const LEVEL = /^[A-Za-z0-9_-]{1,200}$/

/** Returns what stands between the prefix and `/config`; undefined for another topic. */
export function discoveryPlace(prefix: string, topic: string): string | undefined {
  if (!topic.startsWith(`${prefix}/`) || !topic.endsWith('/config')) return undefined
  const place = topic.slice(prefix.length + 1, -'/config'.length)
  const levels = place.split('/')
  const fits = levels.length >= 2 && levels.length <= 3 && levels.every((level) => LEVEL.test(level))
  return fits && topic.length <= LIMITS.propertyTopicChars ? place : undefined
}

/** Reads a message; a sentence says why it is not one. */
export function readDiscovery(place: string, payload: Uint8Array): DiscoveryMessage | string {
  if (payload.length === 0) return { place, announced: [] }
  if (payload.length > MAX_BYTES) return `has ${payload.length} bytes; the limit is ${MAX_BYTES}`
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
  } catch {
    return 'is not JSON'
  }
  if (!isConfig(value)) return 'is not a JSON object'
  const levels = place.split('/')
  const [component = ''] = levels
  const objectId = levels.at(-1) ?? ''
  const config = longNames(value)
  const device = isConfig(config.device) ? longNamesOfDevice(config.device) : {}
  if (component !== 'device') {
    return {
      place,
      announced: [{ key: place, component, objectId, config: complete(config, config['~']), device }],
    }
  }
  if (!isConfig(config.components)) return 'announces a device without components'
  return { place, announced: ofDevice(place, config, config.components, device) }
}

/** Everything that stands beside the components holds for each of them. */
function ofDevice(
  place: string,
  shared: DiscoveryOptions,
  components: DiscoveryOptions,
  device: DiscoveryOptions,
): AnnouncedThing[] {
  const { components: _components, device: _device, origin: _origin, ...common } = shared
  return Object.entries(components)
    .slice(0, LIMITS.adapterEntities)
    .flatMap(([id, value]) => {
      if (!isConfig(value)) return []
      const own = longNames(value)
      const { platform } = own
      // One with its platform alone is taken back.
      if (typeof platform !== 'string' || Object.keys(own).length === 1) return []
      const config = complete({ ...common, ...own }, own['~'] ?? shared['~'])
      return [{ key: `${place}#${id.slice(0, 200)}`, component: platform, objectId: id, config, device }]
    })
}

/** The base topic goes into the topics of availability too. */
function complete(config: DiscoveryOptions, base: unknown): DiscoveryOptions {
  const based = withBase(config, base)
  const { availability } = based
  if (!Array.isArray(availability)) return based
  const list = availability
    .slice(0, 8)
    .map((each) => (isConfig(each) ? withBase(longNames(each), base) : each))
  return { ...based, availability: list }
}
