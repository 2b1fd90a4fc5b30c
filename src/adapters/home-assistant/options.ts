import type { AdapterSend, AdapterSource } from '../../protocol/adapter.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { foreignTopic, nameFrom, readable } from '../texts.ts'
import type { DiscoveryOptions } from './abbreviations.ts'
import { aroundValue, placeOf } from './templates.ts'

/** Reads single options of a discovery message. What is not as it must be is as if it were not there. */

export function textOf(config: DiscoveryOptions, key: string, preset: string): string {
  const value = config[key]
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
    return String(value).slice(0, LIMITS.helpChars)
  }
  return preset
}

export function numberOf(config: DiscoveryOptions, key: string): number | undefined {
  const value = typeof config[key] === 'string' ? Number(config[key]) : config[key]
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

export function listOf(config: DiscoveryOptions, key: string): string[] | undefined {
  const value = config[key]
  if (!Array.isArray(value)) return undefined
  const texts = value.flatMap((each) => readable(each, LIMITS.displayNameChars) ?? [])
  const unique = [...new Set(texts)].slice(0, LIMITS.schemaEntries)
  return unique.length === 0 ? undefined : unique
}

export function classOf(config: DiscoveryOptions): string | undefined {
  return nameFrom(config.device_class)
}

/** Returns where a value is read; undefined when the message does not say it, or says it by more than a place. */
export function sourceOf(
  config: DiscoveryOptions,
  topicKey: string,
  templateKeys: readonly string[],
  words?: AdapterSource['words'],
): Omit<AdapterSource, 'property'> | undefined {
  const topic = foreignTopic(config[topicKey])
  const template = templateKeys.map((key) => config[key]).find((each) => each !== undefined)
  const place = placeOf(template)
  if (topic === undefined || place === undefined) return undefined
  return { topic, ...place, ...(words === undefined ? {} : { words }) }
}

/** Returns how a parameter is sent; undefined when the message does not say it, or makes more of it. */
export function sendOf(
  config: DiscoveryOptions,
  topicKey: string,
  templateKey: string,
  param: string,
  words?: Readonly<Record<string, string>>,
): AdapterSend | undefined {
  const topic = foreignTopic(config[topicKey])
  const around = aroundValue(config[templateKey])
  if (topic === undefined || around === undefined) return undefined
  return { topic, param, ...around, ...(words === undefined ? {} : { words }) }
}

/** The words of the state for `true` and `false`, as they are read. */
export function booleanWords(on: string, off: string): Record<string, boolean> {
  return { [on]: true, [off]: false }
}
