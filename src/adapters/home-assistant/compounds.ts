import type { AdapterSend } from '../../protocol/adapter.ts'
import { type Aspect, type Made, madeOf } from '../parts.ts'
import { foreignTopic } from '../texts.ts'
import type { DiscoveryOptions } from './abbreviations.ts'
import { booleanWords, listOf, numberOf, sendOf, sourceOf, textOf } from './options.ts'

/** Makes what has several values that one command sets: lights, fans, heating and humidifiers. */

const SWITCH_TEMPLATES = ['state_value_template', 'value_template']

function power(config: DiscoveryOptions, name: string, title: string, deviceClass?: string): Aspect {
  const [on, off] = [textOf(config, 'payload_on', 'ON'), textOf(config, 'payload_off', 'OFF')]
  return {
    property: name,
    title,
    schema: { type: 'boolean' },
    deviceClass,
    source: sourceOf(config, 'state_topic', SWITCH_TEMPLATES, booleanWords(on, off)),
    param: 'on',
    send: sendOf(config, 'command_topic', 'command_template', 'on', { true: on, false: off }),
  }
}

interface Options {
  /** The beginning of all its options. */
  readonly prefix: string
  /** The key of its template, when it is another one. */
  readonly template?: string
}

/** One further value, whose options all begin alike. */
function further(
  config: DiscoveryOptions,
  name: string,
  title: string,
  param: string,
  schema: Aspect['schema'],
  { prefix, template = `${prefix}_value_template` }: Options,
): Aspect {
  return {
    property: `${name}_${param}`,
    title: `${title}: ${param.replaceAll('_', ' ')}`,
    schema,
    source: sourceOf(config, `${prefix}_state_topic`, [template]),
    param,
    send: sendOf(config, `${prefix}_command_topic`, `${prefix}_command_template`, param),
  }
}

function oneOf(config: DiscoveryOptions, key: string): Aspect['schema'] {
  const words = listOf(config, key)
  return { type: 'string', ...(words ? { enum: words } : {}) }
}

function rangeOf(minimum: number | undefined, maximum: number | undefined): Aspect['schema'] {
  return {
    type: 'number',
    ...(minimum === undefined ? {} : { minimum }),
    ...(maximum === undefined ? {} : { maximum }),
  }
}

/** The parameter of a light's warmth, and its bounds: mired, unless the device says kelvin. */
function warmthOf(config: DiscoveryOptions): [param: string, schema: Aspect['schema']] {
  if (config.color_temp_kelvin !== true)
    return ['mireds', rangeOf(numberOf(config, 'min_mireds'), numberOf(config, 'max_mireds'))]
  return ['kelvin', { ...rangeOf(numberOf(config, 'min_kelvin'), numberOf(config, 'max_kelvin')), unit: 'K' }]
}

export function light(config: DiscoveryOptions, name: string, title: string): Made {
  if (config.schema === 'json') return jsonLight(config, name, title)
  // A light that is made by templates of its own says nothing that could be read without running them.
  if (config.schema === 'template') return madeOf(name, title, [])
  const part = (param: string, schema: Aspect['schema'], prefix: string) =>
    further(config, name, title, param, schema, { prefix })
  return madeOf(name, title, [
    power(config, name, title, 'light'),
    part('brightness', rangeOf(0, numberOf(config, 'brightness_scale') ?? 255), 'brightness'),
    part(...warmthOf(config), 'color_temp'),
    part('effect', oneOf(config, 'effect_list'), 'effect'),
    part('red_green_blue', { type: 'string', description: 'each from 0 to 255, such as 255,128,0' }, 'rgb'),
  ])
}

/** The fields of a colour in each mode of Home Assistant's. */
const COLOURS: Readonly<Record<string, readonly string[]>> = {
  xy: ['x', 'y'],
  hs: ['h', 's'],
  rgb: ['r', 'g', 'b'],
}

/** The keys of a JSON light that are called otherwise here: a warmth in mired is no temperature. */
const KEYS_OF_JSON: Readonly<Record<string, string>> = {
  on: 'state',
  mireds: 'color_temp',
  kelvin: 'color_temp',
}

