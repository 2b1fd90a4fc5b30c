import type { PropertyDescription } from '../../protocol/descriptions.ts'
import { madeOf } from '../parts.ts'
import { nameFrom, readable } from '../texts.ts'
import type { TasmotaThing } from './fields.ts'

/** Makes properties of the values that Tasmota publishes on `tele/…/SENSOR`. */

interface Meaning {
  readonly unit: string
  readonly deviceClass?: string
  readonly stateClass?: PropertyDescription['stateClass']
}

const MEASURED = { stateClass: 'measurement' } as const
const COUNTED = { stateClass: 'total_increasing' } as const

/** The names of values in Tasmota's messages, with what they mean. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  Temperature: { unit: 'Cel', deviceClass: 'temperature', ...MEASURED },
  DewPoint: { unit: 'Cel', deviceClass: 'temperature', ...MEASURED },
  Humidity: { unit: '%', deviceClass: 'humidity', ...MEASURED },
  Pressure: { unit: 'hPa', deviceClass: 'pressure', ...MEASURED },
  SeaPressure: { unit: 'hPa', deviceClass: 'pressure', ...MEASURED },
  Illuminance: { unit: 'lx', deviceClass: 'illuminance', ...MEASURED },
  CarbonDioxide: { unit: 'ppm', deviceClass: 'carbon_dioxide', ...MEASURED },
  Power: { unit: 'W', deviceClass: 'power', ...MEASURED },
  ApparentPower: { unit: 'V.A', deviceClass: 'apparent_power', ...MEASURED },
  ReactivePower: { unit: 'var', deviceClass: 'reactive_power', ...MEASURED },
  Voltage: { unit: 'V', deviceClass: 'voltage', ...MEASURED },
  Current: { unit: 'A', deviceClass: 'current', ...MEASURED },
  Frequency: { unit: 'Hz', deviceClass: 'frequency', ...MEASURED },
  Total: { unit: 'kW.h', deviceClass: 'energy', ...COUNTED },
  Today: { unit: 'kW.h', deviceClass: 'energy', ...COUNTED },
  Yesterday: { unit: 'kW.h', deviceClass: 'energy' },
  'PM2.5': { unit: 'ug/m3', deviceClass: 'pm25', ...MEASURED },
  PM10: { unit: 'ug/m3', deviceClass: 'pm10', ...MEASURED },
}

/** They are read as outputs. */
const SHUTTER_VALUES = /^Shutter\d+$/
const MAX_VALUES = 48
const MAX_DEPTH = 3

interface Value {
  readonly path: readonly string[]
  readonly meaning: Meaning
}

/** Returns one thing for each number of the message. */
export function sensorsOf(message: unknown, topic: string): TasmotaThing[] {
  return valuesIn(message, [], message)
    .slice(0, MAX_VALUES)
    .flatMap(({ path, meaning }) => {
      const name = nameFrom(path.join('_').toLowerCase())
      const title = readable(path.join(' '), 60)
      if (name === undefined || title === undefined) return []
      const { unit, deviceClass, stateClass } = meaning
      const schema = { type: 'number' as const, ...(unit === '' ? {} : { unit }) }
      const source = { topic, pointer: pointerOf(path) }
      return [
        {
          name,
          ...madeOf(name, title, [{ property: name, title, schema, deviceClass, stateClass, source }]),
        },
      ]
    })
}

function pointerOf(path: readonly string[]): string {
  return path.map((key) => `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
}

function valuesIn(value: unknown, path: readonly string[], message: unknown): Value[] {
  if (typeof value === 'number' && path.length > 0) {
    return [{ path, meaning: meaningOf(path.at(-1) ?? '', message) }]
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value) || path.length > MAX_DEPTH)
    return []
  const entries = Object.entries(value).filter(([key]) => path.length > 0 || !SHUTTER_VALUES.test(key))
  return entries.flatMap(([key, each]) => valuesIn(each, [...path, key], message))
}

function meaningOf(key: string, message: unknown): Meaning {
  const meaning = Object.hasOwn(MEANINGS, key) ? MEANINGS[key] : undefined
  if (meaning === undefined) return { unit: '' }
  const { TempUnit, PressureUnit } = message as TasmotaUnits
  if (meaning.unit === 'Cel' && TempUnit === 'F') return { ...meaning, unit: '[degF]' }
  if (meaning.unit === 'hPa' && PressureUnit === 'mmHg') return { ...meaning, unit: 'mmHg' }
  return meaning
}

interface TasmotaUnits {
  readonly TempUnit?: unknown
  readonly PressureUnit?: unknown
}
