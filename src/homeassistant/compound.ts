import type { ApprovedCommand } from '../domain/descriptions.ts'
import type { PropertyDescription } from '../protocol/descriptions.ts'
import {
  along,
  boundsOf,
  type Component,
  invocation,
  payloadOf,
  type Settable,
  settable,
  type Thing,
  topicOf,
  wordsOf,
} from './components.ts'
import { COVER_CLASSES } from './device-classes.ts'
import { nameOf } from './ids.ts'
import {
  aboveZeroTemplate,
  booleanTemplate,
  colorTemplate,
  invocationTemplate,
  numberTemplate,
  textTemplate,
  wordTemplate,
} from './templates.ts'

/**
 * Lights, fans, covers and locks: one entity of several properties and commands. The device class of a property names
 * the kind, what is set by the same command belongs to it, and commands such as `blind.stop` are found by their ends.
 */

export interface Compound {
  readonly component: Component
  /** The properties that it has taken, so that nothing of it is shown twice. */
  readonly properties: readonly PropertyDescription[]
  readonly commands: readonly string[]
}

type Maker = (thing: Thing, property: PropertyDescription) => Compound | undefined

/** Returns the entity that a property stands for; undefined where it is an ordinary value. */
export function compoundOf(thing: Thing, property: PropertyDescription): Compound | undefined {
  const maker = makerOf(property.deviceClass)
  return thing.requestTopic === undefined ? undefined : maker?.(thing, property)
}

function makerOf(deviceClass: string | undefined): Maker | undefined {
  if (deviceClass === undefined) return undefined
  if (deviceClass === 'light') return light
  if (deviceClass === 'fan') return fan
  if (deviceClass === 'lock') return lock
  return COVER_CLASSES.has(deviceClass) ? cover : undefined
}

function base(thing: Thing, property: PropertyDescription, platform: Component['platform']): Component {
  return {
    platform,
    name: nameOf(property),
    unique_id: `${thing.id}_property_${property.name}`,
    qos: 1,
    ...thing.awake,
  }
}

/** The properties that the same command sets, but for the first. */
function siblings(thing: Thing, first: Settable): Settable[] {
  return thing.properties
    .filter((property) => property !== first.property && property.set?.command === first.command.name)
    .flatMap((property) => settable(thing, property) ?? [])
}

const isNumber = ({ property: { type } }: Settable) => type === 'number' || type === 'integer'
const called = (pattern: RegExp) => (target: Settable) =>
  pattern.test(target.property.name) || pattern.test(target.param)

/** Sets a property from what Home Assistant calls `value`. */
function setter(thing: Thing, target: Settable, value: string): string {
  const { nodeId } = thing
  return invocationTemplate(
    { nodeId, command: target.command.name, params: along(target) },
    target.param,
    value,
  )
}

/** One aspect of a light or a fan: where it is read, where it is set. */
function aspect(thing: Thing, prefix: string, target: Settable, read: string, value: string): object {
  return {
    [`${prefix}_state_topic`]: topicOf(thing, target.property),
    [`${prefix}_value_template`]: read,
    [`${prefix}_command_topic`]: thing.requestTopic,
    [`${prefix}_command_template`]: setter(thing, target, value),
  }
}

const ROUND = 'value | round(0) | int'
const WHOLE = (target: Settable) => (target.property.type === 'integer' ? ROUND : 'value')

function light(thing: Thing, property: PropertyDescription): Compound | undefined {
  const first = settable(thing, property)
  if (first === undefined) return undefined
  const others = siblings(thing, first)
  const isSwitch = property.type === 'boolean'
  if (!isSwitch && !isNumber(first)) return undefined
  const brightness = isSwitch
    ? others.find((each) => isNumber(each) && called(/bright|dim|level/i)(each))
    : first
  const warmth = others.find((each) => isNumber(each) && called(/colou?r_?temp|kelvin|mired/i)(each))
  const effect = others.find((each) => wordsOf(each.property, each.schema) && called(/effect|scene/i)(each))
  const color = others.find((each) => each.property.type === 'string' && called(/^(rgb|colou?r)$/i)(each))
  const used = [brightness, warmth, effect, color].filter((each) => each !== undefined)
  return {
    component: {
      ...base(thing, property, 'light'),
      state_topic: topicOf(thing, property),
      command_topic: thing.requestTopic,
      ...(isSwitch ? switchPayloads(thing, first) : dimmerPayloads(thing, first)),
      ...(brightness ? brightnessOf(thing, brightness) : {}),
      ...(warmth ? warmthOf(thing, warmth) : {}),
      ...(effect ? effectOf(thing, effect) : {}),
      ...(color ? colorOf(thing, color) : {}),
    },
    properties: [property, ...used.map((each) => each.property)],
    commands: [first.command.name],
  }
}

