import { z } from 'zod'
import { commandDescriptionSchema, descriptionShape, propertySchema } from './descriptions.ts'
import { LIMITS } from './limits.ts'
import { capabilitySchema, LEVELS, nameSchema } from './names.ts'
import { displayNameSchema, printable } from './texts.ts'

/**
 * Holds what the bridge has read of firmware that was never made for it: which topics of its own say what, and what is
 * published where to run a command. It is made from messages of the firmware, never sent by a limb as such, and stored
 * with the limb.
 */

export const ADAPTER_KINDS = ['homeassistant', 'tasmota'] as const
export type AdapterKind = (typeof ADAPTER_KINDS)[number]

/** Is a topic of the firmware: no filter, and nothing that the broker keeps for itself. */
export const foreignTopicSchema = z
  .string()
  .min(1)
  .max(LIMITS.propertyTopicChars)
  .regex(/^[^$+#\0][^+#\0]*$/, { error: 'must be a topic without + and #' })

const word = z.string().max(LIMITS.helpChars)
const words = z.record(word, z.union([z.string().max(LIMITS.helpChars), z.boolean()]))
const pointer = propertySchema.shape.pointer

/** A number that counts from the other end: with 100, what the firmware calls 30 is 70 here. */
const from = z.number().optional()

/** Says where the value of a property comes from. */
const sourceSchema = z.object({
  property: capabilitySchema,
  topic: foreignTopicSchema,
  pointer,
  /** The values that stand for others, such as `{"ON": true}`; another one says nothing. */
  words: words.optional(),
  from,
})
export type AdapterSource = z.infer<typeof sourceSchema>

const jsonField = z.object({ param: word, words: z.record(word, word).optional() })

/** Is one message that runs a command, or a part of it. */
const sendSchema = z.object({
  topic: foreignTopicSchema,
  /** The payload itself, when no parameter goes into it. */
  text: word.optional(),
  /** The parameter that is the payload; nothing is sent without it. */
  param: word.optional(),
  /** Maps to what the firmware calls the values of the parameter. */
  words: z.record(word, word).optional(),
  from,
  /** The text around the value. */
  before: word.optional(),
  after: word.optional(),
  /** A JSON object of the parameters that are there. */
  json: z.record(word, jsonField).optional(),
  /** The topic on which the firmware answers with JSON; absent: it does not answer. */
  answer: foreignTopicSchema.optional(),
})
export type AdapterSend = z.infer<typeof sendSchema>

const availabilitySchema = z.object({
  topic: foreignTopicSchema,
  pointer,
  online: word,
  offline: word,
})
export type AdapterAvailability = z.infer<typeof availabilitySchema>

const adapterCommandSchema = commandDescriptionSchema.extend({ sends: z.array(sendSchema).min(1).max(16) })
export type AdapterCommand = z.infer<typeof adapterCommandSchema>

/** Is one thing of a device: a lamp of it, a sensor. */
const entitySchema = z.object({
  /** Tells which message it came with. */
  key: z.string().max(LIMITS.propertyTopicChars * 2),
  name: capabilitySchema,
  level: z.enum(LEVELS),
  properties: z.array(propertySchema).max(16),
  sources: z.array(sourceSchema).max(16),
  commands: z.array(adapterCommandSchema).max(16),
  availability: z.array(availabilitySchema).max(8),
})
export type AdapterEntity = z.infer<typeof entitySchema>

export const AVAILABILITY_MODES = ['all', 'any', 'latest'] as const

export const adapterSchema = z
  .object({
    kind: z.enum(ADAPTER_KINDS),
    /** The limb behind whose session the device is; absent: it has a session of its own. */
    via: nameSchema.optional(),
    /** The device, by the name that its firmware gives it. */
    device: printable(LIMITS.propertyTopicChars),
    displayName: displayNameSchema,
    platform: printable(LIMITS.platformChars),
    firmware: printable(LIMITS.firmwareChars).optional(),
    model: descriptionShape.model,
    manufacturer: descriptionShape.manufacturer,
    area: descriptionShape.area,
    configurationUrl: descriptionShape.configurationUrl,
    availabilityMode: z.enum(AVAILABILITY_MODES),
    entities: z.array(entitySchema).max(LIMITS.adapterEntities),
  })
  .refine((value) => JSON.stringify(value).length <= LIMITS.adapterBytes, {
    error: `is longer than ${LIMITS.adapterBytes} characters`,
  })
/** Is one device of foreign firmware, as a limb. */
export type AdapterRecord = z.infer<typeof adapterSchema>
export { entitySchema as adapterEntitySchema }
