import { z } from 'zod'
import { LIMITS } from './limits.ts'

/** The ways in which a limb shows that it is there (docs/protocol/limbs.md, "Presence"). */

export const PRESENCE_MODES = ['heartbeat', 'activity', 'connection', 'sleepy', 'probe'] as const
export type PresenceMode = (typeof PRESENCE_MODES)[number]

/** Is a limb's own topic below `limb/node/<id>/`, such as `data/tele/LWT`. */
const availabilityTopicSchema = z
  .string()
  .max(LIMITS.propertyTopicChars)
  .regex(/^data\/[^+#\0]+$/, { error: 'must be a topic of its own that begins with data/, without + and #' })

const word = z.string().min(1).max(LIMITS.availabilityWordChars)

const presenceObjectSchema = z
  .object({
    mode: z.enum(PRESENCE_MODES),
    topic: availabilityTopicSchema
      .optional()
      .describe('a retained topic of the limb that says whether it is there'),
    online: word.optional().describe('what the topic says when it is; `online` when absent'),
    offline: word.optional().describe('what the topic says when it is not; `offline` when absent'),
  })
  .refine(({ mode, topic }) => topic === undefined || mode === 'connection', {
    error: 'goes with "mode": "connection" only',
    path: ['topic'],
  })

/** A mode's name, or an object with more. */
export const presenceSchema = z
  .union([z.enum(PRESENCE_MODES), presenceObjectSchema])
  .describe('what a sign of life is: `heartbeat`, `activity`, `connection`, `sleepy` or `probe`')
export type PresenceWish = z.infer<typeof presenceSchema>

/** Returns the mode that is asked for, if any is. */
export function presenceModeOf(wish: PresenceWish | null | undefined): PresenceMode | undefined {
  return typeof wish === 'object' ? wish?.mode : wish
}

/** Is how presence is kept, with every default filled in. */
export interface PresenceRule {
  readonly mode: PresenceMode
  /** The topic below `limb/node/<id>/`; undefined: the connection itself says it. */
  readonly topic: string | undefined
  readonly online: string
  readonly offline: string
}

/** The rules of limbs that asked for a mode alone: nearly all of a fleet share one object. */
const PLAIN_RULES = new Map<PresenceMode, PresenceRule>(
  PRESENCE_MODES.map((mode) => [mode, Object.freeze(ruleOf({ mode }))]),
)

/** Fills in the defaults; undefined is a limb that asked for nothing. */
export function presenceRule(wish: PresenceWish | undefined): PresenceRule {
  if (typeof wish === 'object') return ruleOf(wish)
  const mode = wish ?? 'heartbeat'
  return PLAIN_RULES.get(mode) ?? ruleOf({ mode })
}

function ruleOf({ mode, topic, online, offline }: Exclude<PresenceWish, string>): PresenceRule {
  return { mode, topic, online: online ?? 'online', offline: offline ?? 'offline' }
}
