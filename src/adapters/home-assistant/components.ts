import type { AuthLevel } from '../../protocol/names.ts'
import { fixedCommand, type Made, madeOf, NOTHING_MADE } from '../parts.ts'
import { foreignTopic } from '../texts.ts'
import type { DiscoveryOptions } from './abbreviations.ts'
import { climate, fan, humidifier, light } from './compounds.ts'
import { cover, lock, valve } from './covers.ts'
import { booleanWords, classOf, listOf, numberOf, sendOf, sourceOf, textOf } from './options.ts'

/** Says what each component of Home Assistant's discovery becomes. There is no code for any device. */

export type Maker = (config: DiscoveryOptions, name: string, title: string) => Made

const TEMPLATES = ['value_template']
const PLAIN_SENSORS = new Set(['date', 'timestamp', 'enum'])
const STATE_CLASSES = ['measurement', 'total', 'total_increasing'] as const

const sensor: Maker = (config, name, title) => {
  const deviceClass = classOf(config)
  const unit = textOf(config, 'unit_of_measurement', '').slice(0, 31)
  const options = listOf(config, 'options')
  const stateClass = STATE_CLASSES.find((each) => each === config.state_class)
  const isNumber =
    !PLAIN_SENSORS.has(deviceClass ?? '') &&
    options === undefined &&
    (unit !== '' || stateClass !== undefined || deviceClass !== undefined)
  const schema = isNumber
    ? { type: 'number' as const, ...(unit === '' ? {} : { unit }) }
    : { type: 'string' as const, ...(options ? { enum: options } : {}) }
  const source = sourceOf(config, 'state_topic', TEMPLATES)
  return madeOf(name, title, [{ property: name, title, schema, deviceClass, stateClass, source }])
}

const binarySensor: Maker = (config, name, title) => {
  const words = booleanWords(textOf(config, 'payload_on', 'ON'), textOf(config, 'payload_off', 'OFF'))
  const source = sourceOf(config, 'state_topic', TEMPLATES, words)
  return madeOf(name, title, [
    { property: name, title, schema: { type: 'boolean' }, deviceClass: classOf(config), source },
  ])
}

const onOff: Maker = (config, name, title) => {
  const [on, off] = [textOf(config, 'payload_on', 'ON'), textOf(config, 'payload_off', 'OFF')]
  const words = booleanWords(textOf(config, 'state_on', on), textOf(config, 'state_off', off))
  return madeOf(name, title, [
    {
      property: name,
      title,
      schema: { type: 'boolean' },
      deviceClass: classOf(config),
      source: sourceOf(config, 'state_topic', ['value_template', 'state_value_template'], words),
      param: 'on',
      send: sendOf(config, 'command_topic', 'command_template', 'on', { true: on, false: off }),
    },
  ])
}

const number: Maker = (config, name, title) => {
  const unit = textOf(config, 'unit_of_measurement', '').slice(0, 31)
  const minimum = numberOf(config, 'min') ?? 1
  const maximum = numberOf(config, 'max') ?? 100
  if (minimum > maximum) return NOTHING_MADE
  return madeOf(name, title, [
    {
      property: name,
      title,
      schema: { type: 'number', minimum, maximum, ...(unit === '' ? {} : { unit }) },
      deviceClass: classOf(config),
      source: sourceOf(config, 'state_topic', TEMPLATES),
      param: 'value',
      send: sendOf(config, 'command_topic', 'command_template', 'value'),
    },
  ])
}

const select: Maker = (config, name, title) => {
  const options = listOf(config, 'options')
  return madeOf(name, title, [
    {
      property: name,
      title,
      schema: { type: 'string', ...(options ? { enum: options } : {}) },
      source: sourceOf(config, 'state_topic', TEMPLATES),
      param: 'value',
      send: sendOf(config, 'command_topic', 'command_template', 'value'),
    },
  ])
}

const text: Maker = (config, name, title) => {
  const maxLength = Math.max(1, Math.min(numberOf(config, 'max') ?? 255, 255))
  const isSecret = config.mode === 'password'
  return madeOf(name, title, [
    {
      property: name,
      title,
      schema: { type: 'string', maxLength },
      source: isSecret ? undefined : sourceOf(config, 'state_topic', TEMPLATES),
      param: 'value',
      send: sendOf(config, 'command_topic', 'command_template', 'value'),
    },
  ])
}

function pressed(payloadKey: string, preset: string): Maker {
  return (config, name, title) => {
    const topic = foreignTopic(config.command_topic)
    if (topic === undefined) return NOTHING_MADE
    const send = { topic, text: textOf(config, payloadKey, preset) }
    return { ...NOTHING_MADE, commands: [fixedCommand(`${name}.press`, title, send)] }
  }
}

const event: Maker = (config, name, title) => {
  const source = sourceOf(config, 'state_topic', TEMPLATES)
  const types = listOf(config, 'event_types')
  return madeOf(name, title, [
    {
      property: name,
      title,
      schema: { type: 'string', ...(types ? { enum: types } : {}) },
      deviceClass: classOf(config),
      source: source && { ...source, pointer: `${source.pointer ?? ''}/event_type` },
    },
  ])
}

const tracker: Maker = (config, name, title) =>
  madeOf(name, title, [
    { property: name, title, schema: { type: 'string' }, source: sourceOf(config, 'state_topic', TEMPLATES) },
  ])

