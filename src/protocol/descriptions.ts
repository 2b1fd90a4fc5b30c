import { z } from 'zod'
import { LIMITS } from './limits.ts'
import { commandSchema } from './names.ts'
import { displayNameSchema, isHttpUrl, printable, visible, visibleJson } from './texts.ts'

/**
 * Describes what a device can do, in its own words: commands with parameters, properties with units. The words are
 * those of the W3C's Web of Things; a schema is a bounded part of JSON Schema 2020-12, and no code is made of it.
 */

const titleSchema = printable(LIMITS.displayNameChars)
const helpSchema = printable(LIMITS.helpChars)
const finite = z.number()
const scalar = z.union([visible(LIMITS.helpChars), z.number(), z.boolean(), z.null()])

export const VALUE_TYPES = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null'] as const
export type ValueType = (typeof VALUE_TYPES)[number]

/** Is the schema of a value: what a command takes, or answers. */
export interface ValueSchema {
  readonly type?: ValueType | undefined
  readonly title?: string | undefined
  readonly description?: string | undefined
  readonly unit?: string | undefined
  readonly properties?: Readonly<Record<string, ValueSchema>> | undefined
  readonly required?: readonly string[] | undefined
  readonly items?: ValueSchema | undefined
  readonly enum?: readonly (string | number | boolean | null)[] | undefined
  readonly const?: string | number | boolean | null | undefined
  readonly default?: unknown
  readonly minimum?: number | undefined
  readonly maximum?: number | undefined
  readonly multipleOf?: number | undefined
  readonly minLength?: number | undefined
  readonly maxLength?: number | undefined
  readonly minItems?: number | undefined
  readonly maxItems?: number | undefined
}

const length = z.int().min(0).max(LIMITS.resultBytes)
const keySchema = printable(LIMITS.displayNameChars).refine((key) => key !== '__proto__', {
  error: 'is no name of a parameter',
})

/** Keywords that JSON Schema knows and this part of it does not are refused by name, so that nobody relies on it. */
export const valueSchema: z.ZodType<ValueSchema> = z.lazy(() =>
  z
    .strictObject({
      type: z.enum(VALUE_TYPES).optional(),
      title: titleSchema.optional(),
      description: helpSchema.optional(),
      unit: printable(LIMITS.unitChars).optional(),
      properties: z
        .record(keySchema, valueSchema)
        .refine((value) => Object.keys(value).length <= LIMITS.schemaEntries, {
          error: `has more than ${LIMITS.schemaEntries} entries`,
        })
        .optional(),
      required: z.array(keySchema).max(LIMITS.schemaEntries).optional(),
      items: valueSchema.optional(),
      enum: z.array(scalar).min(1).max(LIMITS.schemaEntries).optional(),
      const: scalar.optional(),
      default: visibleJson.optional(),
      minimum: finite.optional(),
      maximum: finite.optional(),
      multipleOf: finite.positive().optional(),
      minLength: length.optional(),
      maxLength: length.optional(),
      minItems: length.optional(),
      maxItems: length.optional(),
    })
    .refine(
      (value) => value.minimum === undefined || value.maximum === undefined || value.minimum <= value.maximum,
      {
        error: 'is above maximum',
        path: ['minimum'],
      },
    ),
)

const describedSchema = valueSchema.refine((value) => depthOf(value) <= LIMITS.schemaDepth, {
  error: `is nested deeper than ${LIMITS.schemaDepth} levels`,
})

function depthOf(value: ValueSchema): number {
  const below = [...Object.values(value.properties ?? {}), ...(value.items ? [value.items] : [])]
  return 1 + Math.max(0, ...below.map(depthOf))
}

export const commandDescriptionSchema = z.object({
  name: commandSchema,
  title: titleSchema.optional(),
  description: helpSchema.optional(),
  input: describedSchema
    .refine((value) => value.type === undefined || value.type === 'object', {
      error: 'must be "object": params is an object',
      path: ['type'],
    })
    .optional()
    .describe('the schema of `params`; the bridge checks them with it'),
  output: describedSchema.optional().describe('the schema of what the limb answers'),
  safe: z.boolean().optional().describe('it changes nothing'),
  idempotent: z.boolean().optional().describe('twice does the same as once'),
  timeoutSeconds: z.int().min(1).max(LIMITS.invokeSecondsMax).optional().describe('how long it may take'),
})
/** Is one command as its limb describes it. */
export type CommandDescription = z.infer<typeof commandDescriptionSchema>

const PROPERTY_TYPES = ['string', 'number', 'integer', 'boolean', 'object', 'array'] as const

export const propertySchema = z.object({
  name: commandSchema,
  topic: visible(LIMITS.propertyTopicChars)
    .regex(/^data\/[^+#\0]+$/, {
      error: 'must be a topic of its own that begins with data/, without + and #',
    })
    .describe('where it is published, below the topic of the limb'),
  pointer: visible(LIMITS.propertyTopicChars)
    .regex(/^(\/([^/~]|~[01])*)*$/, { error: 'must be a JSON pointer, such as /temperature' })
    .optional()
    .describe('where in the JSON it stands; the whole payload when absent'),
  title: titleSchema.optional(),
  description: helpSchema.optional(),
  type: z.enum(PROPERTY_TYPES),
  unit: printable(LIMITS.unitChars).optional(),
  deviceClass: commandSchema.optional(),
  stateClass: z.enum(['measurement', 'total', 'total_increasing']).optional(),
  enum: z.array(scalar).min(1).max(LIMITS.schemaEntries).optional(),
  minimum: finite.optional(),
  maximum: finite.optional(),
  readOnly: z.boolean().optional(),
  set: z
    .object({ command: commandSchema, param: printable(LIMITS.displayNameChars) })
    .optional()
    .describe('the command, and its parameter, that sets it'),
})
/** Is something that the limb measures or has, and where it publishes it. */
export type PropertyDescription = z.infer<typeof propertySchema>

const configurationUrlSchema = z
  .string()
  .max(LIMITS.urlChars)
  .refine(isHttpUrl, { error: 'must be an http:// or https:// URL without user name and password' })

const namesOnce = (list: readonly { name: string }[]) =>
  new Set(list.map(({ name }) => name)).size === list.length

/** The fields of a description beside the commands, which stand with their capabilities in a registration. */
export const descriptionShape = {
  description: helpSchema.optional().describe('what the device is'),
  model: titleSchema.optional(),
  manufacturer: titleSchema.optional(),
  area: displayNameSchema.optional().describe('the room it is in'),
  configurationUrl: configurationUrlSchema.optional().describe('its own web page'),
  properties: z
    .array(propertySchema)
    .max(LIMITS.properties)
    .refine(namesOnce, { error: 'names a property twice' })
    .optional(),
}

export const descriptionSchema = z
  .object({
    ...descriptionShape,
    commands: z
      .array(commandDescriptionSchema)
      .max(LIMITS.describedCommands)
      .refine(namesOnce, { error: 'names a command twice' })
      .optional(),
  })
  .refine((value) => new TextEncoder().encode(JSON.stringify(value)).length <= LIMITS.descriptionBytes, {
    error: `is longer than ${LIMITS.descriptionBytes} bytes`,
  })
/** Is what a limb can do, as it says itself or as an operator corrects it. */
export type Description = z.infer<typeof descriptionSchema>
