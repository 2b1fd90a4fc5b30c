import { Backoff } from '../../client/backoff.ts'
import { type Clock, iso, type MonotonicMs, plusMs, type WallMs } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import { newId } from '../../kernel/secrets.ts'
import { webhookSignature } from '../../kernel/webhook-signature.ts'
import type { VerbResult } from '../../protocol/results.ts'
import type { Log } from '../ports.ts'
import type { QueuedDelivery, WebhookOutcome, WebhookPorts, WebhookSettings } from '../webhook-ports.ts'
import { requestOf, type WebhookMessage } from './templates.ts'

export type ShownWebhook = VerbResult<'webhook/list'>['items'][number]

/** The pauses between tries grow from a second to this; a receiver that comes back waits no longer. */
const BACKOFF = { firstMs: 1000, maxMs: 300_000 }
/** A delivery that the receiver itself says is wrong is given up after so many tries: it will not get better. */
const MAX_REFUSALS = 8
const GONE = 410
/** Statuses of 400 and above that say nothing about the delivery. */
const LATER = new Set([401, 403, 404, 408, 409, 423, 425, 429])
/** Secrets of one file; more are no rotation. */
const MAX_SECRETS = 4

export interface SenderParts {
  readonly clock: Clock
  /** The time of the running clock. */
  readonly now: () => number
  readonly log: Log
  readonly ports: WebhookPorts
}

/** Sends the deliveries of one webhook, one after the other, until each is taken or its time is over. */
export class WebhookSender {
  readonly settings: WebhookSettings
  readonly #parts: SenderParts
  readonly #stop = new AbortController()
  readonly #backoff = new Backoff(Math.random, BACKOFF)
  #running: Promise<void> | undefined
  #cancelTimer = () => {}
  #nextTryAt: MonotonicMs | undefined
  #gone = false
  #failingSince: WallMs | undefined
  #lastFailure: string | undefined
  #lastDeliveredAt: WallMs | undefined
  delivered = 0
  failed = 0
  dropped = 0

  constructor(settings: WebhookSettings, parts: SenderParts) {
    this.settings = settings
    this.#parts = parts
  }

