import type { AdapterCommand } from '../../protocol/adapter.ts'
import { type Aspect, fixedCommand, type Made, madeOf } from '../parts.ts'
import { foreignTopic } from '../texts.ts'
import type { DiscoveryOptions } from './abbreviations.ts'
import { booleanWords, classOf, numberOf, sendOf, sourceOf, textOf } from './options.ts'

/** Makes what opens and closes: covers, valves and locks. */

const STATES = ['open', 'opening', 'closed', 'closing', 'stopped'] as const

function stateOf(config: DiscoveryOptions, name: string, title: string): Aspect {
  const words = Object.fromEntries(STATES.map((state) => [textOf(config, `state_${state}`, state), state]))
  return {
    property: `${name}_state`,
    title: `${title}: state`,
    schema: { type: 'string', enum: [...STATES] },
    source: sourceOf(config, 'state_topic', ['value_template'], words),
  }
}

function moves(config: DiscoveryOptions, name: string, title: string): AdapterCommand[] {
  const topic = foreignTopic(config.command_topic)
  if (topic === undefined) return []
  return (['open', 'close', 'stop'] as const)
    .filter((move) => config[`payload_${move}`] !== null)
    .map((move) =>
      fixedCommand(`${name}.${move}`, `${title}: ${move}`, {
        topic,
        text: textOf(config, `payload_${move}`, move.toUpperCase()),
      }),
    )
}

function positionOf(
  config: DiscoveryOptions,
  name: string,
  title: string,
  keys: { topic: string; templates: string[]; set: string; setTemplate: string },
): Aspect {
  const [open, closed] = [numberOf(config, 'position_open') ?? 100, numberOf(config, 'position_closed') ?? 0]
  return {
    property: name,
    title,
    schema: { type: 'number', minimum: Math.min(open, closed), maximum: Math.max(open, closed) },
    deviceClass: classOf(config) ?? 'shutter',
    source: sourceOf(config, keys.topic, keys.templates),
    param: 'position',
    send: sendOf(config, keys.set, keys.setTemplate, 'position'),
  }
}

export function cover(config: DiscoveryOptions, name: string, title: string): Made {
  const position = positionOf(config, name, title, {
    topic: 'position_topic',
    templates: ['position_template', 'value_template'],
    set: 'set_position_topic',
    setTemplate: 'set_position_template',
  })
  const tilt: Aspect = {
    property: `${name}_tilt`,
    title: `${title}: tilt`,
    schema: {
      type: 'number',
      minimum: numberOf(config, 'tilt_min') ?? 0,
      maximum: numberOf(config, 'tilt_max') ?? 100,
    },
    source: sourceOf(config, 'tilt_status_topic', ['tilt_status_template']),
    param: 'tilt',
    send: sendOf(config, 'tilt_command_topic', 'tilt_command_template', 'tilt'),
  }
  const made = madeOf(name, title, [position, stateOf(config, name, title), tilt])
  return { ...made, commands: [...made.commands, ...moves(config, name, title)] }
}

export function valve(config: DiscoveryOptions, name: string, title: string): Made {
  if (config.reports_position !== true) {
    const made = madeOf(name, title, [stateOf(config, name, title)])
    return { ...made, commands: moves(config, name, title) }
  }
  const position = positionOf(config, name, title, {
    topic: 'state_topic',
    templates: ['value_template'],
    set: 'command_topic',
    setTemplate: 'command_template',
  })
  return madeOf(name, title, [{ ...position, deviceClass: undefined }])
}

export function lock(config: DiscoveryOptions, name: string, title: string): Made {
  const words = booleanWords(
    textOf(config, 'state_locked', 'LOCKED'),
    textOf(config, 'state_unlocked', 'UNLOCKED'),
  )
  const source = sourceOf(config, 'state_topic', ['value_template'], words)
  const made = madeOf(name, title, [
    { property: name, title, schema: { type: 'boolean' }, deviceClass: 'lock', source },
  ])
  const topic = foreignTopic(config.command_topic)
  if (topic === undefined || config.command_template !== undefined) return made
  const payloads = [
    ['lock', textOf(config, 'payload_lock', 'LOCK')],
    ['unlock', textOf(config, 'payload_unlock', 'UNLOCK')],
    ...(typeof config.payload_open === 'string' ? [['open', textOf(config, 'payload_open', 'OPEN')]] : []),
  ] as [string, string][]
  const commands = payloads.map(([what, text]) =>
    fixedCommand(`${name}.${what}`, `${title}: ${what}`, { topic, text }),
  )
  return { ...made, commands }
}
