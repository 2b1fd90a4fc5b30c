import type { CommandDescription, Description, PropertyDescription } from '../../src/protocol/descriptions.ts'

/** Sixty devices as they describe themselves, and what Home Assistant is to make of each. */

export interface Animal {
  readonly name: string
  readonly description: Description
  /** Commands that it has and does not describe. */
  readonly bare?: readonly string[]
  /** The platform of each entity that comes of the description. */
  readonly entities: Readonly<Record<string, string>>
}

const set = (command: string, param: string) => ({ command, param })

function command(
  name: string,
  properties: Record<string, object> = {},
  required: string[] = [],
): CommandDescription {
  const input = { type: 'object', properties, required }
  return Object.keys(properties).length === 0 ? { name } : ({ name, input } as CommandDescription)
}

function property(name: string, type: PropertyDescription['type'], more: object = {}): PropertyDescription {
  return { name, topic: `data/${name}`, type, ...more }
}

function reading(name: string, more: object, type: PropertyDescription['type'] = 'number'): Animal {
  const own = property('value', type, { pointer: '/v', ...more })
  return { name, description: { properties: [own] }, entities: { property_value: 'sensor' } }
}

function contact(deviceClass: string): Animal {
  const own = property('state', 'boolean', { deviceClass })
  return {
    name: `${deviceClass} contact`,
    description: { properties: [own] },
    entities: { property_state: 'binary_sensor' },
  }
}

const LAMP = command('lamp.set', {
  on: { type: 'boolean' },
  brightness: { type: 'integer', minimum: 0, maximum: 254 },
  color_temp: { type: 'integer', minimum: 2200, maximum: 6500, unit: 'K' },
  effect: { type: 'string', enum: ['none', 'candle'] },
  color: { type: 'string', minLength: 7, maxLength: 7 },
})

