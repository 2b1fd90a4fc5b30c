import { describe, expect, it } from 'vitest'
import { tasmotaRecord } from '../../src/adapters/tasmota/device.ts'
import {
  commandOf,
  ForeignPayload,
  messagesOf,
  propertyValueOf,
  registrationOf,
} from '../../src/domain/adapter.ts'
import { type AdapterRecord, adapterSchema } from '../../src/protocol/adapter.ts'
import { storedRegistrationSchema } from '../../src/protocol/schemas.ts'

/** Tasmota's lights, shutters, fans, buttons and switches, in the form of `tasmota/discovery/<MAC>/config`; relays stand in test/app/adapters. */

const MAC = 'A4CF12B3C4D5'
const CONFIG = {
  ip: '192.168.1.62',
  dn: 'Ceiling',
  fn: ['Ceiling', null, null, null, null, null, null, null],
  hn: 'tasmota-b3c4d5-1237',
  mac: MAC,
  md: 'Generic',
  ofln: 'Offline',
  onln: 'Online',
  state: ['OFF', 'ON', 'TOGGLE', 'HOLD'],
  sw: '14.2.0',
  t: 'lamp',
  ft: '%prefix%/%topic%/',
  tp: ['cmnd', 'stat', 'tele'],
  rl: [2, 0, 0, 0, 0, 0, 0, 0],
  so: { 17: 0, 30: 0, 37: 0, 68: 0, 82: 0 },
  lk: 1,
  lt_st: 0,
  sho: [0, 0, 0, 0],
  sht: [[0, 0, 0]],
  ver: 1,
}

function read(config: object, sensors?: object): AdapterRecord {
  const entries: [string, object][] = [[`${MAC}/config`, { ...CONFIG, ...config }]]
  if (sensors) entries.push([`${MAC}/sensors`, { sn: sensors, ver: 1 }])
  const messages = new Map(entries.map(([place, value]) => [place, Buffer.from(JSON.stringify(value))]))
  const record = tasmotaRecord(messages, 'lamp')
  if (record === undefined || typeof record === 'string') throw new Error(String(record))
  storedRegistrationSchema.parse(registrationOf(record))
  return adapterSchema.parse(record)
}

/** The messages that a command would send. */
function sent(record: AdapterRecord, name: string, params: Readonly<Record<string, unknown>> = {}): string[] {
  const command = commandOf(record, name)
  if (command === undefined) throw new Error(`there is no ${name}`)
  return messagesOf(command, params).map(({ topic, payload }) => `${topic} ${payload}`)
}

/** What the properties are after a message. */
function valuesAfter(
  record: AdapterRecord,
  topic: string,
  message: object,
): Readonly<Record<string, unknown>> {
  const payload = new ForeignPayload(Buffer.from(JSON.stringify(message)))
  const types = new Map(record.entities.flatMap(({ properties }) => properties).map((p) => [p.name, p.type]))
  const sources = record.entities.flatMap((entity) => entity.sources)
  return Object.fromEntries(
    sources
      .filter((source) => source.topic === topic)
      .map((source) => [source.property, propertyValueOf(payload, source, types.get(source.property) ?? '')])
      .filter(([, value]) => value !== undefined),
  )
}

const names = ({ entities }: AdapterRecord) => entities.map(({ name }) => name)
const paramsOf = (record: AdapterRecord, name: string) =>
  Object.keys(commandOf(record, name)?.input?.properties ?? {})
const RESULT = 'stat/lamp/RESULT'