function jsonLight(config: DiscoveryOptions, name: string, title: string): Made {
  const modes = listOf(config, 'supported_color_modes') ?? []
  const topic = foreignTopic(config.command_topic)
  const state = sourceOf(config, 'state_topic', [])
  const field = (param: string, schema: Aspect['schema'], key = param): Aspect => ({
    property: `${name}_${param}`,
    title: `${title}: ${param.replaceAll('_', ' ')}`,
    schema,
    source: state && { ...state, pointer: `/${key}` },
    param,
  })
  const dims = config.brightness === true || modes.some((mode) => mode !== 'onoff')
  const colour = COLOURS[modes.find((mode) => COLOURS[mode] !== undefined) ?? '']
  const aspects: Aspect[] = [
    {
      property: name,
      title,
      schema: { type: 'boolean' },
      deviceClass: 'light',
      source: state && { ...state, pointer: '/state', words: booleanWords('ON', 'OFF') },
      param: 'on',
    },
    ...(dims ? [field('brightness', rangeOf(0, numberOf(config, 'brightness_scale') ?? 255))] : []),
    ...(modes.includes('color_temp') ? [field(...warmthOf(config), 'color_temp')] : []),
    ...(config.effect === true ? [field('effect', oneOf(config, 'effect_list'))] : []),
    ...(colour ? [field('color', colourSchema(colour))] : []),
  ]
  const json = Object.fromEntries(
    aspects.map(({ param = '' }) => [
      KEYS_OF_JSON[param] ?? param,
      { param, ...(param === 'on' ? { words: { true: 'ON', false: 'OFF' } } : {}) },
    ]),
  )
  const sends: AdapterSend[] = topic === undefined ? [] : [{ topic, json }]
  return madeOf(name, title, aspects, sends)
}

function colourSchema(fields: readonly string[]): Aspect['schema'] {
  const entries = fields.map((each) => [each, { type: 'number' as const }])
  return { type: 'object', properties: Object.fromEntries(entries), required: [...fields] }
}

export function fan(config: DiscoveryOptions, name: string, title: string): Made {
  const [on, off] = [
    textOf(config, 'payload_oscillation_on', 'oscillate_on'),
    textOf(config, 'payload_oscillation_off', 'oscillate_off'),
  ]
  const oscillation = further(
    config,
    name,
    title,
    'oscillation',
    { type: 'boolean' },
    { prefix: 'oscillation' },
  )
  return madeOf(name, title, [
    power(config, name, title, 'fan'),
    further(
      config,
      name,
      title,
      'percentage',
      rangeOf(numberOf(config, 'speed_range_min') ?? 1, numberOf(config, 'speed_range_max') ?? 100),
      { prefix: 'percentage' },
    ),
    further(config, name, title, 'preset_mode', oneOf(config, 'preset_modes'), { prefix: 'preset_mode' }),
    {
      ...oscillation,
      source: oscillation.source && { ...oscillation.source, words: booleanWords(on, off) },
      send: oscillation.send && { ...oscillation.send, words: { true: on, false: off } },
    },
  ])
}

function reads(config: DiscoveryOptions, name: string, title: string, what: string, unit?: string): Aspect {
  const schema = unit === undefined ? { type: 'string' as const } : { type: 'number' as const, unit }
  return {
    property: `${name}_${what}`,
    title: `${title}: ${what.replaceAll('_', ' ')}`,
    schema,
    source: sourceOf(config, `${what}_topic`, [`${what}_template`]),
  }
}

/** Heating, cooling and hot water. */
export function climate(config: DiscoveryOptions, name: string, title: string): Made {
  const unit = config.temperature_unit === 'F' ? '[degF]' : 'Cel'
  const part = (param: string, schema: Aspect['schema'], prefix = param) =>
    further(config, name, title, param, schema, { prefix, template: `${prefix}_state_template` })
  const bounds = rangeOf(numberOf(config, 'min_temp'), numberOf(config, 'max_temp'))
  return madeOf(name, title, [
    part('mode', oneOf(config, 'modes')),
    part('temperature', { ...bounds, unit }),
    part('fan_mode', oneOf(config, 'fan_modes')),
    part('swing_mode', oneOf(config, 'swing_modes')),
    further(config, name, title, 'preset_mode', oneOf(config, 'preset_modes'), { prefix: 'preset_mode' }),
    reads(config, name, title, 'current_temperature', unit),
    reads(config, name, title, 'current_humidity', '%'),
    reads(config, name, title, 'action'),
  ])
}

export function humidifier(config: DiscoveryOptions, name: string, title: string): Made {
  const bounds = rangeOf(numberOf(config, 'min_humidity') ?? 0, numberOf(config, 'max_humidity') ?? 100)
  const target = further(
    config,
    name,
    title,
    'target_humidity',
    { ...bounds, unit: '%' },
    {
      prefix: 'target_humidity',
      template: 'target_humidity_state_template',
    },
  )
  return madeOf(name, title, [
    power(config, name, title),
    target,
    further(config, name, title, 'mode', oneOf(config, 'modes'), {
      prefix: 'mode',
      template: 'mode_state_template',
    }),
    reads(config, name, title, 'current_humidity', '%'),
  ])
}