/** Turns the state into the words of the commands: Home Assistant compares the two. */
function switchPayloads(thing: Thing, target: Settable): object {
  const [on, off] = [payloadOf(thing, target, true), payloadOf(thing, target, false)]
  const { property } = target
  return { payload_on: on, payload_off: off, state_value_template: booleanTemplate(property, on, off) }
}

function dimmerPayloads(thing: Thing, target: Settable): object {
  const [off, on] = [payloadOf(thing, target, 0), 'ON']
  const template = aboveZeroTemplate(target.property, off)
  return { payload_on: on, payload_off: off, on_command_type: 'brightness', state_value_template: template }
}

function brightnessOf(thing: Thing, target: Settable): object {
  const { maximum = 100 } = boundsOf(target.property, target.schema)
  return {
    ...aspect(thing, 'brightness', target, numberTemplate(target.property), WHOLE(target)),
    brightness_scale: Math.max(1, Math.round(maximum)),
  }
}

/** The bound between the two units: no lamp has so many mired, nor so few kelvin. */
const MOST_MIREDS = 1000

function warmthOf(thing: Thing, target: Settable): object {
  const { minimum, maximum } = boundsOf(target.property, target.schema)
  const unit = inMireds(target, maximum) ? 'mireds' : 'kelvin'
  return {
    ...aspect(thing, 'color_temp', target, numberTemplate(target.property), WHOLE(target)),
    // Home Assistant's preset is mired.
    ...(unit === 'kelvin' ? { color_temp_kelvin: true } : {}),
    ...(minimum === undefined ? {} : { [`min_${unit}`]: Math.round(minimum) }),
    ...(maximum === undefined ? {} : { [`max_${unit}`]: Math.round(maximum) }),
  }
}

function inMireds(target: Settable, maximum: number | undefined): boolean {
  if (called(/mired/i)(target) || target.property.unit === 'mired') return true
  return !called(/kelvin/i)(target) && target.property.unit !== 'K' && (maximum ?? MOST_MIREDS) < MOST_MIREDS
}

function effectOf(thing: Thing, target: Settable): object {
  return {
    ...aspect(thing, 'effect', target, textTemplate(target.property), 'value | tojson'),
    effect_list: wordsOf(target.property, target.schema),
  }
}

function colorOf(thing: Thing, target: Settable): object {
  const hex = "('#%02x%02x%02x' | format(red, green, blue)) | tojson"
  return aspect(thing, 'rgb', target, colorTemplate(target.property), hex)
}

function fan(thing: Thing, property: PropertyDescription): Compound | undefined {
  const first = settable(thing, property)
  if (first === undefined || property.type !== 'boolean') return undefined
  const others = siblings(thing, first)
  const speed = others.find((each) => isNumber(each) && called(/speed|percent|level/i)(each))
  const mode = others.find((each) => wordsOf(each.property, each.schema) && called(/mode|preset/i)(each))
  const used = [speed, mode].filter((each) => each !== undefined)
  return {
    component: {
      ...base(thing, property, 'fan'),
      state_topic: topicOf(thing, property),
      command_topic: thing.requestTopic,
      ...switchPayloads(thing, first),
      ...(speed ? speedOf(thing, speed) : {}),
      ...(mode ? modeOf(thing, mode) : {}),
    },
    properties: [property, ...used.map((each) => each.property)],
    commands: [first.command.name],
  }
}

function speedOf(thing: Thing, target: Settable): object {
  const { minimum = 1, maximum = 100 } = boundsOf(target.property, target.schema)
  const lowest = Math.max(1, Math.round(minimum))
  return {
    ...aspect(thing, 'percentage', target, numberTemplate(target.property), ROUND),
    speed_range_min: lowest,
    speed_range_max: Math.max(lowest + 1, Math.round(maximum)),
  }
}

function modeOf(thing: Thing, target: Settable): object {
  return {
    ...aspect(thing, 'preset_mode', target, textTemplate(target.property), 'value | tojson'),
    preset_modes: wordsOf(target.property, target.schema),
  }
}

/** The command of the device whose name ends with one of the words, and that needs no parameters. */
function ending(
  thing: Thing,
  property: PropertyDescription,
  ...ends: readonly string[]
): ApprovedCommand | undefined {
  const stem = (property.set?.command ?? property.name).replace(/[._-][^._-]*$/, '')
  const fits = [...thing.commands.values()].filter(
    ({ name, input }) =>
      (input?.required ?? []).length === 0 &&
      ends.some(
        (end) => name === end || (/[._-]/.test(name.at(-end.length - 1) ?? '') && name.endsWith(end)),
      ),
  )
  return fits.find(({ name }) => name.startsWith(stem)) ?? (fits.length === 1 ? fits[0] : undefined)
}

const OPEN = { true: 'open', open: 'open', opened: 'open', up: 'open', on: 'open' }
const CLOSED = { false: 'closed', closed: 'closed', close: 'closed', down: 'closed', off: 'closed' }
const MOVING = { opening: 'opening', closing: 'closing', stopped: 'stopped', stop: 'stopped' }

