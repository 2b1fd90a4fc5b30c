import { isDeepStrictEqual } from 'node:util'
import { shownName } from '../../domain/pairing.ts'
import { iso, type WallMs } from '../../kernel/clock.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import { newSortableId } from '../../kernel/secrets.ts'
import { encodeJson } from '../../protocol/encode.ts'
import type { EventFields, EventKind } from '../../protocol/events.ts'
import type { VerbResult } from '../../protocol/results.ts'
import {
  WEBHOOK_LIMBS_MAX,
  type WebhookFields,
  type WebhookKind,
  type WebhookLimbs,
} from '../../protocol/webhooks.ts'
import type { LiveLimb, Registry } from '../live/registry.ts'
import type { BridgeContext } from '../settings.ts'
import type { WebhookDelivery, WebhookPorts, WebhookSettings } from '../webhook-ports.ts'
import { linkTo, noticeOf } from './notices.ts'
import { OfflineWatch } from './offline-watch.ts'
import { type ShownWebhook, WebhookSender } from './sender.ts'
import type { WebhookMessage } from './templates.ts'

/** The bytes of one event as it is stored; of a larger one only what is short is sent. */
const MAX_DATA_BYTES = 65_536
const MAX_SHORT_CHARS = 500
/** Deliveries that wait until they are stored, and the bytes of their events: beyond, new ones are dropped. */
const MAX_UNSTORED = 2000
const MAX_UNSTORED_BYTES = 16_777_216
/** Deliveries of one commit, and their bytes: some milliseconds. One event alone always has room. */
const STORED_AT_ONCE = 500
const STORED_BYTES_AT_ONCE = 1_048_576
/** A webhook that fails for so long is worth a warning. */
const WARN_SECONDS = 600
const TOO_MANY = 'too many came at once, or the store is too slow'
const PACE = { quietMs: 60_000, lines: 1, maxKeys: 32, maxLines: 32 } as const

/** The state of one webhook, for metrics. */
export interface WebhookReading {
  readonly name: string
  readonly queued: number
  readonly delivered: number
  readonly failed: number
  readonly dropped: number
  readonly failingSeconds: number
}

/** One event, for all webhooks that carry it: they share its text. */
interface Unstored {
  readonly deliveries: readonly WebhookDelivery[]
  readonly bytes: number
}

interface Live {
  readonly sender: WebhookSender
  readonly events: ReadonlySet<string>
  watch: OfflineWatch | undefined
}

/** Carries chosen events to the webhooks of the configuration: stores each first, then sends until it is taken. */
export class Webhooks {
  readonly #context: BridgeContext
  readonly #ports: WebhookPorts | undefined
  readonly #registry: Registry
  readonly #throttle: LogThrottle
  readonly #live = new Map<string, Live>()
  readonly #unstored: Unstored[] = []
  #unstoredDeliveries = 0
  #unstoredBytes = 0
  #storing: Promise<void> | undefined
  /** Asks and tells the store about the webhooks that there are. */
  #upkeep: Promise<void> = Promise.resolve()
  #started = false
  #stopped = false

  constructor(context: BridgeContext, registry: Registry) {
    this.#context = context
    this.#ports = context.webhooks
    this.#registry = registry
    this.#throttle = new LogThrottle(context.clock, PACE)
  }

  /** Begins to send what the last run left, and to watch the limbs that are offline. */
  start(): void {
    this.#started = true
    this.configure()
  }

