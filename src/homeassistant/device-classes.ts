/**
 * Tables of Home Assistant's: which device classes there are, which units each of them takes, and which state classes.
 * It refuses a sensor with another pair. They follow its `components/sensor/const.py` and its pages about MQTT.
 */

export type StateClass = 'measurement' | 'total' | 'total_increasing'

interface SensorClass {
  /** The units that it takes; undefined: any. `null` is no unit at all. */
  readonly units: readonly (string | null)[] | undefined
  readonly stateClasses: readonly StateClass[]
}

const MEASURED: readonly StateClass[] = ['measurement']
const COUNTED: readonly StateClass[] = ['total_increasing', 'total']
const EITHER: readonly StateClass[] = ['measurement', 'total', 'total_increasing']

const LENGTH = ['m', 'km', 'cm', 'mm', 'in', 'ft', 'yd', 'mi', 'nmi']
const SPEED = ['m/s', 'km/h', 'mm/s', 'in/s', 'ft/s', 'mph', 'kn', 'Beaufort']
const RAIN = ['mm/d', 'mm/h', 'in/d', 'in/h']
const PRESSURE = ['Pa', 'hPa', 'kPa', 'bar', 'cbar', 'mbar', 'mmHg', 'inHg', 'psi']
const ENERGY = 'J kJ MJ GJ mWh Wh kWh MWh GWh TWh cal kcal Mcal Gcal'.split(' ')
const VOLUME = ['L', 'mL', 'm³', 'ft³', 'CCF', 'gal', 'fl. oz.']
const DUST = ['µg/m³']
const TEMPERATURE = ['°C', '°F', 'K']
const DATA = 'bit kbit Mbit Gbit B kB MB GB TB PB KiB MiB GiB TiB'.split(' ')

const measured = (units: SensorClass['units']): SensorClass => ({ units, stateClasses: MEASURED })
const counted = (units: SensorClass['units']): SensorClass => ({ units, stateClasses: COUNTED })
const either = (units: SensorClass['units']): SensorClass => ({ units, stateClasses: EITHER })

/** Are the device classes of sensors. Numbers that can be set take the same ones, but for those without a number. */
export const SENSOR_CLASSES: Readonly<Record<string, SensorClass>> = {
  date: { units: [null], stateClasses: [] },
  enum: { units: [null], stateClasses: [] },
  timestamp: { units: [null], stateClasses: [] },
  apparent_power: measured(['VA']),
  aqi: measured([null]),
  area: either(['m²', 'cm²', 'km²', 'mm²', 'in²', 'ft²', 'yd²', 'mi²', 'ac', 'ha']),
  atmospheric_pressure: measured(PRESSURE),
  battery: measured(['%']),
  carbon_dioxide: measured(['ppm']),
  carbon_monoxide: measured(['ppm']),
  conductivity: measured(['S/cm', 'mS/cm', 'µS/cm']),
  current: measured(['A', 'mA']),
  data_rate: measured([
    'bit/s',
    'kbit/s',
    'Mbit/s',
    'Gbit/s',
    'B/s',
    'kB/s',
    'MB/s',
    'GB/s',
    'KiB/s',
    'MiB/s',
    'GiB/s',
  ]),
  data_size: either(DATA),
  distance: either(LENGTH),
  duration: either(['s', 'min', 'h', 'd', 'ms']),
  energy: counted(ENERGY),
  energy_distance: measured(['kWh/100km', 'mi/kWh', 'km/kWh']),
  energy_storage: measured(ENERGY),
  frequency: measured(['Hz', 'kHz', 'MHz', 'GHz']),
  gas: counted(['m³', 'ft³', 'CCF']),
  humidity: measured(['%']),
  illuminance: measured(['lx']),
  irradiance: measured(['W/m²', 'BTU/(h⋅ft²)']),
  moisture: measured(['%']),
  monetary: { units: undefined, stateClasses: ['total'] },
  nitrogen_dioxide: measured(DUST),
  nitrogen_monoxide: measured(DUST),
  nitrous_oxide: measured(DUST),
  ozone: measured(DUST),
  ph: measured([null]),
  pm1: measured(DUST),
  pm10: measured(DUST),
  pm25: measured(DUST),
  power: measured(['W', 'kW', 'MW', 'GW', 'TW']),
  power_factor: measured([null, '%']),
  precipitation: either(['mm', 'cm', 'in']),
  precipitation_intensity: measured(RAIN),
  pressure: measured(PRESSURE),
  reactive_power: measured(['var']),
  signal_strength: measured(['dBm', 'dB']),
  sound_pressure: measured(['dB', 'dBA']),
  speed: measured([...SPEED, ...RAIN]),
  sulphur_dioxide: measured(DUST),
  temperature: measured(TEMPERATURE),
  volatile_organic_compounds: measured(DUST),
  volatile_organic_compounds_parts: measured(['ppm', 'ppb']),
  voltage: measured(['V', 'mV']),
  volume: counted(VOLUME),
  volume_flow_rate: measured(['m³/h', 'L/min', 'ft³/min', 'gal/min']),
  volume_storage: measured(VOLUME),
  water: counted(['L', 'm³', 'ft³', 'CCF', 'gal']),
  weight: either(['kg', 'g', 'mg', 'µg', 'oz', 'lb', 'st']),
  wind_direction: { units: ['°'], stateClasses: [] },
  wind_speed: measured(SPEED),
}