const update: Maker = (config, name, title) => {
  const installed = sourceOf(config, 'state_topic', TEMPLATES)
  const latest = sourceOf(config, 'latest_version_topic', ['latest_version_template'])
  const topic = foreignTopic(config.command_topic)
  const send = topic && { topic, text: textOf(config, 'payload_install', '') }
  const made = madeOf(name, title, [
    {
      property: `${name}_installed`,
      title: `${title}: installed`,
      schema: { type: 'string' },
      source: installed,
    },
    { property: `${name}_latest`, title: `${title}: newest`, schema: { type: 'string' }, source: latest },
  ])
  return send && send.text !== ''
    ? { ...made, commands: [fixedCommand(`${name}.install`, title, send)] }
    : made
}

/** Commands that are one payload each on the same topic: option of the payload, name, what is sent when it is absent. */
type Payloads = readonly (readonly [key: string, command: string, preset: string])[]

function payloadCommands(config: DiscoveryOptions, name: string, title: string, payloads: Payloads): Made {
  const topic = foreignTopic(config.command_topic)
  if (topic === undefined) return NOTHING_MADE
  const commands = payloads
    .filter(([key]) => config[key] !== null)
    .map(([key, command, preset]) =>
      fixedCommand(`${name}.${command}`, `${title}: ${command}`, {
        topic,
        text: textOf(config, key, preset),
      }),
    )
  return { ...NOTHING_MADE, commands }
}

const VACUUM: Payloads = [
  ['payload_start', 'start', 'start'],
  ['payload_stop', 'stop', 'stop'],
  ['payload_pause', 'pause', 'pause'],
  ['payload_return_to_base', 'return_to_base', 'return_to_base'],
  ['payload_clean_spot', 'clean_spot', 'clean_spot'],
  ['payload_locate', 'locate', 'locate'],
]
/** The features that Home Assistant takes a vacuum to have that does not say it. */
const VACUUM_FEATURES = ['start', 'stop', 'return_home', 'clean_spot']

const vacuum: Maker = (config, name, title) => {
  const features = listOf(config, 'supported_features') ?? VACUUM_FEATURES
  const known = VACUUM.filter(([, command]) =>
    features.includes(command === 'return_to_base' ? 'return_home' : command),
  )
  const source = sourceOf(config, 'state_topic', TEMPLATES)
  const part = (pointer: string) => source && { ...source, pointer: `${source.pointer ?? ''}${pointer}` }
  const speeds = listOf(config, 'fan_speed_list')
  const made = madeOf(name, title, [
    { property: name, title, schema: { type: 'string' }, source: part('/state') },
    {
      property: `${name}_fan_speed`,
      title: `${title}: fan speed`,
      schema: { type: 'string', ...(speeds ? { enum: speeds } : {}) },
      source: part('/fan_speed'),
      param: 'fan_speed',
      send: sendOf(config, 'set_fan_speed_topic', '', 'fan_speed'),
    },
  ])
  const { commands } = payloadCommands(config, name, title, known)
  return { ...made, commands: [...made.commands, ...commands] }
}

const ALARM: Payloads = [
  ['payload_arm_home', 'arm_home', 'ARM_HOME'],
  ['payload_arm_away', 'arm_away', 'ARM_AWAY'],
  ['payload_arm_night', 'arm_night', 'ARM_NIGHT'],
  ['payload_disarm', 'disarm', 'DISARM'],
]

const alarm: Maker = (config, name, title) => {
  const made = tracker(config, name, title)
  // With a code the payload is made by a template, which is not run.
  if (config.command_template !== undefined) return made
  return { ...made, commands: payloadCommands(config, name, title, ALARM).commands }
}

/** Each component that is read. A picture, a tag or a trigger of an automation is no value and no command. */
export const MAKERS: ReadonlyMap<string, Maker> = new Map<string, Maker>([
  ['alarm_control_panel', alarm],
  ['binary_sensor', binarySensor],
  ['button', pressed('payload_press', 'PRESS')],
  ['climate', climate],
  ['cover', cover],
  ['device_tracker', tracker],
  ['event', event],
  ['fan', fan],
  ['humidifier', humidifier],
  ['light', light],
  ['lock', lock],
  ['number', number],
  ['scene', pressed('payload_on', 'ON')],
  ['select', select],
  ['sensor', sensor],
  ['siren', onOff],
  ['switch', onOff],
  ['text', text],
  ['update', update],
  ['vacuum', vacuum],
  ['valve', valve],
  ['water_heater', climate],
])

const ALWAYS_GATED = new Set(['alarm_control_panel', 'lock', 'siren', 'update', 'valve'])
const GATED_CLASSES: Readonly<Record<string, readonly string[]>> = {
  cover: ['door', 'garage', 'gate'],
  button: ['restart', 'update'],
}

/**
 * Returns how freely a component may be used: what opens a house, wakes it or changes firmware waits for a person, and
 * the rest may be used by whoever may invoke. A policy says otherwise.
 */
export function levelOf(component: string, config: DiscoveryOptions): AuthLevel {
  const byClass = GATED_CLASSES[component]?.includes(classOf(config) ?? '') === true
  return ALWAYS_GATED.has(component) || byClass ? 'gated' : 'free'
}
