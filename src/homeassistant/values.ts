import type { ApprovedCommand } from '../domain/descriptions.ts'
import type { PropertyDescription, ValueSchema } from '../protocol/descriptions.ts'
import {
  boundsOf,
  type Component,
  constantParams,
  invocation,
  type Platform,
  payloadOf,
  type Settable,
  settable,
  type Thing,
  topicOf,
  wordsOf,
} from './components.ts'
import { BINARY_CLASSES, EVENT_CLASSES, SWITCH_CLASSES, WORD_CLASSES } from './device-classes.ts'
import { nameOf } from './ids.ts'
import {
  booleanTemplate,
  eventTemplate,
  invocationTemplate,
  numberTemplate,
  textTemplate,
} from './templates.ts'
import { measureFor } from './units.ts'

/** One entity for one property, or for one command that nothing else has taken. */

/** Home Assistant's text fields hold this many characters. */
const TEXT_CHARS = 255
/** A slider with more steps than this is a box to type in. */
const SLIDER_STEPS = 1000
/** Home Assistant's smallest step. */
const MIN_STEP = 0.001
const ANY_NUMBER = 1_000_000

/** Returns the entity of a property; undefined for what Home Assistant has no form for, such as objects. */
export function propertyComponent(thing: Thing, property: PropertyDescription): Component | undefined {
  const target = settable(thing, property)
  return (target && control(thing, target)) ?? reading(thing, property)
}

function base(thing: Thing, property: PropertyDescription, platform: Platform): Component {
  return {
    platform,
    name: nameOf(property),
    unique_id: `${thing.id}_property_${property.name}`,
    state_topic: topicOf(thing, property),
  }
}

function reading(thing: Thing, property: PropertyDescription): Component | undefined {
  if (property.type === 'boolean') return binarySensor(thing, property)
  if (property.type === 'number' || property.type === 'integer') return numberSensor(thing, property)
  return property.type === 'string' ? ofText(thing, property) : undefined
}

function binarySensor(thing: Thing, property: PropertyDescription): Component {
  const { deviceClass } = property
  // Home Assistant's lock sensor is on when it is open, and a property `locked` is true when it is not.
  const inverted = deviceClass === 'lock'
  return {
    ...base(thing, property, 'binary_sensor'),
    value_template: inverted
      ? booleanTemplate(property, 'OFF', 'ON')
      : booleanTemplate(property, 'ON', 'OFF'),
    ...ofClass(deviceClass === 'garage' ? 'garage_door' : deviceClass, BINARY_CLASSES),
  }
}

function ofClass(deviceClass: string | undefined, known: ReadonlySet<string>): object {
  return deviceClass !== undefined && known.has(deviceClass) ? { device_class: deviceClass } : {}
}

function numberSensor(thing: Thing, property: PropertyDescription): Component {
  const measure = measureFor(property)
  const stale = measure.state_class === 'measurement' ? thing.staleSeconds : undefined
  return {
    ...base(thing, property, 'sensor'),
    value_template: numberTemplate(property),
    ...measure,
    ...(stale === undefined ? {} : { expire_after: stale }),
  }
}

function ofText(thing: Thing, property: PropertyDescription): Component | undefined {
  const { deviceClass } = property
  const words = wordsOf(property)
  if (deviceClass === 'camera' || deviceClass === 'image') return picture(thing, property, deviceClass)
  if (words !== undefined && deviceClass !== undefined && EVENT_CLASSES.has(deviceClass))
    return {
      ...base(thing, property, 'event'),
      event_types: words,
      value_template: eventTemplate(property),
      device_class: deviceClass,
    }
  const sensor = { ...base(thing, property, 'sensor'), value_template: textTemplate(property) }
  if (words !== undefined) return { ...sensor, device_class: 'enum', options: words }
  return { ...sensor, ...ofClass(deviceClass === 'enum' ? undefined : deviceClass, WORD_CLASSES) }
}

/** A picture is the whole payload; in an object it can only be the address of one. */
function picture(
  thing: Thing,
  property: PropertyDescription,
  kind: 'camera' | 'image',
): Component | undefined {
  const { state_topic: topic, ...common } = base(thing, property, kind)
  const encoded = property.unit === 'base64' ? { image_encoding: 'b64' } : {}
  if (property.pointer !== undefined && property.pointer !== '')
    return { ...common, platform: 'image', url_topic: topic, url_template: textTemplate(property) }
  return kind === 'camera' ? { ...common, topic, ...encoded } : { ...common, image_topic: topic, ...encoded }
}

function control(thing: Thing, target: Settable): Component | undefined {
  const { property, schema } = target
  const common = {
    ...base(thing, property, 'switch'),
    command_topic: thing.requestTopic,
    qos: 1,
    ...thing.awake,
  }
  if (property.type === 'boolean')
    return {
      ...common,
      ...onAndOff(payloadOf(thing, target, true), payloadOf(thing, target, false)),
      value_template: booleanTemplate(property, 'ON', 'OFF'),
      ...ofClass(property.deviceClass, SWITCH_CLASSES),
    }
  const options = ofSchema({ ...schema, ...wishOf(property) })
  return (
    options && {
      ...common,
      ...options.options,
      platform: options.platform,
      command_template: template(thing, target.command, target.param, options.value),
      value_template: property.type === 'string' ? textTemplate(property) : numberTemplate(property),
    }
  )
}