describe('a light of Tasmota', () => {
  it.each([
    [0, ['on']],
    [1, ['on', 'brightness']],
    [2, ['on', 'brightness', 'mireds']],
    [3, ['on', 'brightness', 'colour_hex']],
    [4, ['on', 'brightness', 'colour_hex']],
    [5, ['on', 'brightness', 'mireds', 'colour_hex']],
  ])('of the subtype %i has %j', (lt_st, params) => {
    expect(paramsOf(read({ lt_st }), 'power1.set')).toEqual(params)
  })

  it('is set by one message for each value, and says its state in the answer and in the telemetry', () => {
    const record = read({ lt_st: 5 })
    const params = { on: true, brightness: 40, mireds: 300, colour_hex: 'FF8800' }
    expect(sent(record, 'power1.set', params)).toEqual([
      'cmnd/lamp/POWER1 ON',
      'cmnd/lamp/Dimmer 40',
      'cmnd/lamp/CT 300',
      'cmnd/lamp/Color FF8800',
    ])
    const state = { POWER: 'ON', Dimmer: 40, Color: 'FF88000000', HSBColor: '32,100,40', CT: 300 }
    const values = {
      power1: true,
      power1_brightness: 40,
      power1_mireds: 300,
      power1_colour_hex: 'FF88000000',
    }
    expect(valuesAfter(record, RESULT, state)).toEqual(values)
    expect(valuesAfter(record, 'tele/lamp/STATE', { Time: 'x', ...state, Wifi: { Signal: -61 } })).toEqual({
      ...values,
      wifi_signal: -61,
    })
    expect(valuesAfter(record, RESULT, { POWER: 'UNKNOWN', Dimmer: 'NaN' })).toEqual({})
  })

  it('whose colours and white are apart is two lights, with a dimmer each', () => {
    const record = read({ lt_st: 5, lk: 0, rl: [2, 2, 0, 0, 0, 0, 0, 0], so: { 37: 128 } })
    expect(paramsOf(record, 'power1.set')).toEqual(['on', 'brightness', 'colour_hex'])
    expect(paramsOf(record, 'power2.set')).toEqual(['on', 'brightness', 'mireds'])
    expect(sent(record, 'power1.set', { brightness: 9, colour_hex: '00FF00' })).toEqual([
      'cmnd/lamp/Dimmer1 9',
      'cmnd/lamp/Color 00FF00=',
    ])
    expect(sent(record, 'power2.set', { on: false, brightness: 8 })).toEqual([
      'cmnd/lamp/POWER2 OFF',
      'cmnd/lamp/Dimmer2 8',
    ])
    expect(valuesAfter(record, RESULT, { POWER1: 'ON', POWER2: 'OFF', Dimmer1: 9, Dimmer2: 8 })).toEqual({
      power1: true,
      power2: false,
      power1_brightness: 9,
      power2_brightness: 8,
    })
  })

  it('whose channels are lights of their own has as many dimmers, behind a relay too', () => {
    const record = read({ lt_st: 3, rl: [1, 2, 2, 2, 0, 0, 0, 0], so: { 68: 1 } })
    expect(sent(record, 'power2.set', { brightness: 1 })).toEqual(['cmnd/lamp/Channel1 1'])
    expect(sent(record, 'power4.set', { brightness: 3 })).toEqual(['cmnd/lamp/Channel3 3'])
    expect(names(record)).toEqual(['power1', 'power2', 'power3', 'power4', 'wifi_signal'])
  })

  it('has the warmth that SetOption82 leaves it, and the words that it calls on and off', () => {
    const record = read({ lt_st: 2, so: { 82: 1 }, state: ['Aus', 'An', 'Um', 'Halten'] })
    const bounds = commandOf(record, 'power1.set')?.input?.properties?.mireds
    expect(bounds).toMatchObject({ minimum: 200, maximum: 380 })
    expect(sent(record, 'power1.set', { on: true })).toEqual(['cmnd/lamp/POWER1 An'])
    expect(valuesAfter(record, RESULT, { POWER: 'Aus' })).toEqual({ power1: false })
  })

  it('may be a relay that its owner calls a light', () => {
    const classes = (so: object) =>
      read({ rl: [1, 0], so }).entities[0]?.properties.map(({ deviceClass }) => deviceClass)
    expect(classes({ 30: 1 })).toEqual(['light'])
    expect(classes({ 30: 0 })).toEqual([undefined])
  })
})

