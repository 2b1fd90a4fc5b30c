import { describe, expect, it } from 'vitest'
import type { NodeRecord } from '../../src/domain/records.ts'
import { DeviceIds } from '../../src/homeassistant/ids.ts'
import {
  bridgeDiscovery,
  type Discovery,
  limbDiscovery,
  type Place,
} from '../../src/homeassistant/payloads.ts'
import { adapterSchema } from '../../src/protocol/adapter.ts'
import { descriptionSchema } from '../../src/protocol/descriptions.ts'
import { topicsOf } from '../../src/protocol/topics.ts'
import type { Loose } from '../support/client.ts'
import { needs } from '../support/needs.ts'
import { homeAssistant, type Render } from './python.ts'
import { nodeRecord } from './record.ts'
import { type Animal, ZOO } from './zoo.ts'

needs('jinja', 'voluptuous')

const topics = topicsOf('limb')
const place: Place = {
  topics,
  ids: new DeviceIds('homeassistant', topics),
  principal: 'homeassistant',
  pairingSeconds: 300,
  version: '1.0.0',
  presence: { stateRefreshSeconds: 60 },
}
const REQUEST = 'limb/principal/homeassistant/request/invoke'

function recordOf(animal: Animal, more: Partial<NodeRecord> = {}): NodeRecord {
  const { description, bare = [] } = animal
  const commands = [...(description.commands ?? []).map(({ name }) => name), ...bare]
  return nodeRecord({
    displayName: animal.name,
    capabilities: commands.length === 0 ? [] : [{ cap: 'device', commands, authLevel: 'free' }],
    ownDescription: descriptionSchema.parse(description),
    ...more,
  })
}

function discovery(animal: Animal, more: Partial<NodeRecord> = {}): Discovery & Loose {
  return limbDiscovery(place, recordOf(animal, more), ['load'], 45) as Discovery & Loose
}

function animal(name: string): Animal {
  const found = ZOO.find((each) => each.name === name)
  if (found === undefined) throw new Error(`there is no ${name} in the zoo`)
  return found
}

/** The entities that come of the description, not of presence and metrics. */
function described(message: Discovery): Record<string, string> {
  const entries = Object.entries(message.components).filter(([id]) => /^(property|command)_/.test(id))
  return Object.fromEntries(entries.map(([id, { platform }]) => [id, platform]))
}

function rendered(...renders: readonly Render[]): readonly string[] {
  return homeAssistant([], renders).rendered
}

/** The parameters of an invocation that Home Assistant would publish. */
function paramsOf(payload: string): Loose {
  const { nodeId, command, params } = JSON.parse(payload) as Loose
  expect(nodeId).toBe('cam1')
  expect(typeof command).toBe('string')
  return params
}

describe('sixty described devices in Home Assistant', () => {
  it('are taken by its schemas, every one, with and without somewhere to ask for an invocation', () => {
    expect(ZOO).toHaveLength(60)
    const messages = ZOO.flatMap((each, i) => {
      const more = { nodeId: `cam${i}`, presence: i % 3 === 0 ? ('sleepy' as const) : null }
      const at = (root: string) => `homeassistant/device/${root}_cam${i}/config`
      const silent = { ...place, ids: new DeviceIds('homeassistant', topicsOf('up')), principal: undefined }
      return [
        [at('limb'), limbDiscovery(place, recordOf(each, more), ['a_celsius', 'b_watts_total', 'c'], 45)],
        [at('up'), limbDiscovery(silent, recordOf(each, more), ['a_kwh'], 45)],
      ] as const
    })
    const bridge = ['homeassistant/device/limb__bridge/config', bridgeDiscovery(place)] as const
    expect(homeAssistant([...messages, bridge]).problems).toEqual([])
  })

  it.each(ZOO.map((each) => [each.name, each] as const))('%s has the entities of its kind', (_name, each) => {
    expect(described(discovery(each))).toEqual(each.entities)
  })

  it('have nothing to press where no requests are taken', () => {
    for (const each of ZOO) {
      const message = limbDiscovery({ ...place, principal: undefined }, recordOf(each), [])
      for (const component of Object.values(message.components))
        expect(component.command_topic).toBeUndefined()
    }
  })
})

describe('a schema of Home Assistant', () => {
  it('refuses a class with a foreign unit, an unknown option and a state class that does not belong there', () => {
    const good = discovery(animal('thermometer'))
    const changed = (more: object) => {
      const components = {
        ...good.components,
        property_value: { ...good.components.property_value, ...more },
      }
      return homeAssistant([['homeassistant/device/limb_cam1/config', { ...good, components }]]).problems
    }
    expect(changed({})).toEqual([])
    expect(changed({ unit_of_measurement: 'V' })).toHaveLength(1)
    expect(changed({ state_class: 'total_increasing' })).toHaveLength(1)
    expect(changed({ colour: 'red' })).toHaveLength(1)
    expect(changed({ value_template: '{{ value' })).toHaveLength(1)
  })
})