  /**
   * Takes over the webhooks of this moment: each has the events from now on, however slow the store is. One that did not
   * change goes on as it was, unless its receiver was gone.
   */
  configure(): void {
    const ports = this.#ports
    if (ports === undefined || !this.#started || this.#stopped) return
    const ended = this.#takeOver(ports)
    this.#upkeep = Promise.all([this.#upkeep, ended])
      .then(() => this.#keep(ports))
      .catch((error: unknown) => {
        this.#context.log.warn(
          { error: messageOf(error) },
          `webhooks: ${messageOf(error)}; it is tried again within a minute`,
        )
      })
  }

  /** Ends what is under way; what is stored is sent after the next start. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#upkeep
    for (const { watch } of this.#live.values()) watch?.stop()
    await Promise.all([...this.#live.values()].map(({ sender }) => sender.stop()))
    await this.#storing
    this.#throttle.stop()
  }

  /** Is told each event of the bridge. Total and quick. */
  event<K extends EventKind>(kind: K, at: WallMs, fields: EventFields<K>): void {
    if (this.#live.size === 0) return
    if (kind === 'node_status') this.#status(fields as EventFields<'node_status'>)
    if (kind === 'node_revoked') {
      const { nodeId } = fields as EventFields<'node_revoked'>
      for (const { watch } of this.#live.values()) watch?.revoked(nodeId)
    }
    const carrying = [...this.#live].flatMap(([name, { events }]) => (events.has(kind) ? [name] : []))
    if (carrying.length > 0) this.#offer(carrying, kind, at, fields as WebhookFields<K>)
  }

  list(): ShownWebhook[] {
    const sizes = this.#sizes()
    return [...this.#live].map(([name, { sender }]) => sender.shown(sizes.get(name) ?? 0))
  }

  /** Sends a message now, past the queue. */
  async test(name: string, by: string): Promise<VerbResult<'webhook/test'>> {
    const live = this.#live.get(name)
    if (live === undefined) {
      const names = [...this.#live.keys()]
      const known = names.length === 0 ? 'the configuration has none' : `there are ${names.join(', ')}`
      throw new Refusal('not_found', `there is no webhook ${name}; ${known}`, 'name')
    }
    const { clock } = this.#context
    const began = clock.monotonicMs()
    const { status, failure } = await live.sender.send(this.#message('webhook_test', clock.wallMs(), { by }))
    const durationMs = Math.round(clock.monotonicMs() - began)
    return {
      name,
      delivered: failure === undefined,
      ...(status === undefined ? {} : { status }),
      ...(failure === undefined ? {} : { failure }),
      durationMs,
    }
  }

  readings(): WebhookReading[] {
    const sizes = this.#sizes()
    return [...this.#live].map(([name, { sender }]) => ({
      name,
      queued: sizes.get(name) ?? 0,
      delivered: sender.delivered,
      failed: sender.failed,
      dropped: sender.dropped,
      failingSeconds: sender.failingSeconds,
    }))
  }

  /** Sentences about webhooks that have failed for long. */
  warnings(): string[] {
    return this.list().flatMap(({ name, state, failingSince, lastFailure }) => {
      if (state === 'gone')
        return [`webhook ${name}: its receiver answered 410 (gone); nothing is sent until a reload`]
      const { sender } = this.#live.get(name) ?? {}
      return sender !== undefined && sender.failingSeconds >= WARN_SECONDS
        ? [`webhook ${name}: nothing was taken since ${failingSince}: ${lastFailure}`]
        : []
    })
  }

  /**
   * Gives up what is too old, and what belongs to webhooks that are no more. Watches for webhooks whose limbs could not be
   * read until now.
   */
  async prune(): Promise<void> {
    if (this.#ports === undefined || !this.#started) return
    await this.#keep(this.#ports)
  }

  #sizes(): ReadonlyMap<string, number> {
    return this.#live.size === 0 ? new Map() : (this.#ports?.queue.sizes() ?? new Map())
  }

  /** Opens and ends what changed. Resolves when what was ended has ended. */
  async #takeOver(ports: WebhookPorts): Promise<void> {
    const wanted = new Map(ports.configured().map((settings) => [settings.name, structuredClone(settings)]))
    const ended: Promise<void>[] = []
    for (const [name, { sender, watch }] of this.#live) {
      const settings = wanted.get(name)
      const isGone = sender.shown(0).state === 'gone'
      if (settings !== undefined && !isGone && isDeepStrictEqual(settings, sender.settings)) {
        wanted.delete(name)
        sender.retry()
      } else {
        watch?.stop()
        this.#live.delete(name)
        ended.push(sender.stop())
      }
    }
    for (const settings of wanted.values()) this.#open(ports, settings)
    await Promise.all(ended)
  }

  #open(ports: WebhookPorts, settings: WebhookSettings): void {
    const { clock, running, log } = this.#context
    const sender = new WebhookSender(settings, { clock, log, ports, now: () => running.now() })
    this.#live.set(settings.name, { sender, events: new Set(settings.events), watch: undefined })
    sender.wake()
  }

  async #keep(ports: WebhookPorts): Promise<void> {
    for (const live of this.#live.values()) {
      const { events } = live
      if (events.has('limb_offline') || events.has('limb_back')) await this.#watch(ports, live)
    }
    const gone = await ports.queue.prune(this.#context.running.now(), () => [...this.#live.keys()])
    this.#dropped(gone, 'their time is over (keepSeconds), or the webhook is no more')
  }

  /** Watches from now on, if it does not yet and its limbs can be read. */
  async #watch(ports: WebhookPorts, live: Live): Promise<void> {
    const { name } = live.sender.settings
    if (live.watch !== undefined) return
    const reported = await ports.queue.offline(name)
    // The next one may be there, or another turn was quicker.
    if (this.#live.get(name) !== live || live.watch !== undefined || this.#stopped) return
    const watch = this.#watchOf(ports, live, reported)
    live.watch = watch
    for (const { record, status } of this.#registry.values())
      if (status === 'offline') watch.wentOffline(record.nodeId)
      else watch.cameBack(record.nodeId)
  }

  #watchOf(ports: WebhookPorts, { sender, events }: Live, reported: readonly string[]): OfflineWatch {
    const { name, offlineSeconds } = sender.settings
    const { clock, log } = this.#context
    const report = (kind: 'limb_offline' | 'limb_back', nodeIds: readonly string[]) => {
      const limbs = this.#limbs(nodeIds)
      const fields = kind === 'limb_offline' ? { ...limbs, offlineSeconds } : limbs
      if (limbs.count > 0 && events.has(kind))
        this.#offer([name], kind, clock.wallMs(), fields as WebhookFields<typeof kind>)
      ports.queue.setOffline(name, nodeIds, kind === 'limb_offline').catch((error: unknown) => {
        log.debug({ webhook: name, error: messageOf(error) }, 'webhook: it is not stored who is offline')
      })
    }
    return new OfflineWatch({
      clock,
      offlineMs: offlineSeconds * 1000,
      // One that was revoked since it was read is nobody's news.
      reported: reported.filter((nodeId) => this.#registry.get(nodeId) !== undefined),
      offline: (nodeIds) => report('limb_offline', nodeIds),
      back: (nodeIds) => report('limb_back', nodeIds),
    })
  }

  #limbs(nodeIds: readonly string[]): WebhookLimbs {
    const there = nodeIds.flatMap((nodeId) => this.#registry.get(nodeId) ?? [])
    return { count: there.length, limbs: there.slice(0, WEBHOOK_LIMBS_MAX).map(limbOf) }
  }

  #status({ nodeId, status }: EventFields<'node_status'>): void {
    for (const { watch } of this.#live.values()) {
      if (status === 'offline') watch?.wentOffline(nodeId)
      else watch?.cameBack(nodeId)
    }
  }

  #offer<K extends WebhookKind>(
    names: readonly string[],
    kind: K,
    at: WallMs,
    fields: WebhookFields<K>,
  ): void {
    if (this.#stopped) return
    const isFull = this.#unstoredBytes >= MAX_UNSTORED_BYTES
    const room = isFull ? 0 : Math.max(0, MAX_UNSTORED - this.#unstoredDeliveries)
    if (names.length > room) this.#dropped(new Map(names.slice(room).map((name) => [name, 1])), TOO_MANY)
    if (room === 0) return
    const message = this.#message(kind, at, fields)
    const payload = Buffer.from(encodeJson(message)).toString()
    const deliveries = names.slice(0, room).flatMap((webhook): WebhookDelivery[] => {
      const live = this.#live.get(webhook)
      if (live === undefined) return []
      const deliveryId = newSortableId('msg_', at)
      const expiresAt = this.#context.running.in(this.#keepMs(live.sender.settings, kind, fields))
      return [{ webhook, deliveryId, kind, urgent: message.notice.urgent, payload, expiresAt }]
    })
    this.#unstored.push({ deliveries, bytes: payload.length })
    this.#unstoredDeliveries += deliveries.length
    this.#unstoredBytes += payload.length
    this.#storing ??= this.#storeAll()
  }

  /** Returns how long a delivery is kept: that somebody waits is no news any more when nobody does. */
  #keepMs<K extends WebhookKind>(
    { keepSeconds }: WebhookSettings,
    kind: K,
    fields: WebhookFields<K>,
  ): number {
    const most = keepSeconds * 1000
    if (kind !== 'invocation_waiting') return most
    const { approval } = fields as EventFields<'invocation_waiting'>
    return Math.min(most, Math.max(0, Date.parse(approval.expiresAt) - this.#context.clock.wallMs()))
  }

  /** Stores what waits, in commits of some milliseconds. Never rejects. */
  async #storeAll(): Promise<void> {
    while (this.#unstored.length > 0) {
      // What comes in the same turn of the event loop shares a commit.
      await new Promise((resolve) => setImmediate(resolve))
      await this.#store(this.#unstored.splice(0, this.#eventsAtOnce()))
    }
    this.#storing = undefined
  }

  #eventsAtOnce(): number {
    let rows = 0
    let bytes = 0
    const end = this.#unstored.findIndex(({ deliveries, bytes: each }) => {
      rows += deliveries.length
      bytes += deliveries.length * each
      return rows > STORED_AT_ONCE || bytes > STORED_BYTES_AT_ONCE
    })
    return end === -1 ? this.#unstored.length : Math.max(1, end)
  }

  async #store(events: readonly Unstored[]): Promise<void> {
    const batch = events.flatMap(({ deliveries }) => deliveries)
    const max = (name: string) => this.#live.get(name)?.sender.settings.maxQueued ?? 0
    try {
      this.#dropped((await this.#ports?.queue.put(batch, max)) ?? new Map(), 'there was no room (maxQueued)')
    } catch (error) {
      const lost = new Map<string, number>()
      for (const { webhook } of batch) lost.set(webhook, (lost.get(webhook) ?? 0) + 1)
      this.#dropped(lost, messageOf(error))
    }
    this.#unstoredDeliveries -= batch.length
    for (const { bytes } of events) this.#unstoredBytes -= bytes
    for (const name of new Set(batch.map(({ webhook }) => webhook))) this.#live.get(name)?.sender.wake()
  }