describe('a shutter of Tasmota', () => {
  const SHUTTERS = { rl: [3, 3, 3, 3, 1, 0, 0, 0], sho: [0, 1, 0, 0], fn: ['Left', null, 'Right'] }

  it('takes two outputs, is opened, closed, stopped and moved, and says where it is', () => {
    const record = read(SHUTTERS)
    expect(names(record)).toEqual(['power5', 'shutter1', 'shutter2', 'wifi_signal'])
    expect(record.entities[1]?.properties[0]).toMatchObject({ title: 'Left', deviceClass: 'shutter' })
    for (const word of ['Open', 'Close', 'Stop'])
      expect(sent(record, `shutter1.${word.toLowerCase()}`)).toEqual([`cmnd/lamp/Shutter${word}1 `])
    expect(sent(record, 'shutter1.set', { position: 30 })).toEqual(['cmnd/lamp/ShutterPosition1 30'])
    const message = { Shutter1: { Position: 30, Direction: 0, Target: 30, Tilt: 0 } }
    expect(valuesAfter(record, RESULT, message)).toEqual({ shutter1: 30 })
    expect(valuesAfter(record, 'tele/lamp/SENSOR', { Time: 'x', ...message })).toEqual({ shutter1: 30 })
  })

  it('that counts from the other end is turned round, both ways', () => {
    const record = read(SHUTTERS)
    expect(sent(record, 'shutter2.set', { position: 30 })).toEqual(['cmnd/lamp/ShutterPosition2 70'])
    expect(valuesAfter(record, RESULT, { Shutter2: { Position: 70 } })).toEqual({ shutter2: 30 })
  })

  it('is no sensor besides, and half of one is none', () => {
    const record = read(SHUTTERS, { Shutter1: { Position: 0, Direction: 0 }, ANALOG: { A0: 3 } })
    expect(names(record)).toEqual(['power5', 'shutter1', 'shutter2', 'wifi_signal', 'analog_a0'])
    expect(names(read({ rl: [3, 1, 3], sho: 'x' }))).toEqual(['power2', 'wifi_signal'])
  })
})

describe('a shutter of Tasmota whose slats turn', () => {
  const BLINDS = {
    rl: [3, 3, 3, 3, 0, 0, 0, 0],
    sht: [
      [-90, 90, 24],
      [0, 0, 0],
    ],
  }

  it('has their angle in degrees, within the bounds that it names', () => {
    const record = read(BLINDS)
    expect(commandOf(record, 'shutter1.set')?.input?.properties?.tilt).toMatchObject({
      unit: 'deg',
      minimum: -90,
      maximum: 90,
    })
    expect(sent(record, 'shutter1.set', { tilt: -30 })).toEqual(['cmnd/lamp/ShutterTilt1 -30'])
    expect(sent(record, 'shutter1.set', { position: 40, tilt: 0 })).toEqual([
      'cmnd/lamp/ShutterPosition1 40',
      'cmnd/lamp/ShutterTilt1 0',
    ])
    const message = { Shutter1: { Position: 40, Direction: 0, Target: 40, Tilt: -30 } }
    expect(valuesAfter(record, RESULT, message)).toEqual({ shutter1: 40, shutter1_tilt: -30 })
    expect(valuesAfter(record, 'tele/lamp/SENSOR', message)).toEqual({ shutter1: 40, shutter1_tilt: -30 })
  })

  it.each([
    ['that do not turn', [0, 0, 0]],
    ['that take no time to', [-90, 90, 0]],
    ['with one bound', [90]],
    ['with bounds that are none', ['-90', { a: 1 }, 24]],
    ['that would turn a thousand times', [-360_000, 90, 24]],
  ])('has no angle for slats %s', (_name, sht) => {
    expect(paramsOf(read({ ...BLINDS, sht: [sht] }), 'shutter1.set')).toEqual(['position'])
  })
})

describe('a fan of Tasmota', () => {
  const FAN = { if: 1, rl: [1, 1, 1, 1, 0, 0, 0, 0], fn: ['Ceiling'] }

  it('has three speeds, is switched on with the middle one, and stands beside its light', () => {
    const record = read(FAN)
    expect(names(record)).toEqual(['power1', 'fan', 'wifi_signal'])
    expect(record.entities.map(({ properties }) => properties[0]?.deviceClass)).toEqual([
      'light',
      'fan',
      'signal_strength',
    ])
    expect(paramsOf(record, 'power1.set')).toEqual(['on'])
    expect(sent(record, 'fan.set', { on: true })).toEqual(['cmnd/lamp/FanSpeed 2'])
    expect(sent(record, 'fan.set', { on: false })).toEqual(['cmnd/lamp/FanSpeed 0'])
    expect(sent(record, 'fan.set', { speed: 3 })).toEqual(['cmnd/lamp/FanSpeed 3'])
    expect(valuesAfter(record, RESULT, { FanSpeed: 0 })).toEqual({ fan: false, fan_speed: 0 })
    expect(valuesAfter(record, 'tele/lamp/STATE', { POWER1: 'ON', FanSpeed: 3 })).toEqual({
      power1: true,
      fan: true,
      fan_speed: 3,
    })
    expect(valuesAfter(record, RESULT, { FanSpeed: 'x' })).toEqual({})
  })

  it('is none where the device has none', () => {
    expect(names(read({ ...FAN, if: 0 }))).toEqual(['power1', 'power2', 'power3', 'power4', 'wifi_signal'])
  })
})