describe('a described device', () => {
  it('is shown with its maker, model, room and page', () => {
    const message = discovery(animal('colour lamp'))
    expect(message.device).toMatchObject({
      model: 'L1',
      manufacturer: 'Example',
      suggested_area: 'Kitchen',
      configuration_url: 'http://192.168.1.20/',
    })
    expect(message.origin).toMatchObject({
      name: 'Limb Bridge',
      support_url: expect.stringMatching(/^https:/),
    })
  })

  it('is a light whose state, brightness, warmth, effect and colour come from its data and go to its command', () => {
    const lamp = discovery(animal('colour lamp')).components.property_power as Loose
    expect(lamp).toMatchObject({
      command_topic: REQUEST,
      state_topic: 'limb/node/cam1/data/lamp',
      brightness_scale: 254,
    })
    const state = '{"on":true,"bri":127,"ct":2700,"fx":"candle","rgb":"#ff8000"}'
    const [on, off, gone, brightness, warmth, effect, rgb, setBrightness, setWarmth, setEffect, setColor] =
      rendered(
        [lamp.state_value_template, state],
        [lamp.state_value_template, '{"on":false}'],
        [lamp.state_value_template, '{}'],
        [lamp.brightness_value_template, state],
        [lamp.color_temp_value_template, state],
        [lamp.effect_value_template, state],
        [lamp.rgb_value_template, state],
        [lamp.brightness_command_template, null, { value: 254 }],
        [lamp.color_temp_command_template, null, { value: 4000 }],
        [lamp.effect_command_template, null, { value: 'candle' }],
        [lamp.rgb_command_template, null, { red: 1, green: 255, blue: 16 }],
      ) as string[]
    expect([on, off, gone]).toEqual([lamp.payload_on, lamp.payload_off, 'None'])
    expect([brightness, warmth, effect, rgb]).toEqual(['127', '2700', 'candle', '255,128,0'])
    expect(paramsOf(lamp.payload_on)).toEqual({ on: true })
    expect(paramsOf(setBrightness as string)).toEqual({ brightness: 254 })
    expect(paramsOf(setWarmth as string)).toEqual({ color_temp: 4000 })
    expect(paramsOf(setEffect as string)).toEqual({ effect: 'candle' })
    expect(paramsOf(setColor as string)).toEqual({ color: '#01ff10' })
  })

  it('is a switch, a number, a choice and a text that read what it says and send one parameter', () => {
    const plug = discovery(animal('plug with a meter')).components.property_on as Loose
    expect([plug.device_class, plug.state_on, plug.state_off]).toEqual(['outlet', 'ON', 'OFF'])
    expect(paramsOf(plug.payload_off)).toEqual({ on: false })
    const {
      property_target: target,
      property_mode: mode,
      property_label: label,
    } = discovery(animal('thermostat as numbers and words')).components as Loose
    expect(target).toMatchObject({ min: 5, max: 30, step: 0.5, mode: 'slider', unit_of_measurement: '°C' })
    expect(mode.options).toEqual(['off', 'eco', 'comfort'])
    expect([label.min, label.max]).toEqual([1, 20])
    const [on, off, warm, eco, text] = rendered(
      [plug.value_template, '{"on": 1}'],
      [plug.value_template, '{"on": "OFF"}'],
      [target.command_template, null, { value: 21.5 }],
      [mode.command_template, null, { value: 'eco' }],
      [label.command_template, null, { value: 'a "quoted" {{ word }} </b>' }],
    ) as string[]
    expect([on, off]).toEqual(['ON', 'OFF'])
    expect(paramsOf(warm as string)).toEqual({ celsius: 21.5 })
    expect(paramsOf(eco as string)).toEqual({ mode: 'eco' })
    expect(paramsOf(text as string)).toEqual({ text: 'a "quoted" {{ word }} </b>' })
  })

  it('is a cover with a position, with buttons, or with open and closed', () => {
    const blind = discovery(animal('blind with a position and a stop')).components.property_position as Loose
    expect(paramsOf(blind.payload_open)).toEqual({ position: 100 })
    expect(paramsOf(blind.payload_close)).toEqual({ position: 0 })
    expect(JSON.parse(blind.payload_stop).command).toBe('blind.stop')
    const garage = discovery(animal('garage door with three buttons')).components.property_door as Loose
    expect(JSON.parse(garage.payload_open).command).toBe('door.open')
    expect(JSON.parse(garage.payload_close).command).toBe('door.close')
    const gate = discovery(animal('gate that is open or not')).components.property_gate as Loose
    expect(gate.payload_stop).toBeNull()
    const [position, setPosition, opening, closed] = rendered(
      [blind.position_template, '42'],
      [blind.set_position_template, null, { value: 42, position: 42 }],
      [garage.value_template, 'opening'],
      [gate.value_template, 'false'],
    ) as string[]
    expect(position).toBe('42')
    expect(paramsOf(setPosition as string)).toEqual({ position: 42 })
    expect([opening, closed]).toEqual(['opening', 'closed'])
  })

  it('is a lock and a fan', () => {
    const lock = discovery(animal('lock that is set')).components.property_locked as Loose
    expect(paramsOf(lock.payload_lock)).toEqual({ locked: true })
    const bolt = discovery(animal('lock with two commands and a jam')).components.property_bolt as Loose
    expect(JSON.parse(bolt.payload_unlock).command).toBe('bolt.unlock')
    const fan = discovery(animal('fan with speeds and modes')).components.property_fan as Loose
    expect([fan.speed_range_min, fan.speed_range_max, fan.preset_modes]).toEqual([1, 6, ['auto', 'sleep']])
    const [locked, jammed, running, speed, mode] = rendered(
      [lock.value_template, 'true'],
      [bolt.value_template, 'jammed'],
      [fan.state_value_template, 'true'],
      [fan.percentage_command_template, null, { value: 4 }],
      [fan.preset_mode_command_template, null, { value: 'sleep' }],
    ) as string[]
    expect([locked, jammed, running]).toEqual(['LOCKED', 'JAMMED', fan.payload_on])
    expect(paramsOf(speed as string)).toEqual({ speed: 4 })
    expect(paramsOf(mode as string)).toEqual({ mode: 'sleep' })
  })

  it('is an event, a picture and words', () => {
    const bell = discovery(animal('doorbell')).components.property_bell as Loose
    const camera = discovery(animal('camera')).components as Loose
    expect(camera.property_live.topic).toBe('limb/node/cam1/data/live')
    expect(camera.property_still.image_encoding).toBe('b64')
    const { property_note: note, property_phase: phase } = discovery(animal('washing machine in words'))
      .components as Loose
    expect(phase).toMatchObject({ device_class: 'enum', options: ['idle', 'wash', 'spin'] })
    const [press, url, long, quoted] = rendered(
      [bell.value_template, 'press'],
      [camera.property_latest.url_template, '{"url": "http://cam/1.jpg"}'],
      [note.value_template, 'x'.repeat(300)],
      [note.value_template, '"as JSON"'],
    ) as string[]
    expect(JSON.parse(press as string)).toEqual({ event_type: 'press' })
    expect([url, long, quoted]).toEqual(['http://cam/1.jpg', 'x'.repeat(255), 'as JSON'])
  })

  it('may have names that are pieces of templates, and they stay names', () => {
    const odd = discovery(animal('names that are pieces of templates')).components.property_odd as Loose
    const [value, payload] = rendered(
      [odd.value_template, JSON.stringify({ "{% raw %}/'\\": 5 })],
      [odd.command_template, null, { value: 5 }],
    ) as string[]
    expect(value).toBe('5')
    expect(paramsOf(payload as string)).toEqual({ "{{ 7*7 }}'": 5 })
  })

  it('takes a class only with a unit of its own, and a counter only where one can be', () => {
    const of = (name: string) => {
      const { device_class, unit_of_measurement, state_class } = discovery(animal(name)).components
        .property_value as Loose
      return [device_class, unit_of_measurement, state_class]
    }
    expect(of('energy meter')).toEqual(['energy', 'kWh', 'total_increasing'])
    expect(of('energy meter in Wh')).toEqual(['energy', 'Wh', 'total_increasing'])
    expect(of('power')).toEqual(['power', 'W', 'measurement'])
    expect(of('hygrometer without a unit')).toEqual(['humidity', '%', 'measurement'])
    expect(of('temperature in volts')).toEqual([undefined, 'V', 'measurement'])
    expect(of('gas meter in litres')).toEqual([undefined, 'L', 'measurement'])
    expect(of('wind direction')).toEqual(['wind_direction', '°', undefined])
    expect(of('counter')).toEqual([undefined, undefined, 'total_increasing'])
  })

  it('is watched while it sleeps, and not pressed', () => {
    const thermostat = animal('thermostat as numbers and words')
    const { components, availability } = discovery(thermostat, { presence: 'sleepy' }) as Loose
    expect(components.property_room.expire_after).toBeUndefined()
    expect(components.property_room.availability).toBeUndefined()
    const [watch, press] = rendered(
      [availability[1].value_template, 'asleep'],
      [components.property_target.availability[1].value_template, 'asleep'],
    )
    expect([watch, press]).toEqual(['online', 'offline'])
    const awake = discovery(thermostat).components as Loose
    expect(awake.property_room.expire_after).toBe(86_400)
    expect(awake.metric_load.expire_after).toBe(180)
  })

  it('has an entity for a gated command, and none for a leased one', () => {
    const of = (authLevel: 'gated' | 'leased') =>
      described(
        discovery(animal('lock that is set'), {
          capabilities: [{ cap: 'lock', commands: ['lock.set'], authLevel }],
        }),
      )
    expect(of('gated')).toEqual({ property_locked: 'lock' })
    expect(of('leased')).toEqual({ property_locked: 'binary_sensor' })
  })
})

