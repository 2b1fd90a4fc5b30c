import type { AdapterCommand, AdapterEntity, AdapterSend, AdapterSource } from '../protocol/adapter.ts'
import type { PropertyDescription, ValueSchema } from '../protocol/descriptions.ts'

/** Is made of one thing of a device: its properties with their sources, and its commands. */
export type Made = Pick<AdapterEntity, 'properties' | 'sources' | 'commands'>

export const NOTHING_MADE: Made = { properties: [], sources: [], commands: [] }

/** One value of a thing: where it is read, how it is set, or both. */
export interface Aspect {
  /** The name of the property. */
  readonly property: string
  readonly title?: string | undefined
  readonly schema: ValueSchema & { readonly type: PropertyDescription['type'] }
  readonly deviceClass?: string | undefined
  readonly stateClass?: PropertyDescription['stateClass']
  readonly source?: Omit<AdapterSource, 'property'> | undefined
  /** The parameter of the command that sets it. */
  readonly param?: string | undefined
  readonly send?: AdapterSend | undefined
}

/** Makes the properties of all aspects, and one command that sets those that can be set. */
export function madeOf(
  name: string,
  title: string,
  aspects: readonly Aspect[],
  sends: readonly AdapterSend[] = [],
): Made {
  const set = aspects.filter(
    ({ param, send }) => param !== undefined && (send !== undefined || sends.length > 0),
  )
  const command = `${name}.set`
  return {
    properties: aspects
      .filter(({ source }) => source !== undefined)
      .map((aspect) => propertyOf(aspect, set.includes(aspect) ? command : undefined)),
    sources: aspects.flatMap(({ property, source }) => (source ? [{ property, ...source }] : [])),
    commands: set.length === 0 ? [] : [setter(command, title, set, sends)],
  }
}

function propertyOf(
  { property, title, schema, deviceClass, stateClass, param }: Aspect,
  command: string | undefined,
): PropertyDescription {
  const { type, unit, minimum, maximum } = schema
  return {
    name: property,
    topic: `data/${property}`,
    type,
    ...(title === undefined ? {} : { title }),
    ...(unit === undefined ? {} : { unit }),
    ...(deviceClass === undefined ? {} : { deviceClass }),
    ...(stateClass === undefined ? {} : { stateClass }),
    ...(schema.enum === undefined ? {} : { enum: [...schema.enum] }),
    ...(minimum === undefined ? {} : { minimum }),
    ...(maximum === undefined ? {} : { maximum }),
    ...(command === undefined || param === undefined ? { readOnly: true } : { set: { command, param } }),
  }
}

function setter(
  name: string,
  title: string,
  set: readonly Aspect[],
  shared: readonly AdapterSend[],
): AdapterCommand {
  const params = set.map(({ param = '', schema, title: words }): [string, ValueSchema] => [
    param,
    words === undefined ? schema : { ...schema, title: words },
  ])
  const [only] = set
  return {
    name,
    title,
    idempotent: true,
    input: {
      type: 'object',
      properties: Object.fromEntries(params),
      ...(set.length === 1 && only?.param !== undefined ? { required: [only.param] } : {}),
    },
    sends: [...shared, ...set.flatMap(({ send }) => send ?? [])],
  }
}

/** Makes a command without parameters that sends one text. */
export function fixedCommand(name: string, title: string, send: AdapterSend): AdapterCommand {
  return { name, title, input: { type: 'object', properties: {} }, sends: [send] }
}

export function together(...parts: readonly Made[]): Made {
  return {
    properties: parts.flatMap(({ properties }) => properties),
    sources: parts.flatMap(({ sources }) => sources),
    commands: parts.flatMap(({ commands }) => commands),
  }
}
