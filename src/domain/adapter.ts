import type {
  AdapterCommand,
  AdapterEntity,
  AdapterRecord,
  AdapterSend,
  AdapterSource,
} from '../protocol/adapter.ts'
import type { Description } from '../protocol/descriptions.ts'
import { LIMITS } from '../protocol/limits.ts'
import type { PresenceWish } from '../protocol/presence.ts'
import type { Registration } from '../protocol/schemas.ts'

/** Makes a limb of foreign firmware: its registration, the values of its properties, the messages of its commands. */

/** The topic of its own on which the bridge says whether such a limb is there. */
export const AVAILABILITY_TOPIC = 'data/availability'

/** Returns the registration that the device would send, if it could. */
export function registrationOf(adapter: AdapterRecord): Registration {
  const { displayName, platform, firmware, entities } = adapter
  const capabilities = entities
    .filter(({ commands }) => commands.length > 0)
    .map(({ name, level, commands }) => ({
      cap: name,
      commands: commands.map((command) => command.name),
      authLevel: level,
    }))
  return {
    displayName,
    platform,
    ...(firmware === undefined ? {} : { firmware }),
    capabilities,
    described: describedOf(adapter),
    presence: presenceOf(adapter),
    adapter,
  }
}

function describedOf({ model, manufacturer, area, configurationUrl, entities }: AdapterRecord): Description {
  const words = { model, manufacturer, area, configurationUrl }
  return {
    ...Object.fromEntries(Object.entries(words).filter(([, value]) => value !== undefined)),
    properties: entities.flatMap(({ properties }) => properties),
    commands: entities.flatMap(({ commands }) => commands.map(({ sends: _sends, ...command }) => command)),
  }
}

function presenceOf({ entities }: AdapterRecord): PresenceWish {
  const speaks = entities.some(({ availability }) => availability.length > 0)
  return speaks ? { mode: 'connection', topic: AVAILABILITY_TOPIC } : 'connection'
}

/** Takes as many of the entities as a description and a record have room for. */
export function withinLimits(adapter: AdapterRecord, maxBytes: number): AdapterRecord {
  const entities: AdapterEntity[] = []
  let bytes = JSON.stringify({ ...adapter, entities: [] }).length
  let described = JSON.stringify(describedOf({ ...adapter, entities: [] })).length
  let properties = 0
  for (const entity of adapter.entities) {
    const more = JSON.stringify(entity).length + 1
    const words = utf8Length(JSON.stringify(describedOf({ ...adapter, entities: [entity] })))
    const fits =
      bytes + more <= maxBytes &&
      described + words <= LIMITS.descriptionBytes &&
      properties + entity.properties.length <= LIMITS.properties &&
      entities.length < LIMITS.capabilities
    if (!fits) continue
    entities.push(entity)
    bytes += more
    described += words
    properties += entity.properties.length
  }
  return { ...adapter, entities }
}

function utf8Length(text: string): number {
  return new TextEncoder().encode(text).length
}

export function commandOf(adapter: AdapterRecord, name: string): AdapterCommand | undefined {
  for (const { commands } of adapter.entities) {
    const found = commands.find((command) => command.name === name)
    if (found) return found
  }
  return undefined
}

/** One message that goes to the firmware. */
export interface ForeignMessage {
  readonly topic: string
  readonly payload: string
  readonly answer?: string | undefined
}

type Params = Readonly<Record<string, unknown>>

/** Returns the messages that run a command with these params: none for a part whose parameter is not there. */
export function messagesOf({ sends }: AdapterCommand, params: Params): ForeignMessage[] {
  return sends.flatMap((send) => {
    const payload = payloadOf(send, params)
    return payload === undefined ? [] : [{ topic: send.topic, payload, answer: send.answer }]
  })
}

function payloadOf(send: AdapterSend, params: Params): string | undefined {
  if (send.json !== undefined) return jsonOf(send.json, params)
  if (send.param === undefined) return send.text ?? ''
  const value = own(params, send.param)
  if (value === undefined) return undefined
  const { before = '', after = '', from } = send
  const text = wordFor(from !== undefined && typeof value === 'number' ? from - value : value, send.words)
  // Between quotes it must not end the text that it stands in.
  return before + (before.endsWith('"') ? JSON.stringify(text).slice(1, -1) : text) + after
}

function jsonOf(fields: NonNullable<AdapterSend['json']>, params: Params): string | undefined {
  const given = Object.entries(fields).flatMap(([key, { param, words }]): [string, unknown][] => {
    const value = own(params, param)
    if (value === undefined) return []
    return [[key, words === undefined ? value : wordFor(value, words)]]
  })
  return given.length === 0 ? undefined : JSON.stringify(Object.fromEntries(given))
}

function own(params: Params, name: string): unknown {
  return Object.hasOwn(params, name) ? params[name] : undefined
}

function wordFor(value: unknown, words: Readonly<Record<string, string>> | undefined): string {
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  return words !== undefined && Object.hasOwn(words, text) ? (words[text] ?? text) : text
}

/** A longer text is no value that people look at. */
const MAX_TEXT = 1000

/** A payload of firmware, of which several values may be read: its JSON is parsed once. */
export class ForeignPayload {
  readonly #text: string
  #json: { readonly value: unknown } | undefined

  constructor(payload: Uint8Array) {
    this.#text = new TextDecoder().decode(payload)
  }

  /** Returns what stands at a pointer, or the text itself without one; undefined: nothing. */
  at(pointer: string | undefined): unknown {
    if (pointer === undefined) return this.#text
    this.#json ??= { value: parsed(this.#text) }
    let value = this.#json.value
    for (const step of pointer.split('/').slice(1)) {
      if (typeof value !== 'object' || value === null) return undefined
      const key = step.replaceAll('~1', '/').replaceAll('~0', '~')
      value = Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined
    }
    return value
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export type PropertyValue = string | number | boolean | object

/** Returns the value of a property that a payload says; undefined when it says none that fits. */
export function propertyValueOf(
  payload: ForeignPayload,
  { pointer, words, from }: Pick<AdapterSource, 'pointer' | 'words' | 'from'>,
  type: string,
): PropertyValue | undefined {
  const found = payload.at(pointer)
  if (found === undefined || found === null) return undefined
  if (type === 'object' || type === 'array') return typeof found === 'object' ? found : undefined
  if (typeof found === 'object') return undefined
  const text = String(found).trim()
  if (words !== undefined) return wordOf(words, text)
  if (type === 'boolean') return text === 'true' ? true : text === 'false' ? false : undefined
  if (type === 'string') return text.slice(0, MAX_TEXT)
  const given = text === '' ? Number.NaN : Number(text)
  if (!Number.isFinite(given)) return undefined
  const number = from === undefined ? given : from - given
  return type === 'integer' ? Math.round(number) : number
}

/** Firmware writes a boolean of JSON as `true`, and its discovery message as `True`. */
function wordOf(words: NonNullable<AdapterSource['words']>, text: string): string | boolean | undefined {
  if (Object.hasOwn(words, text)) return words[text]
  const alike = Object.keys(words).filter((word) => word.toLowerCase() === text.toLowerCase())
  return alike.length === 1 ? words[alike[0] as string] : undefined
}
