import { z } from 'zod'
import { LIMITS } from './limits.ts'
import { presenceSchema } from './presence.ts'
import { displayNameSchema } from './texts.ts'

/** The settings that an operator may make for a limb; they win over the limb's own wishes. */
export const operatorSettingsShape = {
  presence: presenceSchema.optional(),
  heartbeatSeconds: z
    .int()
    .min(LIMITS.heartbeatSecondsMin)
    .max(LIMITS.heartbeatSecondsMax)
    .optional()
    .describe('seconds between two heartbeats; as the limb asks when absent'),
  timeoutSeconds: z
    .int()
    .min(LIMITS.heartbeatSecondsMin)
    .max(LIMITS.timeoutSecondsMax)
    .optional()
    .describe('seconds without a sign of life until it is offline; three heartbeats when absent'),
  area: displayNameSchema.optional().describe('the room that it is in'),
}

export const operatorSettingsSchema = z.object(operatorSettingsShape)