describe('a metric', () => {
  it('is named without its unit, and is a counter only where there can be one', () => {
    const { components } = limbDiscovery(place, nodeRecord(), [
      'temperature_celsius',
      'outside_temperature_celsius',
      'load_watts_total',
      'mains_kwh',
      'air_co2_ppm',
      'power_watts',
      'power_kilowatts',
      'dust_pm25_micrograms_per_cubic_meter',
      'rain_millimeters_total',
    ]) as Loose
    const shown = Object.fromEntries(
      Object.entries(components as Loose)
        .filter(([id]) => id.startsWith('metric_'))
        .map(([id, { name, device_class, state_class }]: [string, Loose]) => [
          id.slice(7),
          [name, device_class, state_class],
        ]),
    )
    expect(shown).toEqual({
      temperature_celsius: ['Temperature', 'temperature', 'measurement'],
      outside_temperature_celsius: ['Outside temperature', 'temperature', 'measurement'],
      load_watts_total: ['Load', 'power', 'measurement'],
      mains_kwh: ['Mains', 'energy', 'total_increasing'],
      air_co2_ppm: ['Air co2', 'carbon_dioxide', 'measurement'],
      power_watts: ['Power watts', 'power', 'measurement'],
      power_kilowatts: ['Power kilowatts', 'power', 'measurement'],
      dust_pm25_micrograms_per_cubic_meter: ['Dust pm25', 'pm25', 'measurement'],
      rain_millimeters_total: ['Rain', 'precipitation', 'total_increasing'],
    })
  })
})

