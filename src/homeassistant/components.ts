import type { ApprovedCommand } from '../domain/descriptions.ts'
import type { PropertyDescription, ValueSchema } from '../protocol/descriptions.ts'

/** Holds what every kind of component is made with: the limb, its commands that Home Assistant may send, and small options. */

export type Platform =
  | 'binary_sensor'
  | 'button'
  | 'camera'
  | 'cover'
  | 'event'
  | 'fan'
  | 'image'
  | 'light'
  | 'lock'
  | 'number'
  | 'select'
  | 'sensor'
  | 'switch'
  | 'text'

export interface Component {
  readonly platform: Platform
  readonly [option: string]: unknown
}

/** One limb, as the makers of components see it. */
export interface Thing {
  /** Begins every unique id. */
  readonly id: string
  readonly nodeId: string
  /** The topic below which its properties are published: `limb/node/<id>/`. */
  readonly topicPrefix: string
  /** The topic on which an invocation is asked for; undefined: none, so that there is nothing to press. */
  readonly requestTopic: string | undefined
  readonly properties: readonly PropertyDescription[]
  /** The commands that need no lease, by their names. */
  readonly commands: ReadonlyMap<string, ApprovedCommand>
  /** Goes with what can be pressed, where the limb sleeps between its visits; else nothing. */
  readonly awake: Readonly<Record<string, unknown>>
  /** Seconds until a measurement that does not come any more is unknown; undefined where the limb sleeps. */
  readonly staleSeconds: number | undefined
}

/** A property with the command that sets it. */
export interface Settable {
  readonly property: PropertyDescription
  readonly command: ApprovedCommand
  readonly param: string
  /** The command's words about the parameter. */
  readonly schema: ValueSchema
}

/** Returns how a property is set; undefined where it is only read. */
export function settable(thing: Thing, property: PropertyDescription): Settable | undefined {
  if (property.set === undefined || property.readOnly === true || thing.requestTopic === undefined)
    return undefined
  const { param } = property.set
  const command = thing.commands.get(property.set.command)
  if (command === undefined || !onlyNeeds(command, param)) return undefined
  return { property, command, param, schema: paramSchema(command, param) }
}

/** A command that cannot do without another parameter cannot be sent with this one alone. */
function onlyNeeds({ input }: ApprovedCommand, param: string): boolean {
  const constants = constantParams(input)
  return (input?.required ?? []).every((name) => name === param || Object.hasOwn(constants, name))
}

function paramSchema({ input }: ApprovedCommand, param: string): ValueSchema {
  const properties = input?.properties ?? {}
  return Object.hasOwn(properties, param) ? (properties[param] as ValueSchema) : {}
}

/** Returns the required parameters that leave no choice. */
export function constantParams(input: ValueSchema | undefined): Record<string, unknown> {
  const constants: Record<string, unknown> = {}
  for (const name of input?.required ?? []) {
    const schema = input?.properties?.[name]
    const value =
      schema?.const ?? schema?.default ?? (schema?.enum?.length === 1 ? schema.enum[0] : undefined)
    if (value !== undefined) constants[name] = value
  }
  return constants
}

/** Returns the parameters that go along when `param` is set. */
export function along({ command, param }: Settable): Record<string, unknown> {
  const { [param]: _own, ...others } = constantParams(command.input)
  return others
}

/** Returns the payload that sets the property to a value. */
export function payloadOf(thing: Thing, target: Settable, value: unknown): string {
  return invocation(thing, target.command, { ...along(target), [target.param]: value })
}

export function invocation({ nodeId }: Thing, { name }: ApprovedCommand, params: object): string {
  return JSON.stringify({ nodeId, command: name, params })
}

/** Returns the topic of a property's values. */
export function topicOf({ topicPrefix }: Thing, { topic }: PropertyDescription): string {
  return topicPrefix + topic
}

/** Options that both a number and a range of brightness need; undefined where there is no bound. */
export interface Bounds {
  readonly minimum: number | undefined
  readonly maximum: number | undefined
}

export function boundsOf(property: PropertyDescription, schema: ValueSchema = {}): Bounds {
  return {
    minimum: property.minimum ?? schema.minimum,
    maximum: property.maximum ?? schema.maximum,
  }
}

/** Returns the words that a property may have, all of them texts; undefined where they are not told. */
export function wordsOf(
  property: PropertyDescription,
  schema: ValueSchema = {},
): readonly string[] | undefined {
  const words = property.enum ?? schema.enum
  const texts = words?.filter((word) => typeof word === 'string' && word !== '')
  return texts === undefined || texts.length === 0 ? undefined : [...new Set(texts as string[])]
}
