/**
 * Reads what the end of a metric's name says about it, in the way of Prometheus (base units, spelled out). A metric
 * without such an end is a plain number.
 */

export interface Measure {
  readonly unit_of_measurement?: string
  readonly device_class?: string
  readonly state_class: 'measurement' | 'total_increasing'
}

const UNITS: Readonly<Record<string, Omit<Measure, 'state_class'>>> = {
  celsius: { unit_of_measurement: '°C', device_class: 'temperature' },
  percent: { unit_of_measurement: '%' },
  volts: { unit_of_measurement: 'V', device_class: 'voltage' },
  amperes: { unit_of_measurement: 'A', device_class: 'current' },
  watts: { unit_of_measurement: 'W', device_class: 'power' },
  hertz: { unit_of_measurement: 'Hz', device_class: 'frequency' },
  pascals: { unit_of_measurement: 'Pa', device_class: 'pressure' },
  lux: { unit_of_measurement: 'lx', device_class: 'illuminance' },
  meters: { unit_of_measurement: 'm', device_class: 'distance' },
  seconds: { unit_of_measurement: 's', device_class: 'duration' },
  bytes: { unit_of_measurement: 'B', device_class: 'data_size' },
  dbm: { unit_of_measurement: 'dBm', device_class: 'signal_strength' },
}

export function measureOf(metric: string): Measure {
  const words = metric.toLowerCase().split(/[_.-]/)
  const total = words.at(-1) === 'total'
  const last = (total ? words.at(-2) : words.at(-1)) ?? ''
  const unit = words.length > 1 && Object.hasOwn(UNITS, last) ? UNITS[last] : undefined
  const ofBattery = last === 'percent' && words.at(-2) === 'battery'
  const ofAir = last === 'percent' && words.at(-2) === 'humidity'
  return {
    ...unit,
    ...(ofBattery ? { device_class: 'battery' } : {}),
    ...(ofAir ? { device_class: 'humidity' } : {}),
    state_class: total ? 'total_increasing' : 'measurement',
  }
}
