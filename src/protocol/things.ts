import { z } from 'zod'

const affordances = z.record(z.string(), z.record(z.string(), z.unknown()))

/** The parts of a W3C Thing Description 1.1 that the bridge makes. */
export const thingSchema = z.object({
  '@context': z.array(z.unknown()),
  '@type': z.literal('Thing'),
  id: z.string(),
  title: z.string(),
  description: z.string().optional(),
  version: z.object({ instance: z.string() }).optional(),
  support: z.string().optional(),
  securityDefinitions: z.record(z.string(), z.record(z.string(), z.unknown())),
  security: z.array(z.string()),
  properties: affordances,
  actions: affordances,
})
export type ThingDescription = z.infer<typeof thingSchema>
