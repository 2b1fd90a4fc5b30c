import type { ValueSchema, ValueType } from '../protocol/descriptions.ts'

/** Says what is wrong, and where: `path` as a person writes it, such as `color.r` or `points[2]`. */
export interface ValueProblem {
  readonly path: string
  readonly message: string
}

/**
 * Checks a value against the schema that a device gave: JSON Schema 2020-12, the part of it in `protocol/descriptions.ts`.
 * Returns the first problem. Its cost is bounded by the value and by the schema, both of which are bounded.
 */
export function problemInValue(schema: ValueSchema, value: unknown, path = ''): ValueProblem | undefined {
  return (
    typeProblem(schema, value, path) ??
    choiceProblem(schema, value, path) ??
    (typeof value === 'number' ? numberProblem(schema, value, path) : undefined) ??
    (typeof value === 'string' ? lengthProblem(schema, [...value].length, path) : undefined) ??
    (Array.isArray(value) ? arrayProblem(schema, value, path) : undefined) ??
    (isObject(value) ? objectProblem(schema, value, path) : undefined)
  )
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function typeOf(value: unknown): ValueType {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return typeof value as ValueType
}

function typeProblem({ type }: ValueSchema, value: unknown, path: string): ValueProblem | undefined {
  if (type === undefined) return undefined
  const found = typeOf(value)
  const fits = type === 'integer' ? Number.isInteger(value) : type === found
  if (fits) return undefined
  return {
    path,
    message: `must be ${article(type)}, not ${found === 'number' ? String(value) : article(found)}`,
  }
}

function article(type: ValueType): string {
  if (type === 'null') return 'null'
  return `${/^[aeio]/.test(type) ? 'an' : 'a'} ${type}`
}

function choiceProblem(schema: ValueSchema, value: unknown, path: string): ValueProblem | undefined {
  const choices = schema.enum ?? (schema.const === undefined ? undefined : [schema.const])
  // Objects and arrays are never among them: the schema of a description holds scalars only.
  if (choices === undefined || choices.some((choice) => choice === value)) return undefined
  return { path, message: `must be one of ${choices.map((choice) => JSON.stringify(choice)).join(', ')}` }
}

function numberProblem(schema: ValueSchema, value: number, path: string): ValueProblem | undefined {
  const { minimum, maximum, multipleOf, unit } = schema
  const of = unit === undefined ? '' : ` ${unit}`
  if (minimum !== undefined && value < minimum)
    return { path, message: `must be at least ${minimum}${of}, not ${value}` }
  if (maximum !== undefined && value > maximum)
    return { path, message: `must be at most ${maximum}${of}, not ${value}` }
  if (multipleOf !== undefined && !isMultiple(value, multipleOf)) {
    return { path, message: `must be a multiple of ${multipleOf}, not ${value}` }
  }
  return undefined
}

/** Takes 0.3 for a multiple of 0.1, whatever binary fractions say. */
function isMultiple(value: number, of: number): boolean {
  const times = value / of
  return Math.abs(times - Math.round(times)) <= 1e-9 * Math.max(1, Math.abs(times))
}

function lengthProblem(schema: ValueSchema, length: number, path: string): ValueProblem | undefined {
  const { minLength = 0, maxLength = Number.POSITIVE_INFINITY } = schema
  if (length < minLength) return { path, message: `must have ${minLength} characters or more, not ${length}` }
  if (length > maxLength)
    return { path, message: `must have ${maxLength} characters or fewer, not ${length}` }
  return undefined
}

function arrayProblem(
  schema: ValueSchema,
  value: readonly unknown[],
  path: string,
): ValueProblem | undefined {
  const { minItems = 0, maxItems = Number.POSITIVE_INFINITY, items } = schema
  if (value.length < minItems)
    return { path, message: `must have ${minItems} items or more, not ${value.length}` }
  if (value.length > maxItems)
    return { path, message: `must have ${maxItems} items or fewer, not ${value.length}` }
  if (items === undefined) return undefined
  for (const [index, each] of value.entries()) {
    const problem = problemInValue(items, each, `${path}[${index}]`)
    if (problem) return problem
  }
  return undefined
}

function objectProblem(
  schema: ValueSchema,
  value: Readonly<Record<string, unknown>>,
  path: string,
): ValueProblem | undefined {
  const below = (key: string) => (path === '' ? key : `${path}.${key}`)
  for (const key of schema.required ?? []) {
    if (!Object.hasOwn(value, key)) return { path: below(key), message: 'is missing' }
  }
  for (const [key, each] of Object.entries(schema.properties ?? {})) {
    if (!Object.hasOwn(value, key)) continue
    const problem = problemInValue(each, value[key], below(key))
    if (problem) return problem
  }
  return undefined
}