  #dropped(counts: ReadonlyMap<string, number>, why: string): void {
    for (const [webhook, count] of counts) {
      const live = this.#live.get(webhook)
      if (live) live.sender.dropped += count
      this.#throttle.write(webhook, (suppressed) =>
        this.#context.log.warn(
          { webhook, count, suppressed },
          `webhook ${webhook}: ${count} deliveries were given up: ${why}`,
        ),
      )
    }
  }

  #message<K extends WebhookKind>(kind: K, at: WallMs, fields: WebhookFields<K>): WebhookMessage {
    const { title, lines, page, urgent } = noticeOf(kind, fields)
    const link = linkTo(this.#ports?.publicUrl() ?? null, page)
    return {
      type: kind,
      timestamp: iso(at),
      data: bounded(fields),
      notice: { title, lines, urgent },
      ...(link === undefined ? {} : { link }),
    }
  }
}

function limbOf({ record, reason, since }: LiveLimb): WebhookLimbs['limbs'][number] {
  return { nodeId: record.nodeId, displayName: shownName(record), reason, offlineSince: iso(since) }
}

/** Returns fields as they are, or of those that are too large the short parts, and a mark that something is missing. */
function bounded(fields: object): object {
  if (encodeJson(fields).length <= MAX_DATA_BYTES) return fields
  return { ...short(fields), truncated: true }
}

function short(fields: object): object {
  const parts = Object.entries(fields).flatMap(([key, value]) => {
    if (typeof value === 'string') return value.length <= MAX_SHORT_CHARS ? [[key, value]] : []
    if (typeof value !== 'object' || value === null) return [[key, value]]
    return Array.isArray(value) ? [] : [[key, short(value)]]
  })
  return Object.fromEntries(parts)
}