/** Devices that do something. */
export const DOERS: readonly Animal[] = [
  {
    name: 'colour lamp',
    description: {
      model: 'L1',
      manufacturer: 'Example',
      area: 'Kitchen',
      configurationUrl: 'http://192.168.1.20/',
      commands: [LAMP],
      properties: [
        property('power', 'boolean', {
          topic: 'data/lamp',
          pointer: '/on',
          deviceClass: 'light',
          title: 'Lamp',
          set: set('lamp.set', 'on'),
        }),
        property('brightness', 'integer', {
          topic: 'data/lamp',
          pointer: '/bri',
          set: set('lamp.set', 'brightness'),
        }),
        property('color_temp', 'integer', {
          topic: 'data/lamp',
          pointer: '/ct',
          unit: 'K',
          set: set('lamp.set', 'color_temp'),
        }),
        property('effect', 'string', { topic: 'data/lamp', pointer: '/fx', set: set('lamp.set', 'effect') }),
        property('color', 'string', { topic: 'data/lamp', pointer: '/rgb', set: set('lamp.set', 'color') }),
      ],
    },
    entities: { property_power: 'light' },
  },
  {
    name: 'dimmer without a switch',
    description: {
      commands: [command('dim.set', { level: { type: 'number', minimum: 0, maximum: 1 } })],
      properties: [property('level', 'number', { deviceClass: 'light', set: set('dim.set', 'level') })],
    },
    entities: { property_level: 'light' },
  },
  {
    name: 'plug with a meter',
    description: {
      commands: [command('plug.set', { on: { type: 'boolean' } }, ['on'])],
      properties: [
        property('on', 'boolean', {
          topic: 'data/plug',
          pointer: '/on',
          deviceClass: 'outlet',
          set: set('plug.set', 'on'),
        }),
        property('power', 'number', { topic: 'data/plug', pointer: '/w', unit: 'W' }),
        property('energy', 'number', {
          topic: 'data/plug',
          pointer: '/e/total',
          unit: 'kW.h',
          deviceClass: 'energy',
          stateClass: 'total_increasing',
        }),
      ],
    },
    entities: { property_on: 'switch', property_power: 'sensor', property_energy: 'sensor' },
  },
  {
    name: 'blind with a position and a stop',
    description: {
      commands: [
        command('blind.set', { position: { type: 'integer', minimum: 0, maximum: 100 } }, ['position']),
      ],
      properties: [
        property('position', 'integer', { deviceClass: 'blind', set: set('blind.set', 'position') }),
      ],
    },
    bare: ['blind.stop'],
    entities: { property_position: 'cover' },
  },
  {
    name: 'garage door with three buttons',
    description: {
      properties: [
        property('door', 'string', { enum: ['open', 'closed', 'opening', 'closing'], deviceClass: 'garage' }),
      ],
    },
    bare: ['door.open', 'door.close', 'door.stop'],
    entities: { property_door: 'cover' },
  },
  {
    name: 'gate that is open or not',
    description: {
      commands: [command('gate.set', { open: { type: 'boolean' } }, ['open'])],
      properties: [property('gate', 'boolean', { deviceClass: 'gate', set: set('gate.set', 'open') })],
    },
    entities: { property_gate: 'cover' },
  },
  {
    name: 'lock that is set',
    description: {
      commands: [command('lock.set', { locked: { type: 'boolean' } }, ['locked'])],
      properties: [property('locked', 'boolean', { deviceClass: 'lock', set: set('lock.set', 'locked') })],
    },
    entities: { property_locked: 'lock' },
  },
  {
    name: 'lock with two commands and a jam',
    description: {
      properties: [
        property('bolt', 'string', { enum: ['locked', 'unlocked', 'jammed'], deviceClass: 'lock' }),
      ],
    },
    bare: ['bolt.lock', 'bolt.unlock'],
    entities: { property_bolt: 'lock' },
  },
  {
    name: 'fan with speeds and modes',
    description: {
      commands: [
        command('fan.set', {
          on: { type: 'boolean' },
          speed: { type: 'integer', minimum: 1, maximum: 6 },
          mode: { type: 'string', enum: ['auto', 'sleep'] },
        }),
      ],
      properties: [
        property('fan', 'boolean', { deviceClass: 'fan', set: set('fan.set', 'on') }),
        property('speed', 'integer', { set: set('fan.set', 'speed') }),
        property('mode', 'string', { enum: ['auto', 'sleep'], set: set('fan.set', 'mode') }),
      ],
    },
    entities: { property_fan: 'fan' },
  },
  {
    name: 'thermostat as numbers and words',
    description: {
      commands: [
        command('heat.target', { celsius: { type: 'number', minimum: 5, maximum: 30, multipleOf: 0.5 } }, [
          'celsius',
        ]),
        command('heat.mode', { mode: { type: 'string', enum: ['off', 'eco', 'comfort'] } }, ['mode']),
        command('heat.name', { text: { type: 'string', minLength: 1, maxLength: 20 } }, ['text']),
      ],
      properties: [
        property('target', 'number', {
          unit: 'Cel',
          deviceClass: 'temperature',
          set: set('heat.target', 'celsius'),
        }),
        property('mode', 'string', { enum: ['off', 'eco', 'comfort'], set: set('heat.mode', 'mode') }),
        property('label', 'string', { set: set('heat.name', 'text') }),
        property('room', 'number', { unit: 'Cel' }),
      ],
    },
    entities: {
      property_target: 'number',
      property_mode: 'select',
      property_label: 'text',
      property_room: 'sensor',
    },
  },
  {
    name: 'speaker by commands alone',
    description: {
      commands: [
        command('speaker.say', { text: { type: 'string', maxLength: 200 } }, ['text']),
        command('speaker.volume', { percent: { type: 'integer', minimum: 0, maximum: 100 } }, ['percent']),
        command('speaker.source', { source: { type: 'string', enum: ['radio', 'aux'] } }, ['source']),
        command('speaker.mute', { on: { type: 'boolean' } }, ['on']),
        command(
          'speaker.chime',
          { tone: { type: 'integer', default: 3 }, times: { type: 'integer', const: 1 } },
          ['tone', 'times'],
        ),
        command('speaker.mix', { left: { type: 'number' }, right: { type: 'number' } }, ['left', 'right']),
        command('speaker.preset', { number: { type: 'integer', enum: [1, 2, 3] } }, ['number']),
      ],
    },
    bare: ['speaker.stop'],
    entities: {
      'command_speaker.say': 'text',
      'command_speaker.volume': 'number',
      'command_speaker.source': 'select',
      'command_speaker.mute': 'switch',
      'command_speaker.chime': 'button',
      'command_speaker.preset': 'select',
      'command_speaker.stop': 'button',
    },
  },
  {
    name: 'camera',
    description: {
      properties: [
        property('live', 'string', { deviceClass: 'camera' }),
        property('still', 'string', { deviceClass: 'image', unit: 'base64' }),
        property('latest', 'string', { deviceClass: 'image', topic: 'data/latest', pointer: '/url' }),
      ],
    },
    bare: ['camera.snap'],
    entities: {
      property_live: 'camera',
      property_still: 'image',
      property_latest: 'image',
      'command_camera.snap': 'button',
    },
  },
  {
    name: 'doorbell',
    description: {
      properties: [property('bell', 'string', { enum: ['press', 'long'], deviceClass: 'doorbell' })],
    },
    entities: { property_bell: 'event' },
  },
  {
    name: 'washing machine in words',
    description: {
      properties: [
        property('phase', 'string', { enum: ['idle', 'wash', 'spin'] }),
        property('ready', 'string', { deviceClass: 'timestamp' }),
        property('note', 'string', {}),
        property('raw', 'object', {}),
        property('list', 'array', {}),
      ],
    },
    entities: { property_phase: 'sensor', property_ready: 'sensor', property_note: 'sensor' },
  },
  {
    name: 'names that are pieces of templates',
    description: {
      commands: [
        command('odd.set', { "{{ 7*7 }}'": { type: 'number', minimum: 0, maximum: 9 } }, ["{{ 7*7 }}'"]),
      ],
      properties: [
        property('odd', 'number', {
          topic: 'data/odd',
          pointer: "/{% raw %}~1'\\",
          title: '{{ states() }}',
          set: set('odd.set', "{{ 7*7 }}'"),
        }),
      ],
    },
    entities: { property_odd: 'number' },
  },
  {
    name: 'set by a command that needs more',
    description: {
      commands: [command('pair.set', { a: { type: 'number' }, b: { type: 'number' } }, ['a', 'b'])],
      properties: [property('a', 'number', { set: set('pair.set', 'a') })],
    },
    entities: { property_a: 'sensor' },
  },
]

