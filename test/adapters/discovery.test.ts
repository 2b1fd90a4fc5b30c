import { describe, expect, it, test } from 'vitest'
import { type ReadDevices, readDevices, readingDevices } from '../../src/adapters/adapters.ts'
import { aroundValue, placeOf } from '../../src/adapters/home-assistant/templates.ts'
import { commandOf, messagesOf, registrationOf, withinLimits } from '../../src/domain/adapter.ts'
import type { AdapterRecord } from '../../src/protocol/adapter.ts'
import { storedRegistrationSchema } from '../../src/protocol/schemas.ts'

function read(messages: Readonly<Record<string, unknown>>, known?: AdapterRecord): ReadDevices {
  const entries = Object.entries(messages)
  return readDevices({
    nodeId: 'gw',
    messages: new Map(
      entries
        .filter(([, value]) => value !== null)
        .map(([place, value]) => [place, Buffer.from(JSON.stringify(value))]),
    ),
    seen: new Set(entries.map(([place]) => place)),
    known: (nodeId) => (nodeId === 'gw' ? known : undefined),
    mayPublish: () => true,
  })
}

function one(messages: Readonly<Record<string, unknown>>): AdapterRecord {
  const { records } = read(messages)
  expect(records).toHaveLength(1)
  return records[0] as AdapterRecord
}

/** The messages that a command of the only device would send. */
function sent(record: AdapterRecord, name: string, params: object = {}): string[] {
  const command = commandOf(record, name)
  if (command === undefined) throw new Error(`there is no ${name}`)
  return messagesOf(command, params as Record<string, unknown>).map(
    ({ topic, payload }) => `${topic} ${payload}`,
  )
}

describe('a template', () => {
  it.each([
    ['{{ value_json.a }}', '/a'],
    ["{{value_json['a b']['c/d']}}", '/a b/c~1d'],
    ['{{ value_json["x"].y | float | round(1) }}', '/x/y'],
    ['{{ value_json.list[0] }}', '/list/0'],
    ["{{ value_json.get('k') | default('') }}", '/k'],
    ["{{value_json['hc1']['t'] if value_json['hc1']['t'] is defined else 0}}", '/hc1/t'],
  ])('%s is the place %s', (template, pointer) => {
    expect(placeOf(template)).toEqual({ pointer })
  })

  it.each(['{{ value }}', '{{ value | int }}', undefined])('%s is the whole payload', (template) => {
    expect(placeOf(template)).toEqual({})
  })

  it.each([
    '{{ value_json.a + value_json.b }}',
    "{{ 'x' if value_json.a else 'y' }}",
    '{% set x = 1 %}{{ value }}',
    "{{value_json['a'] if value_json['b'] is defined else 0}}",
    '{{ value_json.a }}{{ value_json.b }}',
    `{{ value_json${'.a'.repeat(600)} }}`,
  ])('%s is not understood, and not run', (template) => {
    expect(placeOf(template)).toBeUndefined()
  })

  it('of a command puts the value into a text, or is not understood', () => {
    expect(aroundValue('{"mode": "{{ value }}"}')).toEqual({ before: '{"mode": "', after: '"}' })
    expect(aroundValue('{{ value | int }}')).toEqual({})
    expect(aroundValue('{{ value * 2 }}')).toBeUndefined()
    expect(aroundValue('{{ value }}{{ value }}')).toBeUndefined()
    expect(aroundValue('{% if value %}{{ value }}{% endif %}')).toBeUndefined()
  })
})

describe('a message about a whole device', () => {
  const DEVICE = {
    dev: { ids: ['gw1'], name: 'Boiler room', mf: 'Example', sw: 1.5 },
    o: { name: 'example' },
    '~': 'boiler',
    avty_t: '~/status',
    stat_t: '~/state',
    cmps: {
      temp: { p: 'sensor', dev_cla: 'temperature', unit_of_meas: '°C', val_tpl: '{{ value_json.t }}' },
      pump: { p: 'switch', val_tpl: '{{ value_json.pump }}', cmd_t: '~/pump/set' },
      gone: { p: 'sensor' },
      tag: { p: 'tag', t: 'boiler/tag' },
    },
  }

  it('shares its options with its components, and its base topic', () => {
    const record = one({ 'device/gw1': DEVICE })
    expect(record).toMatchObject({ displayName: 'Boiler room', firmware: '1.5', manufacturer: 'Example' })
    expect(record.entities.map(({ name }) => name)).toEqual(['pump', 'temp'])
    const [pump, temp] = record.entities
    expect(temp?.sources).toEqual([{ property: 'temp', topic: 'boiler/state', pointer: '/t' }])
    expect(pump?.availability).toEqual([{ topic: 'boiler/status', online: 'online', offline: 'offline' }])
    expect(sent(record, 'pump.set', { on: false })).toEqual(['boiler/pump/set OFF'])
  })

  it('replaces what it said before: a component that it does not name is no more', () => {
    const before = one({ 'device/gw1': DEVICE })
    const { records } = read({ 'device/gw1': { ...DEVICE, cmps: { temp: DEVICE.cmps.temp } } }, before)
    expect(records[0]?.entities.map(({ name }) => name)).toEqual(['temp'])
  })

  it('leaves what other messages said, when the bridge has only just started', () => {
    const before = one({ 'sensor/a/config1': { stat_t: 'a', dev: { ids: 'gw1' } } })
    const { records } = read({ 'sensor/b': { stat_t: 'b', dev: { ids: 'gw1' } } }, before)
    expect(records[0]?.entities.map(({ key }) => key)).toEqual(['sensor/a/config1', 'sensor/b'])
  })
})

