import { type AdapterEntity, type AdapterRecord, adapterSchema } from '../protocol/adapter.ts'
import { LIMITS } from '../protocol/limits.ts'
import { availabilityModeOf, deviceOf, entityOf, isBehind, wordsOf } from './home-assistant/device.ts'
import { type AnnouncedThing, discoveryPlace, readDiscovery } from './home-assistant/message.ts'
import { tasmotaPlace, tasmotaRecord } from './tasmota/device.ts'
import { nameFrom } from './texts.ts'

/**
 * Reads what foreign firmware publishes about itself: Home Assistant's discovery messages and Tasmota's own. Everything
 * here is a pure function of messages.
 */

export interface AdapterSettings {
  readonly homeAssistant: boolean
  readonly homeAssistantPrefix: string
  readonly tasmota: boolean
  readonly tasmotaPrefix: string
  /** Devices behind one session. */
  readonly maxDevicesPerLimb: number
}

const OF_TASMOTA = 'tasmota:'

/** Returns the place of a message that one of the adapters reads; undefined for every other topic. */
export function placeOfMessage(settings: AdapterSettings, topic: string): string | undefined {
  if (settings.homeAssistant) {
    const place = discoveryPlace(settings.homeAssistantPrefix, topic)
    if (place !== undefined) return place
  }
  if (!settings.tasmota) return undefined
  const place = tasmotaPlace(settings.tasmotaPrefix, topic)
  return place === undefined ? undefined : OF_TASMOTA + place
}

/** Names what was announced and is not taken, and why. */
export interface LeftOut {
  readonly key: string
  readonly why: string
}

export interface ReadDevices {
  /** The devices: the first without `via` is the limb itself. */
  readonly records: readonly AdapterRecord[]
  readonly leftOut: readonly LeftOut[]
}

export interface Reading {
  /** The limb whose session it is. */
  readonly nodeId: string
  readonly messages: ReadonlyMap<string, Uint8Array>
  /** The places of which something came in this session. */
  readonly seen: ReadonlySet<string>
  /** Returns what is known of a limb from before. */
  readonly known: (nodeId: string) => AdapterRecord | undefined
  /** Returns whether the limb may publish a topic: what it says elsewhere is not its own. */
  readonly mayPublish: (topic: string) => boolean
}

/** Reads all devices that the messages of one session announce. */
export function readDevices(reading: Reading): ReadDevices {
  const steps = readingDevices(reading)
  let step = steps.next()
  while (!step.done) step = steps.next()
  return step.value
}

/** Does the same in steps, because a session may have announced thousands of things: it yields after each of them. */
export function* readingDevices(reading: Reading): Generator<undefined, ReadDevices, undefined> {
  const leftOut: LeftOut[] = []
  const announced: AnnouncedThing[] = []
  for (const [place, payload] of [...reading.messages]) {
    announced.push(...announcedAt(place, payload, leftOut))
    yield
  }
  const groups = grouped(announced, reading)
  const records: AdapterRecord[] = []
  const tasmota = tasmotaRecord(messagesOfTasmota(reading.messages), reading.nodeId)
  if (typeof tasmota === 'string') leftOut.push({ key: 'tasmota', why: tasmota })
  else if (tasmota !== undefined)
    records.push(...checked({ ...tasmota, entities: permitted(tasmota.entities, reading, leftOut) }, leftOut))
  for (const { device, own, things } of groups) {
    yield
    if (own && records.length > 0) continue
    const record = recordOf(reading, device, own, things, leftOut)
    if (record) records.push(...checked(record, leftOut))
  }
  return { records, leftOut }
}

function checked(record: AdapterRecord, leftOut: LeftOut[]): AdapterRecord[] {
  const result = adapterSchema.safeParse({
    ...record,
    entities: record.entities.slice(0, LIMITS.adapterEntities),
  })
  if (result.success) return [result.data]
  const [issue] = result.error.issues
  leftOut.push({ key: record.device, why: `${issue?.path.join('.')}: ${issue?.message}` })
  return []
}

function announcedAt(place: string, payload: Uint8Array, leftOut: LeftOut[]): readonly AnnouncedThing[] {
  if (place.startsWith(OF_TASMOTA)) return []
  const message = readDiscovery(place, payload)
  if (typeof message !== 'string') return message.announced
  leftOut.push({ key: place, why: message })
  return []
}

