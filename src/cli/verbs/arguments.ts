import { z } from 'zod'
import { pathText, problemOf } from '../../protocol/decode.ts'
import { fastParse } from '../../protocol/fast-parse.ts'
import type { VerbDefinition } from '../../protocol/verbs.ts'
import { WrongArgument } from '../exit.ts'
import { parseTime, TIME_HINT } from '../terminal/times.ts'

/** A verb's schema as arguments and options of a command line. */

export interface ArgumentSpec {
  /** The name as the protocol spells it: `displayName`. */
  readonly key: string
  /** The name as the command line spells it: `display-name`. */
  readonly name: string
  /** `text-or-json`: what begins with a brace is JSON. */
  readonly kind: 'text' | 'integer' | 'boolean' | 'time' | 'json' | 'text-or-json'
  /** The word `null` is no value. */
  readonly nullable: boolean
  readonly choices: readonly string[] | undefined
  readonly required: boolean
  readonly positional: boolean
  /** `-` reads it from standard input, so that it need not stand in the list of processes. */
  readonly secret: boolean
  readonly description: string
}

interface Property {
  readonly type?: string
  readonly format?: string
  readonly enum?: readonly string[]
  readonly anyOf?: readonly Property[]
  readonly description?: string
}

interface ObjectSchema {
  readonly properties?: Readonly<Record<string, Property>>
  readonly required?: readonly string[]
}

const SECRETS = new Set(['password', 'apiKey'])

/** Spells a name of the protocol as the command line does: `displayName` is `display-name`. */
export function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** The forms that a value may have, whatever they are nested in. */
function formsOf(property: Property): readonly Property[] {
  return property.anyOf?.flatMap(formsOf) ?? [property]
}

function kindOf(property: Property): ArgumentSpec['kind'] {
  const kinds = new Set(
    formsOf(property)
      .filter(({ type }) => type !== 'null')
      .map(kindOfForm),
  )
  const [kind = 'text'] = kinds
  if (kinds.size === 1) return kind
  // `*` or a name is a text either way; a mode's name or an object is not.
  return kinds.has('json') ? 'text-or-json' : 'text'
}

function kindOfForm({ type, format, enum: choices }: Property): ArgumentSpec['kind'] {
  if (type === 'integer' || type === 'number') return 'integer'
  if (type === 'boolean') return 'boolean'
  // Without a type it is anything that JSON can say: `params`.
  if (type === 'array' || type === 'object' || (type === undefined && !choices)) return 'json'
  return format === 'date-time' ? 'time' : 'text'
}

export function argumentsOf(verb: VerbDefinition): ArgumentSpec[] {
  const schema = z.toJSONSchema(verb.args, { io: 'input', unrepresentable: 'any' }) as ObjectSchema
  const positional = verb.positional ?? []
  const specs = Object.entries(schema.properties ?? {}).map(([key, property]) => ({
    key,
    name: kebab(key),
    kind: kindOf(property),
    nullable: formsOf(property).some(({ type }) => type === 'null'),
    choices: property.enum,
    required: schema.required?.includes(key) === true,
    positional: positional.includes(key),
    secret: SECRETS.has(key),
    description: property.description ?? '',
  }))
  // Positional ones in the order that the table gives them.
  const place = (spec: ArgumentSpec) => (spec.positional ? positional.indexOf(spec.key) : positional.length)
  return specs.sort((a, b) => place(a) - place(b))
}

/** The value of one argument. Throws WrongArgument with the argument's name. */
export function parseArgument(spec: ArgumentSpec, text: string, nowMs: number): unknown {
  const label = spec.positional ? `<${spec.name}>` : `--${spec.name}`
  if (spec.nullable && text === 'null') return null
  if (spec.kind === 'integer') {
    if (!/^-?\d{1,15}$/.test(text))
      throw new WrongArgument(`${label}: ${JSON.stringify(text)} is not a whole number`)
    return Number(text)
  }
  if (spec.kind === 'time') {
    const time = parseTime(text, nowMs)
    if (time === undefined)
      throw new WrongArgument(`${label}: ${JSON.stringify(text)} is no time; give ${TIME_HINT}`)
    return time
  }
  if (spec.kind === 'json' || (spec.kind === 'text-or-json' && /^\s*\{/.test(text))) {
    try {
      return JSON.parse(text)
    } catch (error) {
      throw new WrongArgument(`${label}: not JSON: ${(error as Error).message}`)
    }
  }
  return text
}

/** Checks what the bridge would check, so that a slip is answered at once and in the words of this command line. */
export function checkArguments(
  verb: VerbDefinition,
  specs: readonly ArgumentSpec[],
  args: Readonly<Record<string, unknown>>,
): void {
  const result = fastParse(verb.args, args)
  if (result.success) return
  const { keys, message } = problemOf(result.error)
  const [key, ...rest] = keys
  const spec = specs.find((entry) => entry.key === key)
  const label = spec?.positional ? `<${spec.name}>` : `--${spec?.name ?? String(key)}`
  const inside = rest.length === 0 ? '' : ` ${pathText(rest)}`
  throw new WrongArgument(`${label}${inside}: ${message}`)
}
