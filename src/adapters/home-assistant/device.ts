import {
  type AdapterAvailability,
  type AdapterEntity,
  type AdapterRecord,
  AVAILABILITY_MODES,
  adapterEntitySchema,
} from '../../protocol/adapter.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { foreignTopic, nameFrom, readable, readableUrl } from '../texts.ts'
import { type DiscoveryOptions, isConfig } from './abbreviations.ts'
import { levelOf, MAKERS } from './components.ts'
import type { AnnouncedThing } from './message.ts'
import { textOf } from './options.ts'
import { placeOf } from './templates.ts'

/** Puts the things that messages announce together to devices. */

/** The identifier of the device that a thing belongs to; undefined when it names none. */
export function deviceOf({ device }: Pick<AnnouncedThing, 'device'>): string | undefined {
  const { identifiers, connections } = device
  const first = Array.isArray(identifiers) ? identifiers[0] : identifiers
  const connection =
    Array.isArray(connections) && Array.isArray(connections[0]) ? connections[0].join(' ') : undefined
  return readable(first ?? connection, LIMITS.propertyTopicChars)
}

/** Returns whether the device stands behind another one, which speaks for it. */
export function isBehind({ device }: Pick<AnnouncedThing, 'device'>): boolean {
  return typeof device.via_device === 'string' && device.via_device !== ''
}

/** The words of the messages about the device itself. */
export type DeviceWords = Pick<
  AdapterRecord,
  'displayName' | 'platform' | 'firmware' | 'model' | 'manufacturer' | 'area' | 'configurationUrl'
>

export function wordsOf({ device }: Pick<AnnouncedThing, 'device'>, preset: string): DeviceWords {
  const model = readable(device.model, LIMITS.displayNameChars)
  const words = {
    firmware: readable(device.sw_version, LIMITS.firmwareChars),
    model,
    manufacturer: readable(device.manufacturer, LIMITS.displayNameChars),
    area: readable(device.suggested_area, LIMITS.displayNameChars),
    configurationUrl: readableUrl(device.configuration_url),
  }
  return {
    displayName: readable(device.name, LIMITS.displayNameChars) ?? preset,
    platform: readable(model, LIMITS.platformChars) ?? 'home assistant discovery',
    ...Object.fromEntries(Object.entries(words).filter(([, value]) => value !== undefined)),
  }
}

export function availabilityModeOf({ config }: AnnouncedThing): AdapterRecord['availabilityMode'] {
  return AVAILABILITY_MODES.find((each) => each === config.availability_mode) ?? 'latest'
}

/**
 * Makes an entity of an announced thing. `taken`: names that others of the device have. Undefined when it has nothing
 * that could be read or run, a sentence when it cannot be taken.
 */
export function entityOf(announced: AnnouncedThing, taken: ReadonlySet<string>): AdapterEntity | string {
  const { component, config, key, objectId } = announced
  const make = MAKERS.get(component)
  if (make === undefined) return `${component} is a component that is not read`
  const name = freeName(nameFrom(config.object_id) ?? nameFrom(objectId) ?? component, component, taken)
  const title = readable(config.name, 60) ?? readable(objectId.replaceAll('_', ' '), 60) ?? component
  const made = make(config, name, title)
  if (made.properties.length === 0 && made.commands.length === 0) {
    return 'it has no topic and no template that could be read without running it'
  }
  const entity = {
    key,
    name,
    level: levelOf(component, config),
    ...made,
    availability: availabilityOf(config),
  }
  const checked = adapterEntitySchema.safeParse(entity)
  if (checked.success) return checked.data
  const [issue] = checked.error.issues
  return `${issue?.path.join('.')}: ${issue?.message}`
}

function freeName(name: string, component: string, taken: ReadonlySet<string>): string {
  const wishes = [name, `${name.slice(0, 25)}_${component.slice(0, 12)}`]
  for (const wish of wishes) if (!taken.has(wish)) return wish
  for (let i = 2; ; i++) if (!taken.has(`${name.slice(0, 30)}_${i}`)) return `${name.slice(0, 30)}_${i}`
}

function availabilityOf(config: DiscoveryOptions): AdapterAvailability[] {
  const list = Array.isArray(config.availability)
    ? config.availability
    : [{ ...config, topic: config.availability_topic, value_template: config.availability_template }]
  return list.flatMap((each) => {
    if (!isConfig(each)) return []
    const topic = foreignTopic(each.topic)
    const place = placeOf(each.value_template)
    if (topic === undefined || place === undefined) return []
    return [
      {
        topic,
        ...place,
        online: textOf(each, 'payload_available', 'online'),
        offline: textOf(each, 'payload_not_available', 'offline'),
      },
    ]
  })
}
