import type { WebhookEvent, WebhookFormat } from '../protocol/webhooks.ts'

/** These are the ports of webhooks: the configuration, the store and the network as they need them. */

/** One webhook, under the names of the configuration. */
export interface WebhookSettings {
  readonly name: string
  readonly url?: string | undefined
  readonly urlFile?: string | undefined
  readonly format: WebhookFormat
  readonly events: readonly WebhookEvent[]
  /** The seconds that a limb may be offline before `limb_offline` is sent. */
  readonly offlineSeconds: number
  readonly secret?: string | undefined
  readonly secretFile?: string | undefined
  readonly token?: string | undefined
  readonly tokenFile?: string | undefined
  readonly chat?: string | undefined
  readonly allowPlaintext: boolean
  /** The addresses that are no public ones and that it may be sent to all the same. */
  readonly networks: readonly string[]
  readonly caFile?: string | undefined
  readonly maxQueued: number
  /** The seconds after which a delivery is given up. */
  readonly keepSeconds: number
}

/** One event on its way to one webhook. */
export interface WebhookDelivery {
  readonly webhook: string
  /** The id that stays the same when it is sent again. */
  readonly deliveryId: string
  readonly kind: string
  /** Somebody waits for a person: it goes before others. */
  readonly urgent: boolean
  /** The event as JSON text. */
  readonly payload: string
  /** The time on the running clock at which it is given up. */
  readonly expiresAt: number
}

export interface QueuedDelivery extends WebhookDelivery {
  readonly seq: number
  /** The number of tries so far. */
  readonly attempts: number
}

/** Deliveries that are stored until they are delivered or given up. */
export interface WebhookQueue {
  /**
   * Stores some in one commit. Beyond `max(webhook)` of one webhook, the oldest of the kind of which it holds most go,
   * so that no flood of one kind pushes out another. Resolves with how many went, or found no room, by webhook.
   */
  put(
    batch: readonly WebhookDelivery[],
    max: (webhook: string) => number,
  ): Promise<ReadonlyMap<string, number>>
  /** The next one to send: those that were tried least, of them the urgent ones, of them the oldest. */
  next(webhook: string): Promise<QueuedDelivery | null>
  tried(seq: number): Promise<void>
  delete(seq: number): Promise<void>
  /** Returns how many wait, by webhook. */
  sizes(): ReadonlyMap<string, number>
  /**
   * Deletes those whose time is over, and all of webhooks that are not named: `names` is asked in each commit, for there may be
   * a new one since the last. Resolves with how many, by webhook.
   */
  prune(now: number, names: () => readonly string[]): Promise<ReadonlyMap<string, number>>
  /** The limbs that a webhook was told of as offline. */
  offline(webhook: string): Promise<readonly string[]>
  setOffline(webhook: string, nodeIds: readonly string[], offline: boolean): Promise<void>
}

/** One request to a webhook. */
export interface WebhookRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  readonly allowPlaintext: boolean
  /** The addresses that are no public ones and that are allowed all the same. */
  readonly networks: readonly string[]
  readonly caFile: string | undefined
}

/** The outcome of a request to a webhook; no text in it holds more of the address than its host. */
export interface WebhookOutcome {
  /** The status of the answer; undefined: there was none. */
  readonly status?: number | undefined
  /** The reason for which it counts as failed, as a part of a sentence; undefined: it was taken. */
  readonly failure?: string | undefined
  /** The seconds after which the receiver wants to be asked again. */
  readonly retryAfterSeconds?: number | undefined
}

export interface WebhookClient {
  /** Total. The signal ends it. */
  post(request: WebhookRequest, signal: AbortSignal): Promise<WebhookOutcome>
}

/** The parts that webhooks need. */
export interface WebhookPorts {
  readonly queue: WebhookQueue
  readonly client: WebhookClient
  /** Returns the webhooks of this moment. */
  readonly configured: () => readonly WebhookSettings[]
  /** Returns the address of the console, for links; null: nobody said it. */
  readonly publicUrl: () => string | null
  /** Returns the lines of a file with a secret. Throws an error that names the file and not what is in it. */
  readonly secretLines: (file: string) => readonly string[]
}
