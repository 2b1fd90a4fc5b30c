import { unitOf } from '../protocol/units.ts'
import { CLASS_OF_UNIT, SENSOR_CLASSES, type StateClass, WORD_CLASSES } from './device-classes.ts'

/** Says what is measured: of a metric by the end of its name, of a property by its unit and its classes. */

/** Are the options of a sensor that say what its number is. */
export interface Measure {
  readonly unit_of_measurement?: string
  readonly device_class?: string
  readonly state_class?: StateClass
}

interface Wish {
  readonly unit?: string | undefined
  readonly deviceClass?: string | undefined
  readonly stateClass?: StateClass | undefined
}

/**
 * Returns what Home Assistant takes of a wish: a device class only with a unit of its own, a state class only where the
 * device class has it. What does not fit together is left out, the unit last: a number with its unit is worth most.
 */
export function measureFor({ unit: ucum, deviceClass, stateClass }: Wish): Measure {
  const wanted = ucum === undefined || ucum === '1' ? null : unitOf(ucum)
  const name = deviceClass ?? (wanted === null ? undefined : ofUnit(wanted, stateClass))
  const known = name !== undefined && !WORD_CLASSES.has(name) && Object.hasOwn(SENSOR_CLASSES, name)
  const sensorClass = known ? SENSOR_CLASSES[name] : undefined
  const unit = wanted ?? theOnlyUnit(sensorClass?.units)
  const fits = sensorClass !== undefined && (sensorClass.units?.includes(unit) ?? unit !== null)
  const allowed = fits ? sensorClass.stateClasses : undefined
  const state = allowed === undefined ? (stateClass ?? 'measurement') : stateClassOf(allowed, stateClass)
  return {
    ...(fits && name !== undefined ? { device_class: name } : {}),
    ...(unit === null || (!fits && wanted === null) ? {} : { unit_of_measurement: unit }),
    ...(state === undefined ? {} : { state_class: state }),
  }
}

/** A length that only grows is a distance, but so much water is a meter of its own: nobody knows which. */
function ofUnit(unit: string, stateClass: StateClass | undefined): string | undefined {
  const name = Object.hasOwn(CLASS_OF_UNIT, unit) ? CLASS_OF_UNIT[unit] : undefined
  if (name !== 'energy') return name
  return stateClass === 'measurement' ? 'energy_storage' : name
}

function theOnlyUnit(units: readonly (string | null)[] | undefined): string | null {
  return units?.length === 1 ? (units[0] ?? null) : null
}

function stateClassOf(allowed: readonly StateClass[], wish: StateClass | undefined): StateClass | undefined {
  return wish !== undefined && allowed.includes(wish) ? wish : allowed[0]
}

/** The ends of metric names and what they say, in the way of Prometheus (base units, spelled out). */
const WORDS: Readonly<Record<string, Wish>> = {
  celsius: { unit: '°C', deviceClass: 'temperature' },
  fahrenheit: { unit: '°F', deviceClass: 'temperature' },
  kelvin: { unit: 'K', deviceClass: 'temperature' },
  percent: { unit: '%' },
  volts: { unit: 'V', deviceClass: 'voltage' },
  amperes: { unit: 'A', deviceClass: 'current' },
  watts: { unit: 'W', deviceClass: 'power' },
  kilowatts: { unit: 'kW', deviceClass: 'power' },
  joules: { unit: 'J' },
  wh: { unit: 'Wh' },
  kwh: { unit: 'kWh' },
  watt_hours: { unit: 'Wh' },
  kilowatt_hours: { unit: 'kWh' },
  hertz: { unit: 'Hz', deviceClass: 'frequency' },
  pascals: { unit: 'Pa', deviceClass: 'pressure' },
  hectopascals: { unit: 'hPa', deviceClass: 'pressure' },
  hpa: { unit: 'hPa', deviceClass: 'pressure' },
  lux: { unit: 'lx', deviceClass: 'illuminance' },
  meters: { unit: 'm', deviceClass: 'distance' },
  millimeters: { unit: 'mm', deviceClass: 'distance' },
  kilograms: { unit: 'kg', deviceClass: 'weight' },
  grams: { unit: 'g', deviceClass: 'weight' },
  liters: { unit: 'L' },
  cubic_meters: { unit: 'm³' },
  meters_per_second: { unit: 'm/s', deviceClass: 'speed' },
  kilometers_per_hour: { unit: 'km/h', deviceClass: 'speed' },
  degrees: { unit: '°' },
  ppm: { unit: 'ppm' },
  ppb: { unit: 'ppb' },
  micrograms_per_cubic_meter: { unit: 'µg/m³' },
  decibels: { unit: 'dB' },
  db: { unit: 'dB' },
  seconds: { unit: 's', deviceClass: 'duration' },
  bytes: { unit: 'B', deviceClass: 'data_size' },
  dbm: { unit: 'dBm', deviceClass: 'signal_strength' },
}

