import { z } from 'zod'
import { commandDescriptionSchema, descriptionShape, propertySchema } from './descriptions.ts'
import { capabilitySchema, nameSchema } from './names.ts'

/**
 * The content of `limb/node/<id>/description`: the limb's words, corrected by an operator's, for what is approved.
 */
export const shownDescriptionSchema = z.object({
  nodeId: nameSchema,
  displayName: z.string(),
  ...descriptionShape,
  commands: z.array(commandDescriptionSchema.extend({ capability: capabilitySchema })),
  properties: z.array(propertySchema),
})
export type ShownDescription = z.infer<typeof shownDescriptionSchema>