/** Returns what a property says of itself, which goes over its command's words about the parameter. */
function wishOf(property: PropertyDescription): ValueSchema & { deviceClass?: string | undefined } {
  const { minimum, maximum } = boundsOf(property)
  return {
    type: property.type,
    ...(property.unit === undefined ? {} : { unit: property.unit }),
    ...(property.enum === undefined ? {} : { enum: property.enum }),
    ...(minimum === undefined ? {} : { minimum }),
    ...(maximum === undefined ? {} : { maximum }),
    ...(property.deviceClass === undefined ? {} : { deviceClass: property.deviceClass }),
  }
}

function onAndOff(on: string, off: string): object {
  return { payload_on: on, payload_off: off, state_on: 'ON', state_off: 'OFF' }
}

interface Form {
  readonly platform: 'number' | 'select' | 'text'
  readonly options: object
  /** The expression of Jinja that turns `value` into JSON. */
  readonly value: string
}

/** Returns the form in which a value is asked for; undefined where there is none. */
function ofSchema(schema: ValueSchema & { deviceClass?: string | undefined }): Form | undefined {
  const type = schema.type ?? typeOfWords(schema)
  if (type === 'number' || type === 'integer')
    return schema.enum === undefined ? numberForm(schema, type) : numberChoice(schema)
  if (type !== 'string') return undefined
  const words = (schema.enum ?? []).filter((word) => typeof word === 'string' && word !== '')
  if (words.length > 0)
    return { platform: 'select', options: { options: [...new Set(words)] }, value: 'value | tojson' }
  return schema.enum === undefined ? textForm(schema) : undefined
}

function typeOfWords({ enum: words }: ValueSchema): 'string' | 'number' | undefined {
  if (words?.every((word) => typeof word === 'string')) return 'string'
  return words?.every((word) => typeof word === 'number') ? 'number' : undefined
}

function numberForm(
  schema: ValueSchema & { deviceClass?: string | undefined },
  type: 'number' | 'integer',
): Form {
  const { unit, deviceClass } = schema
  const { unit_of_measurement, device_class } = measureFor({ unit, deviceClass })
  const [min, max] = rangeOf(schema)
  const step = Math.max(MIN_STEP, schema.multipleOf ?? (type === 'integer' ? 1 : stepOf(max - min)))
  const bounded = schema.minimum !== undefined && schema.maximum !== undefined
  const mode = bounded && (max - min) / step <= SLIDER_STEPS ? 'slider' : 'box'
  return {
    platform: 'number',
    options: {
      min,
      max,
      step,
      mode,
      ...(unit_of_measurement === undefined ? {} : { unit_of_measurement }),
      ...(device_class === undefined ? {} : { device_class }),
    },
    value: type === 'integer' ? 'value | round(0) | int' : 'value',
  }
}

function rangeOf({ minimum, maximum }: ValueSchema): [number, number] {
  const min = minimum ?? Math.min(-ANY_NUMBER, (maximum ?? 0) - ANY_NUMBER)
  const max = maximum ?? Math.max(ANY_NUMBER, min + ANY_NUMBER)
  return [min, Math.max(min, max)]
}

/** A hundredth of a small range, a tenth of a larger one: what a hand can set. */
function stepOf(range: number): number {
  return range <= 10 ? 0.01 : 0.1
}

function numberChoice({ enum: words }: ValueSchema): Form {
  const options = [...new Set((words ?? []).filter((word) => typeof word === 'number').map(String))]
  return { platform: 'select', options: { options }, value: 'value' }
}

function textForm({ minLength = 0, maxLength = TEXT_CHARS }: ValueSchema): Form {
  const max = Math.min(TEXT_CHARS, maxLength)
  return {
    platform: 'text',
    options: { min: Math.min(minLength, max), max },
    value: 'value | tojson',
  }
}

function template(thing: Thing, command: ApprovedCommand, param: string, value: string): string {
  const { [param]: _own, ...params } = constantParams(command.input)
  return invocationTemplate({ nodeId: thing.nodeId, command: command.name, params }, param, value)
}

/** Returns the entity of a command by itself; undefined where it needs more than one value. */
export function commandComponent(thing: Thing, command: ApprovedCommand): Component | undefined {
  if (thing.requestTopic === undefined) return undefined
  const common = {
    name: nameOf(command),
    unique_id: `${thing.id}_command_${command.name}`,
    command_topic: thing.requestTopic,
    qos: 1,
    ...thing.awake,
  }
  const { input } = command
  const constants = constantParams(input)
  const open = (input?.required ?? []).filter((name) => !Object.hasOwn(constants, name))
  if (open.length === 0 && !asksForOne(input))
    return { ...common, platform: 'button', payload_press: invocation(thing, command, constants) }
  const param = open.length === 1 ? open[0] : Object.keys(input?.properties ?? {})[0]
  const schema = param === undefined ? undefined : input?.properties?.[param]
  if (open.length > 1 || param === undefined || schema === undefined) return undefined
  if (schema.type === 'boolean') {
    const payload = (value: boolean) => invocation(thing, command, { ...constants, [param]: value })
    return { ...common, platform: 'switch', payload_on: payload(true), payload_off: payload(false) }
  }
  const form = ofSchema(schema)
  return (
    form && {
      ...common,
      ...form.options,
      platform: form.platform,
      command_template: template(thing, command, param, form.value),
    }
  )
}

/** A command with one parameter that may be left out is worth a field, not a button: `lamp.brightness {value?}`. */
function asksForOne(input: ValueSchema | undefined): boolean {
  const properties = Object.values(input?.properties ?? {})
  const [only] = properties
  return (
    properties.length === 1 && only !== undefined && only.default === undefined && only.const === undefined
  )
}
