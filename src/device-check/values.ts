import { problemInValue } from '../domain/value-schema.ts'
import type { PropertyDescription, ValueSchema } from '../protocol/descriptions.ts'

/** Looks at the values of a device by what it says of them, and makes values for its commands. */

/** Says what is wrong with a payload as the value of a property; undefined when nothing is. */
export function problemInProperty(property: PropertyDescription, payload: Buffer): string | undefined {
  const { pointer, type, minimum, maximum } = property
  const value = valueAt(payload.toString('utf8'), pointer, type)
  if (value === undefined) return `${property.topic} has no JSON with ${pointer} in it`
  const problem = problemInValue({ type, minimum, maximum, enum: property.enum }, value)
  return problem && `${property.topic}${pointer ?? ''} ${problem.message}`
}

function valueAt(text: string, pointer: string | undefined, type: PropertyDescription['type']): unknown {
  const json = parsed(text)
  if (pointer === undefined || pointer === '') return json === undefined || type === 'string' ? text : json
  const keys = pointer
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'))
  return keys.reduce<unknown>((value, key) => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    return (value as Record<string, unknown>)[key]
  }, json)
}

/** Returns undefined for what is no JSON. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Makes params that a command takes: its required ones, or all when none is. */
export function sampleParams(input: ValueSchema | undefined): Record<string, unknown> {
  const properties = Object.entries(input?.properties ?? {})
  const required = input?.required ?? []
  const wanted = properties.filter(([key]) => required.length === 0 || required.includes(key))
  return Object.fromEntries(wanted.map(([key, schema]) => [key, sampleOf(schema)]))
}

function sampleOf(schema: ValueSchema): unknown {
  if (schema.default !== undefined) return schema.default
  if (schema.const !== undefined) return schema.const
  if (schema.enum !== undefined) return schema.enum[0]
  switch (schema.type) {
    case 'boolean':
      return true
    case 'number':
    case 'integer':
      return sampleNumber(schema)
    case 'array':
      return Array.from({ length: schema.minItems ?? 0 }, () => sampleOf(schema.items ?? {}))
    case 'object':
      return sampleParams(schema)
    case 'null':
      return null
    default:
      return 'x'.repeat(Math.max(1, schema.minLength ?? 1))
  }
}

function sampleNumber({ type, minimum, maximum, multipleOf = 1 }: ValueSchema): number {
  if (minimum === undefined) return maximum === undefined || maximum >= 0 ? 0 : Math.floor(maximum)
  const next = Math.ceil(minimum / multipleOf) * multipleOf
  return type === 'integer' || maximum === undefined || next <= maximum ? next : minimum
}

/** Makes params that no device can use: the first one described, with a value of another type. */
export function wrongParams(input: ValueSchema | undefined): Record<string, unknown> | undefined {
  const [key, schema] = Object.entries(input?.properties ?? {})[0] ?? []
  if (key === undefined || schema?.type === undefined) return undefined
  return {
    ...sampleParams(input),
    [key]: schema.type === 'string' ? { no: 'text' } : 'no value of this kind',
  }
}