function cover(thing: Thing, property: PropertyDescription): Compound | undefined {
  const target = settable(thing, property)
  const open = ending(thing, property, 'open', 'up')
  const close = ending(thing, property, 'close', 'down')
  const stop = ending(thing, property, 'stop')
  const own = target && coverPayloads(thing, target)
  const payloads = {
    payload_open: open ? invocation(thing, open, {}) : own?.open,
    payload_close: close ? invocation(thing, close, {}) : own?.close,
    payload_stop: stop ? invocation(thing, stop, {}) : null,
  }
  if (payloads.payload_open === undefined || payloads.payload_close === undefined) return undefined
  return {
    component: {
      ...base(thing, property, 'cover'),
      device_class: property.deviceClass,
      command_topic: thing.requestTopic,
      ...payloads,
      ...coverState(thing, property, target),
    },
    properties: [property],
    commands: [target?.command, open, close, stop].flatMap((command) => command?.name ?? []),
  }
}

function coverPayloads(thing: Thing, target: Settable): { open: string; close: string } | undefined {
  const { property, schema } = target
  if (property.type === 'boolean') return both(thing, target, true, false)
  if (isNumber(target)) {
    const { minimum = 0, maximum = 100 } = boundsOf(property, schema)
    return both(thing, target, maximum, minimum)
  }
  const words = wordsOf(property, schema) ?? []
  const [open, close] = [
    words.find((word) => /^(open|up)$/i.test(word)),
    words.find((word) => /^(closed?|down)$/i.test(word)),
  ]
  return open === undefined || close === undefined ? undefined : both(thing, target, open, close)
}

function both(
  thing: Thing,
  target: Settable,
  open: unknown,
  close: unknown,
): { open: string; close: string } {
  return { open: payloadOf(thing, target, open), close: payloadOf(thing, target, close) }
}

function coverState(thing: Thing, property: PropertyDescription, target: Settable | undefined): object {
  const topic = topicOf(thing, property)
  if (property.type !== 'number' && property.type !== 'integer')
    return {
      state_topic: topic,
      value_template:
        property.type === 'boolean'
          ? booleanTemplate(property, 'open', 'closed')
          : wordTemplate(property, { ...OPEN, ...CLOSED, ...MOVING }),
    }
  const { minimum = 0, maximum = 100 } = boundsOf(property, target?.schema)
  return {
    position_topic: topic,
    position_template: numberTemplate(property),
    position_open: Math.round(maximum),
    position_closed: Math.round(minimum),
    ...(target
      ? {
          set_position_topic: thing.requestTopic,
          set_position_template: setter(thing, target, WHOLE(target)),
        }
      : {}),
  }
}

const LOCKED = {
  ...{ true: 'LOCKED', locked: 'LOCKED', lock: 'LOCKED', closed: 'LOCKED' },
  ...{ false: 'UNLOCKED', unlocked: 'UNLOCKED', unlock: 'UNLOCKED', open: 'UNLOCKED' },
  ...{ locking: 'LOCKING', unlocking: 'UNLOCKING', jammed: 'JAMMED' },
}

function lock(thing: Thing, property: PropertyDescription): Compound | undefined {
  const target = settable(thing, property)
  const close = ending(thing, property, 'lock')
  const open = ending(thing, property, 'unlock')
  const own = target && lockPayloads(thing, target)
  const [payloadLock, payloadUnlock] = [
    close ? invocation(thing, close, {}) : own?.lock,
    open ? invocation(thing, open, {}) : own?.unlock,
  ]
  if (payloadLock === undefined || payloadUnlock === undefined) return undefined
  return {
    component: {
      ...base(thing, property, 'lock'),
      command_topic: thing.requestTopic,
      payload_lock: payloadLock,
      payload_unlock: payloadUnlock,
      state_topic: topicOf(thing, property),
      value_template:
        property.type === 'boolean'
          ? booleanTemplate(property, 'LOCKED', 'UNLOCKED')
          : wordTemplate(property, LOCKED),
    },
    properties: [property],
    commands: [target?.command, close, open].flatMap((command) => command?.name ?? []),
  }
}

function lockPayloads(thing: Thing, target: Settable): { lock: string; unlock: string } | undefined {
  const { property, schema } = target
  if (property.type === 'boolean')
    return { lock: payloadOf(thing, target, true), unlock: payloadOf(thing, target, false) }
  const words = wordsOf(property, schema) ?? []
  const [closed, open] = [
    words.find((word) => /^lock(ed)?$/i.test(word)),
    words.find((word) => /^unlock(ed)?$/i.test(word)),
  ]
  if (closed === undefined || open === undefined) return undefined
  return { lock: payloadOf(thing, target, closed), unlock: payloadOf(thing, target, open) }
}