describe('a component', () => {
  const dev = { ids: 'd' }
  const C = 'x/set'

  it.each([
    ['number', { min: 0, max: 10, cmd_tpl: '{"n": {{ value }}}' }, 'n.set', { value: 4 }, ['x/set {"n": 4}']],
    [
      'select',
      { ops: ['a', 'b"'], cmd_tpl: '{"s": "{{ value }}"}' },
      'n.set',
      { value: 'b"' },
      ['x/set {"s": "b\\""}'],
    ],
    ['text', { max: 20 }, 'n.set', { value: 'hi' }, ['x/set hi']],
    ['button', { pl_prs: 'GO' }, 'n.press', {}, ['x/set GO']],
    [
      'cover',
      { dev_cla: 'blind', set_pos_t: 'x/pos', pos_t: 'x/p' },
      'n.set',
      { position: 40 },
      ['x/pos 40'],
    ],
    ['cover', { pl_cls: 'DOWN' }, 'n.close', {}, ['x/set DOWN']],
    ['valve', {}, 'n.open', {}, ['x/set OPEN']],
    ['lock', { pl_unlk: 'U' }, 'n.unlock', {}, ['x/set U']],
    ['siren', {}, 'n.set', { on: true }, ['x/set ON']],
    ['vacuum', { sup_feat: ['return_home'] }, 'n.return_to_base', {}, ['x/set return_to_base']],
    ['update', { pl_inst: 'install', stat_t: 'x/s' }, 'n.install', {}, ['x/set install']],
    ['fan', { pct_cmd_t: 'x/pct' }, 'n.set', { on: true, percentage: 30 }, ['x/set ON', 'x/pct 30']],
    ['light', { bri_cmd_t: 'x/bri' }, 'n.set', { brightness: 9 }, ['x/bri 9']],
    [
      'climate',
      { mode_cmd_t: 'x/m', modes: ['heat', 'off'], temp_cmd_t: 'x/t' },
      'n.set',
      { mode: 'heat', temperature: 20.5 },
      ['x/m heat', 'x/t 20.5'],
    ],
    ['humidifier', { hum_cmd_t: 'x/h' }, 'n.set', { target_humidity: 50 }, ['x/h 50']],
  ])('%s sends what it has named', (component, config, command, params, messages) => {
    const record = one({ [`${component}/n`]: { cmd_t: C, dev, ...config } })
    expect(sent(record, command, params)).toEqual(messages)
    storedRegistrationSchema.parse(registrationOf(record))
  })

  it('that opens, wakes or changes firmware waits for a person', () => {
    const levels = (component: string, config = {}) =>
      one({ [`${component}/n`]: { cmd_t: C, pl_inst: 'x', dev, ...config } }).entities[0]?.level
    expect(['lock', 'valve', 'siren', 'update', 'alarm_control_panel'].map((each) => levels(each))).toEqual(
      Array(5).fill('gated'),
    )
    expect(levels('cover', { dev_cla: 'garage' })).toBe('gated')
    expect(levels('cover', { dev_cla: 'blind' })).toBe('free')
    expect(levels('switch')).toBe('free')
  })

  it('of a device with more than there is room for leaves a registration that fits', () => {
    const messages = Object.fromEntries(
      Array.from({ length: 200 }, (_, i) => [`switch/n${i}`, { cmd_t: `x/${i}`, stat_t: `x/${i}`, dev }]),
    )
    const record = one(messages)
    for (const bytes of [65_536, 16_384, 2000]) {
      const fitting = withinLimits(record, bytes)
      expect(JSON.stringify(fitting).length).toBeLessThanOrEqual(bytes)
      storedRegistrationSchema.parse(registrationOf(fitting))
    }
  })
})

test('thousands of announcements are read in steps, each of which is one message or one device', () => {
  const config = (i: number) => ({ name: 'x', stat_t: `t/${i}`, dev: { ids: `d${i}`, name: `D${i}` } })
  const places = Array.from({ length: 1000 }, (_, i) => `sensor/gw/s${i}`)
  const steps = readingDevices({
    nodeId: 'gw',
    messages: new Map(places.map((place, i) => [place, Buffer.from(JSON.stringify(config(i)))])),
    seen: new Set(places),
    known: () => undefined,
    mayPublish: () => true,
  })
  let count = 0
  let step = steps.next()
  for (; !step.done; step = steps.next()) count++
  expect(count).toBe(2000)
  expect(step.value.records).toHaveLength(1000)
})
