import type { AdapterEntity, AdapterRecord } from '../../protocol/adapter.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { madeOf } from '../parts.ts'
import { foreignTopic, readable } from '../texts.ts'
import type { TasmotaFields, TasmotaThing, TasmotaTopics } from './fields.ts'
import { inputsOf } from './inputs.ts'
import { outputsOf } from './outputs.ts'
import { sensorsOf } from './sensors.ts'

/** Reads what Tasmota publishes about itself below `tasmota/discovery/<MAC>/`. */

const PLACE = /^([0-9A-F]{12})\/(config|sensors)$/
const MAX_BYTES = 16_384

/** Returns `<MAC>/config` or `<MAC>/sensors`; undefined for another topic. */
export function tasmotaPlace(prefix: string, topic: string): string | undefined {
  if (!topic.startsWith(`${prefix}/`)) return undefined
  const place = topic.slice(prefix.length + 1)
  return PLACE.test(place) ? place : undefined
}

/** Returns the device of these messages, undefined when there is none, and a sentence when it cannot be read. */
export function tasmotaRecord(
  messages: ReadonlyMap<string, Uint8Array>,
  nodeId: string,
): AdapterRecord | string | undefined {
  const place = [...messages.keys()].find((each) => each.endsWith('/config'))
  if (place === undefined) return undefined
  const config = objectOf(messages.get(place))
  if (config === undefined) return `${place} is not a JSON object of ${MAX_BYTES} bytes at most`
  const topics = topicsOf(config)
  if (topics === undefined) return `${place} names no topics (t, ft and tp)`
  const sensors = objectOf(messages.get(place.replace('/config', '/sensors')))
  const things = [
    ...outputsOf(config, topics),
    ...inputsOf(config, topics),
    signal(topics),
    ...sensorsOf(sensors?.sn, `${topics.telemetry}SENSOR`),
  ]
  const availability = [
    {
      topic: `${topics.telemetry}LWT`,
      online: wordOf(config.onln, 'Online'),
      offline: wordOf(config.ofln, 'Offline'),
    },
  ]
  return {
    kind: 'tasmota',
    device: place.slice(0, 12),
    displayName: readable(config.dn, LIMITS.displayNameChars) ?? nodeId,
    platform: 'tasmota',
    ...wordsOf(config),
    availabilityMode: 'latest',
    entities: things.map(
      ({ name, ...parts }): AdapterEntity => ({
        key: `${place}#${name}`,
        name,
        level: 'free',
        ...parts,
        availability,
      }),
    ),
  }
}

function wordsOf({ sw, md, ip }: TasmotaFields): Partial<AdapterRecord> {
  const words = {
    firmware: readable(sw, LIMITS.firmwareChars),
    model: readable(md, LIMITS.displayNameChars),
    configurationUrl: /^[0-9.]{7,15}$/.test(String(ip)) ? `http://${ip}/` : undefined,
  }
  return Object.fromEntries(Object.entries(words).filter(([, value]) => value !== undefined))
}

function objectOf(payload: Uint8Array | undefined): TasmotaFields | undefined {
  if (payload === undefined || payload.length > MAX_BYTES) return undefined
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject ? (value as TasmotaFields) : undefined
  } catch {
    return undefined
  }
}

function wordOf(value: unknown, preset: string): string {
  const isWord = typeof value === 'string' && value !== ''
  return isWord ? value.slice(0, LIMITS.availabilityWordChars) : preset
}

function topicsOf({ t, ft, tp, hn }: TasmotaFields): TasmotaTopics | undefined {
  if (typeof t !== 'string' || typeof ft !== 'string' || !Array.isArray(tp) || !ft.endsWith('/'))
    return undefined
  const [command, status, telemetry] = tp.map((prefix) =>
    foreignTopic(
      ft
        .replaceAll('%prefix%', () => String(prefix))
        .replaceAll('%topic%', () => t)
        .replaceAll('%hostname%', () => String(hn)),
    ),
  )
  if (command === undefined || status === undefined || telemetry === undefined) return undefined
  // With one prefix for all, what is asked and what is answered could not be told apart.
  return command === status ? undefined : { command, status, telemetry }
}

function signal({ telemetry }: TasmotaTopics): TasmotaThing {
  const name = 'wifi_signal'
  const made = madeOf(name, 'Wi-Fi signal', [
    {
      property: name,
      title: 'Wi-Fi signal',
      schema: { type: 'number', unit: 'dBm' },
      deviceClass: 'signal_strength',
      stateClass: 'measurement',
      source: { topic: `${telemetry}STATE`, pointer: '/Wifi/Signal' },
    },
  ])
  return { name, ...made }
}
