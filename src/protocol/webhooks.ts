import { EVENTS, type EventFields, type EventKind } from './events.ts'
import type { StatusReason } from './names.ts'

/** The events that webhooks carry, and the forms in which they do. */

/** The events that a webhook carries beside those of MQTT: each shows only after a while. */
export const WEBHOOK_OWN_EVENTS = {
  limb_offline:
    'Limbs have been offline for longer than `offlineSeconds`; those of one moment in one message.',
  limb_back: 'Limbs of which `limb_offline` was sent are there again.',
} as const

export type WebhookOwnEvent = keyof typeof WEBHOOK_OWN_EVENTS
/** `webhook_test` is what `webhook/test` sends; no webhook chooses it. */
export type WebhookEvent = EventKind | WebhookOwnEvent
export const WEBHOOK_EVENTS = [
  ...Object.keys(EVENTS),
  ...Object.keys(WEBHOOK_OWN_EVENTS),
] as readonly WebhookEvent[] as readonly [WebhookEvent, ...WebhookEvent[]]

/** The events that a webhook carries unless it says so. */
export const WEBHOOK_PRESET: readonly WebhookEvent[] = [
  'invocation_waiting',
  'pairing_requested',
  'limb_offline',
  'backup_failed',
]

export const WEBHOOK_FORMATS = ['standard', 'ntfy', 'slack', 'telegram'] as const
export type WebhookFormat = (typeof WEBHOOK_FORMATS)[number]

export const WEBHOOK_STATES = ['idle', 'working', 'failing', 'gone'] as const
export type WebhookState = (typeof WEBHOOK_STATES)[number]

/** Limbs that one message names; the others are in its `count`. */
export const WEBHOOK_LIMBS_MAX = 20

export interface WebhookLimbs {
  readonly count: number
  readonly limbs: readonly {
    readonly nodeId: string
    readonly displayName: string
    /** The reason for which it is offline; of one that is back, for which it was. */
    readonly reason: StatusReason
    readonly offlineSince: string
  }[]
}

/** The fields of each event that is no event of MQTT. */
export interface WebhookOwnFields {
  limb_offline: WebhookLimbs & { readonly offlineSeconds: number }
  limb_back: WebhookLimbs
  webhook_test: { readonly by: string }
}

export type WebhookKind = WebhookEvent | 'webhook_test'
export type WebhookFields<K extends WebhookKind> = K extends keyof WebhookOwnFields
  ? WebhookOwnFields[K]
  : K extends EventKind
    ? EventFields<K>
    : never