describe('a device of foreign firmware in Home Assistant', () => {
  const lamp = (warmth: object): Animal => ({
    name: 'foreign lamp',
    description: {
      commands: [
        {
          name: 'bulb.set',
          input: { type: 'object', properties: { on: { type: 'boolean' }, warmth: { type: 'number' } } },
        },
      ],
      properties: [
        {
          name: 'bulb',
          topic: 'data/bulb',
          type: 'boolean',
          deviceClass: 'light',
          set: { command: 'bulb.set', param: 'on' },
        },
        {
          name: 'bulb_warmth',
          topic: 'data/bulb_warmth',
          type: 'number',
          set: { command: 'bulb.set', param: 'warmth' },
          ...warmth,
        },
      ],
    },
    entities: { property_bulb: 'light' },
  })

  it.each([
    ['mireds by its name', { name: 'bulb_mireds', minimum: 153, maximum: 500 }, { min: 153, max: 500 }],
    ['mireds by its bounds', { name: 'color_temp', minimum: 200, maximum: 380 }, { min: 200, max: 380 }],
    ['mireds by its unit', { name: 'color_temp', unit: 'mired' }, {}],
  ])('has its warmth in %s', (_name, warmth, { min, max }: { min?: number; max?: number }) => {
    const message = discovery(lamp(warmth))
    const light = message.components.property_bulb as Loose
    expect(light.color_temp_command_topic).toBe(REQUEST)
    expect([light.color_temp_kelvin, light.min_mireds, light.max_mireds]).toEqual([undefined, min, max])
    expect(homeAssistant([[place.ids.topic('limb_cam1'), message]]).problems).toEqual([])
  })

  it.each([
    ['kelvin by its name', { name: 'bulb_kelvin', maximum: 900 }],
    ['kelvin by its unit', { name: 'color_temp', unit: 'K', maximum: 900 }],
    ['kelvin where nothing else is said', { name: 'color_temp' }],
  ])('has its warmth in %s', (_name, warmth) => {
    const light = discovery(lamp(warmth)).components.property_bulb as Loose
    expect(light.color_temp_kelvin).toBe(true)
  })

  it('stands behind the limb whose session speaks for it', () => {
    const record = {
      kind: 'homeassistant',
      via: 'z2m',
      device: 'bulb',
      displayName: 'Bulb',
      platform: 'x',
      availabilityMode: 'all',
      entities: [],
    } as const
    const behind = (adapter: NodeRecord['adapter']) =>
      (limbDiscovery(place, nodeRecord({ adapter }), []).device as Loose).via_device
    expect(behind(adapterSchema.parse(record))).toBe('limb_z2m')
    expect(behind(adapterSchema.parse({ ...record, via: undefined }))).toBe('limb__bridge')
  })
})