/** Devices that only measure: unit of UCUM or of Home Assistant's, device class, state class. */
export const WATCHERS: readonly Animal[] = [
  reading('thermometer', { unit: 'Cel', deviceClass: 'temperature', stateClass: 'measurement' }),
  reading('thermometer in Fahrenheit', { unit: '[degF]' }),
  reading('hygrometer without a unit', { deviceClass: 'humidity' }),
  reading('barometer', { unit: 'hPa', deviceClass: 'atmospheric_pressure' }),
  reading('carbon dioxide', { unit: '[ppm]', deviceClass: 'carbon_dioxide' }),
  reading('fine dust', { unit: 'ug/m3', deviceClass: 'pm25' }),
  reading('organic compounds', { unit: '[ppb]', deviceClass: 'volatile_organic_compounds_parts' }),
  reading('energy meter', { unit: 'kW.h', deviceClass: 'energy', stateClass: 'measurement' }),
  reading('energy meter in Wh', { unit: 'W.h' }),
  reading('battery pack', { unit: 'kW.h', deviceClass: 'energy_storage', stateClass: 'total_increasing' }),
  reading('power', { unit: 'W', deviceClass: 'power', stateClass: 'total_increasing' }),
  reading('water meter', { unit: 'm3', deviceClass: 'water' }),
  reading('gas meter in litres', { unit: 'L', deviceClass: 'gas' }),
  reading('rain', { unit: 'mm', deviceClass: 'precipitation', stateClass: 'total_increasing' }),
  reading('rain an hour', { unit: 'mm/h' }),
  reading('wind', { unit: 'm/s', deviceClass: 'wind_speed' }),
  reading('wind direction', { unit: 'deg', deviceClass: 'wind_direction', stateClass: 'measurement' }),
  reading('scales', { unit: 'kg' }),
  reading('noise', { unit: 'dB', deviceClass: 'sound_pressure' }),
  reading('radio', { unit: 'dB[mW]', deviceClass: 'signal_strength' }),
  reading('voltage', { unit: 'mV' }),
  reading('light', { unit: 'lx' }),
  reading('sun', { unit: 'W/m2' }),
  reading('acid', { deviceClass: 'ph' }),
  reading('acid with a unit', { deviceClass: 'ph', unit: 'pH' }),
  reading('money', { unit: 'EUR', deviceClass: 'monetary', stateClass: 'measurement' }),
  reading('temperature in volts', { unit: 'V', deviceClass: 'temperature' }),
  reading('class that nobody knows', { unit: 'Cel', deviceClass: 'warmth' }),
  reading('unit that nobody knows', { unit: 'parsec' }),
  reading('counter', { stateClass: 'total_increasing' }, 'integer'),
  reading('soil', { unit: '%', deviceClass: 'moisture' }),
  reading('salt', { unit: 'uS/cm' }),
  reading('download', { unit: 'By/s', deviceClass: 'data_rate' }),
  reading('uptime', { unit: 's', deviceClass: 'duration' }),
  ...['door', 'window', 'motion', 'smoke', 'moisture', 'garage', 'lock', 'battery', 'unknown_class'].map(
    contact,
  ),
  {
    name: 'thermometer that sleeps',
    description: { properties: [property('temperature', 'number', { unit: 'Cel' })] },
    entities: { property_temperature: 'sensor' },
  },
]

export const ZOO: readonly Animal[] = [...DOERS, ...WATCHERS]