function messagesOfTasmota(messages: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, Uint8Array> {
  return new Map(
    [...messages]
      .filter(([place]) => place.startsWith(OF_TASMOTA))
      .map(([place, payload]) => [place.slice(OF_TASMOTA.length), payload]),
  )
}

interface Group {
  readonly device: string
  /** It is the limb itself. */
  readonly own: boolean
  readonly things: AnnouncedThing[]
}

/**
 * Puts together what belongs to one device. The limb itself is the device that it was before, else the first that
 * stands behind no other; what names no device is of the limb itself.
 */
function grouped(announced: readonly AnnouncedThing[], { nodeId, known }: Reading): Group[] {
  const byDevice = new Map<string, AnnouncedThing[]>()
  for (const thing of announced) {
    const device = deviceOf(thing) ?? ''
    const things = byDevice.get(device)
    if (things) things.push(thing)
    else byDevice.set(device, [thing])
  }
  const before = known(nodeId)?.device
  const devices = [...byDevice.keys()]
  const self =
    devices.find((device) => device === before) ??
    devices.find((device) => device !== '' && !(byDevice.get(device) ?? []).some(isBehind))
  const groups: Group[] = []
  for (const [device, things] of byDevice) {
    if (device === '' || device === self) continue
    groups.push({ device, own: false, things })
  }
  const own = [...(byDevice.get('') ?? []), ...(self === undefined ? [] : (byDevice.get(self) ?? []))]
  return own.length === 0 ? groups : [{ device: self ?? nodeId, own: true, things: own }, ...groups]
}

/** The name of the limb that a device behind another one is. */
export function viaNodeId(gateway: string, device: string): string {
  return `${gateway}-${nameFrom(device, 62 - gateway.length) ?? 'device'}`.slice(0, 63)
}

function recordOf(
  reading: Reading,
  device: string,
  own: boolean,
  things: readonly AnnouncedThing[],
  leftOut: LeftOut[],
): AdapterRecord | undefined {
  const { nodeId, known, seen } = reading
  const limbId = own ? nodeId : viaNodeId(nodeId, device)
  const [first] = things
  if (first === undefined) return undefined
  const before = known(limbId)
  // A bridge that has just started is told only what changes: what was known holds until it is said anew.
  const kept = (before?.entities ?? []).filter(({ key }) => !seen.has(key.split('#')[0] ?? key))
  const taken = new Set(kept.map(({ name }) => name))
  const made: AdapterEntity[] = []
  for (const thing of [...things].sort((a, b) => (a.key < b.key ? -1 : 1))) {
    const entity = entityOf(thing, taken)
    if (typeof entity === 'string') {
      leftOut.push({ key: thing.key, why: entity })
      continue
    }
    taken.add(entity.name)
    made.push(entity)
  }
  const entities = permitted([...kept, ...made], reading, leftOut).sort((a, b) => (a.key < b.key ? -1 : 1))
  return {
    kind: 'homeassistant',
    ...(own ? {} : { via: nodeId }),
    device,
    ...wordsOf(first, own ? nodeId : device),
    availabilityMode: availabilityModeOf(first),
    entities,
  }
}

/** Takes out what stands on topics that are not the limb's own. */
function permitted(
  entities: readonly AdapterEntity[],
  { mayPublish }: Reading,
  leftOut: LeftOut[],
): AdapterEntity[] {
  return entities.flatMap((entity) => {
    const sources = entity.sources.filter(({ topic }) => mayPublish(topic))
    const availability = entity.availability.filter(({ topic }) => mayPublish(topic))
    const foreign = [...entity.sources, ...entity.availability].find(({ topic }) => !mayPublish(topic))
    if (foreign !== undefined) {
      leftOut.push({
        key: entity.key,
        why: `it may not publish ${foreign.topic}, which mqtt.grants can allow`,
      })
    }
    const properties = entity.properties.filter(({ name }) =>
      sources.some(({ property }) => property === name),
    )
    if (properties.length === 0 && entity.commands.length === 0) return []
    return [{ ...entity, sources, properties, availability }]
  })
}