  /** Seconds since the first of the failures that no delivery ended; 0: the last one was taken. */
  get failingSeconds(): number {
    if (this.#failingSince === undefined) return 0
    return Math.max(1, Math.round((this.#parts.clock.wallMs() - this.#failingSince) / 1000))
  }

  /** Something may wait. */
  wake(): void {
    if (this.#stop.signal.aborted || this.#gone || this.#running || this.#nextTryAt !== undefined) return
    this.#running = this.#turns().finally(() => {
      this.#running = undefined
    })
  }

  /** A reload: whoever mended something need not wait for the next try. */
  retry(): void {
    this.#cancelTimer()
    this.#nextTryAt = undefined
    this.#backoff.reset()
    this.wakeLater()
  }

  /** Ends what is under way; it is sent again after the next start. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#cancelTimer()
    await this.#running
  }

  /** Sends a message of this moment, past the queue. */
  async send(message: WebhookMessage): Promise<WebhookOutcome> {
    return this.#post(newId('msg_'), message)
  }

  shown(queued: number): ShownWebhook {
    const { name, format, events } = this.settings
    const at = (time: WallMs | undefined) => (time === undefined ? null : iso(time))
    return {
      name,
      format,
      host: this.#host() ?? null,
      state: this.#state(),
      events: [...events],
      queued,
      delivered: this.delivered,
      dropped: this.dropped,
      lastDeliveredAt: at(this.#lastDeliveredAt),
      failingSince: at(this.#failingSince),
      lastFailure: this.#failingSince === undefined ? null : (this.#lastFailure ?? null),
      nextTryAt: this.#nextTryAt === undefined ? null : iso(this.#wallOf(this.#nextTryAt)),
    }
  }

  #state(): ShownWebhook['state'] {
    if (this.#gone) return 'gone'
    if (this.#failingSince !== undefined) return 'failing'
    return this.#lastDeliveredAt === undefined ? 'idle' : 'working'
  }

  #wallOf(at: MonotonicMs): number {
    const { clock } = this.#parts
    return clock.wallMs() + at - clock.monotonicMs()
  }

  async #turns(): Promise<void> {
    try {
      while (await this.#turn());
    } catch (error) {
      // The database: what waits is tried again when it answers.
      this.#parts.log.debug({ webhook: this.settings.name, error: messageOf(error) }, 'webhook: no delivery')
      this.#pause(undefined)
    }
  }

  /** Sends the next one. Returns whether to go on at once. */
  async #turn(): Promise<boolean> {
    const { ports, now } = this.#parts
    if (this.#stop.signal.aborted) return false
    const delivery = await ports.queue.next(this.settings.name)
    if (delivery === null || this.#stop.signal.aborted) return false
    if (delivery.expiresAt <= now()) {
      await ports.queue.delete(delivery.seq)
      this.dropped++
      return true
    }
    const outcome = await this.#post(delivery.deliveryId, JSON.parse(delivery.payload) as WebhookMessage)
    if (this.#stop.signal.aborted && outcome.status === undefined) return false
    if (outcome.failure === undefined) {
      await ports.queue.delete(delivery.seq)
      this.#taken()
      return true
    }
    await this.#notTaken(delivery, outcome)
    return false
  }

  #taken(): void {
    const { log, clock } = this.#parts
    const { name } = this.settings
    this.delivered++
    this.#lastDeliveredAt = clock.wallMs()
    this.#backoff.reset()
    if (this.#failingSince !== undefined)
      log.info({ webhook: name }, `webhook ${name}: deliveries are taken again`)
    this.#failingSince = undefined
  }

  async #notTaken(delivery: QueuedDelivery, { failure = '', status, retryAfterSeconds }: WebhookOutcome) {
    const { log, clock, ports } = this.#parts
    const { name } = this.settings
    this.failed++
    this.#lastFailure = failure
    // Once: it goes on until somebody does something.
    if (this.#failingSince === undefined)
      log.warn(
        { webhook: name, kind: delivery.kind, status, failure },
        `webhook ${name}: ${failure}; it is tried again, and \`limb-bridge webhook list\` shows how it goes`,
      )
    this.#failingSince ??= clock.wallMs()
    if (status === GONE) {
      this.#gone = true
      log.warn(
        { webhook: name },
        `webhook ${name}: its receiver is gone (410); nothing is sent until a reload`,
      )
      return
    }
    if (isRefusal(status) && delivery.attempts + 1 >= MAX_REFUSALS) {
      await ports.queue.delete(delivery.seq)
      this.dropped++
      log.warn(
        { webhook: name, kind: delivery.kind, status, failure },
        `webhook ${name}: a delivery is given up, its receiver refused it ${MAX_REFUSALS} times`,
      )
    } else {
      await ports.queue.tried(delivery.seq)
    }
    this.#pause(retryAfterSeconds)
  }

  #pause(seconds: number | undefined): void {
    if (this.#stop.signal.aborted) return
    const { clock } = this.#parts
    const ms = Math.max(this.#backoff.next(), (seconds ?? 0) * 1000)
    this.#nextTryAt = plusMs(clock.monotonicMs(), ms)
    this.#cancelTimer = clock.after(ms, () => {
      this.#nextTryAt = undefined
      this.wakeLater()
    })
  }

  /** Wakes it when the turn that set the timer has ended. */
  wakeLater(): void {
    if (this.#running) void this.#running.then(() => this.wake())
    else this.wake()
  }

  async #post(id: string, message: WebhookMessage): Promise<WebhookOutcome> {
    const { allowPlaintext, networks, caFile } = this.settings
    try {
      const { url, headers, body } = requestOf(this.settings.format, message, this.#receiver())
      const signed = this.#signed(id, body)
      return await this.#parts.ports.client.post(
        { url, headers: { ...headers, ...signed }, body, allowPlaintext, networks, caFile },
        this.#stop.signal,
      )
    } catch (error) {
      // A file that cannot be used, or what is no URL in it; its text names the file alone.
      return { failure: `cannot be asked: ${messageOf(error)}` }
    }
  }

  #receiver() {
    const { urlFile, token, tokenFile, chat } = this.settings
    const url = this.settings.url ?? this.#line(urlFile) ?? ''
    if (!URL.canParse(url) || !/^https?:/i.test(url))
      throw new Error(`${urlFile ?? 'url'} holds no http:// or https:// URL`)
    return { url, token: token ?? this.#line(tokenFile), chat }
  }

  #host(): string | undefined {
    try {
      return new URL(this.#receiver().url).host
    } catch {
      return undefined
    }
  }

  #line(file: string | undefined): string | undefined {
    return file === undefined ? undefined : this.#parts.ports.secretLines(file)[0]
  }

  /** The headers of Standard Webhooks; a service that knows none of them passes them over. */
  #signed(id: string, body: Uint8Array): Record<string, string> {
    const { secret, secretFile } = this.settings
    const secrets = secretFile === undefined ? [] : this.#parts.ports.secretLines(secretFile)
    const all = (secret === undefined ? secrets : [secret]).slice(0, MAX_SECRETS)
    const timestamp = String(Math.floor(this.#parts.clock.wallMs() / 1000))
    const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp }
    if (secret === undefined && secretFile === undefined) return headers
    if (all.length === 0) throw new Error(`${secretFile} holds no secret`)
    try {
      return { ...headers, 'webhook-signature': webhookSignature(all, id, timestamp, body) }
    } catch (error) {
      throw new Error(`${secretFile ?? 'secret'}: ${messageOf(error)}`, { cause: error })
    }
  }
}

/** Returns whether a status says that the delivery is wrong, and not that the receiver is not ready. */
function isRefusal(status: number | undefined): boolean {
  return status !== undefined && status >= 400 && status < 500 && !LATER.has(status)
}