describe('what a person presses on a device of Tasmota', () => {
  const INPUTS = {
    rl: [1, 0, 0, 0, 0, 0, 0, 0],
    btn: [1, 0, 1, 0],
    swc: [-1, 1, 0, -1],
    swn: [null, 'Door\u001b[31m contact', null, null],
    so: { 73: 1, 114: 1 },
  }

  it('is a button that tells how it was pressed', () => {
    const record = read(INPUTS)
    expect(names(record)).toEqual(['power1', 'button1', 'button3', 'switch2', 'switch3', 'wifi_signal'])
    expect(record.entities[1]?.properties).toMatchObject([
      {
        name: 'button1',
        type: 'string',
        deviceClass: 'button',
        readOnly: true,
        enum: ['SINGLE', 'DOUBLE', 'TRIPLE', 'QUAD', 'PENTA', 'HOLD'],
      },
    ])
    expect(valuesAfter(record, RESULT, { Button3: { Action: 'DOUBLE' } })).toEqual({ button3: 'DOUBLE' })
    const single = read({ ...INPUTS, so: { 73: 1, 13: 1 } })
    expect(single.entities[1]?.properties[0]?.enum).toEqual(['SINGLE'])
  })

  it('is a switch that is on or off, at once and in the telemetry', () => {
    const record = read(INPUTS, { Switch2: 'ON', Switch3: 'OFF' })
    expect(names(record)).toContain('switch2')
    expect(record.entities.find(({ name }) => name === 'switch3')?.properties[0]?.title).toBe('Switch 3')
    expect(valuesAfter(record, RESULT, { Switch2: { Action: 'OFF' } })).toEqual({ switch2: false })
    const telemetry = { Time: 'x', Switch2: 'ON', Switch3: 'OFF' }
    expect(valuesAfter(record, 'tele/lamp/SENSOR', telemetry)).toEqual({ switch2: true, switch3: false })
  })

  it('is not told by buttons that switch their relay, nor at once by switches that do', () => {
    const record = read({ ...INPUTS, so: {} })
    expect(names(record)).toEqual(['power1', 'switch2', 'switch3', 'wifi_signal'])
    expect(valuesAfter(record, RESULT, { Switch2: { Action: 'OFF' } })).toEqual({})
  })
})

describe('a hostile device of Tasmota', () => {
  it.each([
    [
      'inputs that are none',
      { btn: ['1', {}, -1, null], swc: [{}, '1', 1e9], swn: 'x', so: { 73: 1 }, if: '1' },
    ],
    ['a thousand inputs', { btn: Array(1000).fill(1), swc: Array(1000).fill(1), so: { 73: 1, 114: 1 } }],
    ['kinds that are no numbers', { rl: ['3', {}, null, [2], 2], lt_st: '__proto__' }],
    ['options of another kind', { rl: [2, 3, 3], so: [1, 2], sho: { 0: 1 }, lt_st: { a: 1 }, state: 'x' }],
    ['a thousand outputs', { rl: Array(1000).fill(3), sho: Array(1000).fill(-1), fn: Array(1000).fill('x') }],
    [
      'words that turn the writing, hide and colour',
      { fn: ['\u202eevil\u200b\u001b[31m<b>'], state: ['\u202e'.repeat(500), 'a\u001b[2J'], lt_st: 1e9 },
    ],
  ])('with %s is read within bounds', (_name, config) => {
    const record = read(config)
    expect(record.entities.length).toBeLessThanOrEqual(64)
    expect(JSON.stringify(registrationOf(record).described)).not.toMatch(/\\u001b|\u202e|\u200b/)
  })
})