/** Are the classes whose state is no number. */
export const WORD_CLASSES: ReadonlySet<string> = new Set(['date', 'enum', 'timestamp'])

export const BINARY_CLASSES: ReadonlySet<string> = new Set(
  (
    'battery battery_charging carbon_monoxide cold connectivity door garage_door gas heat light lock moisture motion ' +
    'moving occupancy opening plug power presence problem running safety smoke sound tamper update vibration window'
  ).split(' '),
)
export const COVER_CLASSES: ReadonlySet<string> = new Set(
  'awning blind curtain damper door garage gate shade shutter window'.split(' '),
)
export const SWITCH_CLASSES: ReadonlySet<string> = new Set(['outlet', 'switch'])
export const EVENT_CLASSES: ReadonlySet<string> = new Set(['button', 'doorbell', 'motion'])

/** Says what a unit means where it can mean one thing only. */
export const CLASS_OF_UNIT: Readonly<Record<string, string>> = {
  '°C': 'temperature',
  '°F': 'temperature',
  K: 'temperature',
  V: 'voltage',
  mV: 'voltage',
  A: 'current',
  mA: 'current',
  W: 'power',
  kW: 'power',
  MW: 'power',
  VA: 'apparent_power',
  var: 'reactive_power',
  Wh: 'energy',
  kWh: 'energy',
  MWh: 'energy',
  J: 'energy',
  kJ: 'energy',
  MJ: 'energy',
  Hz: 'frequency',
  kHz: 'frequency',
  MHz: 'frequency',
  GHz: 'frequency',
  Pa: 'pressure',
  hPa: 'pressure',
  kPa: 'pressure',
  bar: 'pressure',
  mbar: 'pressure',
  lx: 'illuminance',
  kg: 'weight',
  g: 'weight',
  'm/s': 'speed',
  'km/h': 'speed',
  kn: 'speed',
  'W/m²': 'irradiance',
  'µS/cm': 'conductivity',
  'mm/h': 'precipitation_intensity',
  'm³/h': 'volume_flow_rate',
  'L/min': 'volume_flow_rate',
  dBm: 'signal_strength',
  s: 'duration',
  min: 'duration',
  h: 'duration',
  d: 'duration',
  ms: 'duration',
  m: 'distance',
  km: 'distance',
  cm: 'distance',
  mm: 'distance',
  B: 'data_size',
  kB: 'data_size',
  MB: 'data_size',
  GB: 'data_size',
}