/** The words before a unit, where the unit alone does not say what is measured. */
const QUANTITIES: readonly (readonly [RegExp, string])[] = [
  [/(^|_)battery$/, 'battery'],
  [/(^|_)(humidity|rh)$/, 'humidity'],
  [/(^|_)(soil_)?moisture$/, 'moisture'],
  [/(^|_)co2$/, 'carbon_dioxide'],
  [/(^|_)(co|carbon_monoxide)$/, 'carbon_monoxide'],
  [/(^|_)t?voc$/, 'volatile_organic_compounds_parts'],
  [/(^|_)pm_?10$/, 'pm10'],
  [/(^|_)pm_?2_?5$/, 'pm25'],
  [/(^|_)pm_?1$/, 'pm1'],
  [/(^|_)(noise|sound)(_|$)/, 'sound_pressure'],
  [/(^|_)(rssi|signal|snr)(_|$)/, 'signal_strength'],
  [/(^|_)wind_direction$/, 'wind_direction'],
  [/(^|_)wind(_speed)?$/, 'wind_speed'],
  [/(^|_)gas$/, 'gas'],
  [/(^|_)water$/, 'water'],
  [/(^|_)(tank|fuel)(_level)?$/, 'volume_storage'],
  [/(^|_)rain(fall)?$/, 'precipitation'],
]

/** Is a metric's name without its unit, and what the unit says. */
export interface MeasuredMetric {
  /** The thing that is measured: `temperature` of `temperature_celsius`; the whole name where there is no unit. */
  readonly quantity: string
  readonly measure: Measure
}

export function measuredMetric(metric: string): MeasuredMetric {
  const words = metric.split(/[_.-]/)
  const lower = words.map((word) => word.toLowerCase())
  const total = lower.length > 1 && lower.at(-1) === 'total'
  const end = total ? lower.length - 1 : lower.length
  const length = unitLength(lower.slice(0, end))
  // `celsius` alone is a name, not a unit.
  const unit = length === 0 ? undefined : WORDS[lower.slice(end - length, end).join('_')]
  const before = lower.slice(0, end - length).join('_')
  const deviceClass = unit && (quantityOf(before, unit) ?? unit.deviceClass)
  const counts = total ? 'total_increasing' : 'measurement'
  const measure = unit
    ? measureFor({ unit: unit.unit, deviceClass, stateClass: energyOf(unit, total) ?? counts })
    : ({ state_class: counts } as const)
  return { quantity: length === 0 ? metric : words.slice(0, end - length).join('_'), measure }
}

/** A reading in kWh is a meter's, whether or not its name says `total`. */
function energyOf(unit: Wish, total: boolean): StateClass | undefined {
  return !total && unit.unit !== undefined && CLASS_OF_UNIT[unit.unit] === 'energy'
    ? 'total_increasing'
    : undefined
}

function quantityOf(before: string, { unit }: Wish): string | undefined {
  for (const [pattern, name] of QUANTITIES)
    if (pattern.test(before) && SENSOR_CLASSES[name]?.units?.includes(unit ?? null)) return name
  return undefined
}

/** Returns how many words at the end are a unit: `micrograms_per_cubic_meter` are four. One stays for the name. */
function unitLength(words: readonly string[]): number {
  for (let length = Math.min(4, words.length - 1); length > 0; length--)
    if (Object.hasOwn(WORDS, words.slice(-length).join('_'))) return length
  return 0
}
