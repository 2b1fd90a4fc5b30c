import { z } from 'zod'
import { configSchema, type LeafMeta } from './schema.ts'

/** The schema as a flat list, for messages, documents and the environment. */

/** The slice of JSON Schema that is used. */
interface JsonSchema extends LeafMeta {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly items?: JsonSchema
  readonly required?: readonly string[]
}

export interface Leaf {
  /** The path, such as `mqtt.port`. */
  readonly path: string
  readonly section: string
  readonly key: string
  readonly description: string
  readonly default: unknown
  readonly defaultText: string | undefined
  /** The values that may stand there, as a person would say it. */
  readonly allowed: string
  readonly type: string | undefined
  readonly env: string | undefined
  readonly secret: boolean
  /** A reload takes it over in the running bridge; any other waits for a restart. */
  readonly live: boolean
}

export interface Section {
  readonly key: string
  readonly description: string
  readonly leaves: readonly Leaf[]
  /** A section that is a list; `leaves` is empty. */
  readonly list: (Leaf & { readonly item: readonly Leaf[] }) | undefined
}

const root = z.toJSONSchema(configSchema, { io: 'input' }) as unknown as JsonSchema

function allowedText(schema: JsonSchema): string {
  if (schema.allowed !== undefined) return schema.allowed
  if (schema.enum) return `one of ${schema.enum.map((value) => `\`${value}\``).join(', ')}`
  if (schema.type === 'integer') return `a whole number from ${schema.minimum} to ${schema.maximum}`
  if (schema.type === 'boolean') return '`true` or `false`'
  if (schema.type === 'array') return 'a list'
  if (schema.type === 'object') return 'keys and values'
  return 'a text'
}

function leafOf(section: string, key: string, schema: JsonSchema): Leaf {
  return {
    path: `${section}.${key}`,
    section,
    key,
    description: schema.description ?? '',
    default: schema.default,
    defaultText: schema.defaultText,
    allowed: allowedText(schema),
    type: schema.type,
    env: schema.env,
    secret: schema.secret === true,
    live: schema.reload === 'live',
  }
}

function leavesOf(key: string, { properties = {} }: JsonSchema): Leaf[] {
  return Object.entries(properties).map(([name, leaf]) => leafOf(key, name, leaf))
}

function listOf(key: string, schema: JsonSchema): Section['list'] {
  const { items } = schema
  if (items === undefined) return undefined
  const item = leavesOf(key, items).map((leaf) =>
    leaf.default !== undefined
      ? leaf
      : { ...leaf, defaultText: items.required?.includes(leaf.key) ? 'needed' : 'none' },
  )
  return { ...leafOf(key, '', schema), path: key, item }
}

export const SECTIONS: readonly Section[] = Object.entries(root.properties ?? {}).map(([key, section]) => ({
  key,
  description: section.description ?? '',
  leaves: leavesOf(key, section),
  list: listOf(key, section),
}))

export const LEAVES: readonly Leaf[] = SECTIONS.flatMap((section) => section.leaves)

function schemaAt(path: readonly PropertyKey[]): JsonSchema | undefined {
  let schema: JsonSchema | undefined = root
  for (const part of path) {
    schema = typeof part === 'number' ? schema?.items : schema?.properties?.[String(part)]
  }
  return schema
}

/** Says what may stand at a path, inside lists too. */
export function allowedAt(path: readonly PropertyKey[]): string {
  const schema = schemaAt(path)
  return schema ? allowedText(schema) : 'something else'
}

/** The keys that are known at a path. */
export function keysAt(path: readonly PropertyKey[]): readonly string[] {
  return Object.keys(schemaAt(path)?.properties ?? {})
}

/** Returns whether the value at a path is secret, or has something secret in it. */
export function isSecret(path: readonly PropertyKey[]): boolean {
  return path.some((_, i) => schemaAt(path.slice(0, i + 1))?.secret === true) || holdsSecret(schemaAt(path))
}

function holdsSecret({ items, properties = {}, secret }: JsonSchema = {}): boolean {
  return secret === true || (items && holdsSecret(items)) || Object.values(properties).some(holdsSecret)
}
