import type { IConnackPacket, MqttClient } from 'mqtt'
import type { PublishedMessage } from '../bridge/ports.ts'
import { type LinkEnd, MqttLink } from '../client/mqtt-link.ts'
import { messageOf } from '../kernel/errors.ts'
import { encodeWord } from '../protocol/encode.ts'
import { announcedBy, uplinkConnection, uplinkTarget } from './connection.ts'
import { Mirror } from './mirror.ts'
import { UplinkOutbox } from './outbox.ts'
import type { UplinkMessage, UplinkOptions, UplinkReadings } from './ports.ts'
import { Resync } from './resync.ts'
import { UplinkSender } from './sender.ts'
import { type AsideNotice, SetAside } from './set-aside.ts'

const PACE = { firstMs: 1000, maxMs: 60_000 }
/** A stop waits so long for what is on its way; then the will says `offline`. */
const DRAIN_MS = 2000
const LEAVE_MS = 1000

/**
 * The bridge as a client of another broker: what everybody may know here is known there too, below a prefix.
 * At every connect all that is retained is told anew and leftovers are cleared, so that whatever happened
 * meanwhile, there is in the end what is here. Nothing here waits for the other broker.
 */
export class Uplink {
  readonly #options: UplinkOptions
  readonly #mirror: Mirror
  readonly #outbox: UplinkOutbox
  readonly #setAside: SetAside
  readonly #sender: UplinkSender
  readonly #link: MqttLink
  #resync: Resync | undefined
  #connections = 0
  #lastReason = ''
  #stopped = false

  constructor(options: UplinkOptions) {
    this.#options = options
    this.#mirror = new Mirror(options.topics, options.settings)
    this.#outbox = new UplinkOutbox(options.settings.maxQueued)
    this.#setAside = new SetAside({
      clock: options.clock,
      notify: (notice) => this.#reportAside(notice),
    })
    this.#sender = new UplinkSender(this.#outbox, this.#setAside, {
      drained: () => this.#resync?.drained(),
      refused: (topic, error) => this.#resync?.refused(topic, error),
    })
    const { clock, random, settings } = options
    this.#link = new MqttLink(
      { clock, random, pace: PACE, target: () => uplinkTarget(settings, this.#will()) },
      {
        opened: (client, connack) => this.#opened(client, connack),
        message: (topic, payload, { retain }) => {
          if (!this.#stopped) this.#resync?.received(topic, payload, retain)
        },
        closed: (end) => this.#closed(end),
      },
    )
  }

  start(): void {
    this.#options.feed.listen((message) => this.#heard(message))
    this.#link.start()
  }

  readings(): UplinkReadings {
    return {
      name: this.#options.settings.name,
      connected: this.#resync !== undefined,
      published: this.#sender.published,
      dropped: this.#outbox.dropped,
      reconnects: Math.max(0, this.#connections - 1),
      queued: this.#outbox.length,
      setAside: this.#setAside.size,
    }
  }

  /** Offers a message of what is there beside the mirror. Without a connection only what clears is kept. */
  offer(message: UplinkMessage): void {
    if (this.#stopped) return
    const { qos } = this.#options.settings
    this.#put({ ...message, qos: Math.min(message.qos, qos) as 0 | 1 })
  }

  /** Bounded by some three seconds. What was said before is there, or the will says `offline`. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    const resync = this.#resync
    if (resync === undefined) {
      this.#link.cut()
      return
    }
    const delivered = this.#sender.delivered().then(() => this.#sender.idle)
    const whole = await Promise.race([delivered, this.#after(DRAIN_MS)])
    if (whole && resync.isComplete) await this.#link.stop()
    else this.#link.cut()
    await Promise.race([resync.ended.promise, this.#after(LEAVE_MS)])
  }

  #after(ms: number): Promise<false> {
    return new Promise((resolve) => this.#options.clock.after(ms, () => resolve(false)))
  }

  #heard(message: PublishedMessage): void {
    if (this.#stopped) return
    const translated = this.#mirror.translate(message)
    if (translated === undefined) return
    if (translated.retain) this.#resync?.saw(translated.topic)
    this.#put(translated)
  }

  #put(message: UplinkMessage): void {
    if (this.#resync === undefined) {
      this.#outbox.putAside(message)
      return
    }
    this.#outbox.put(message)
    this.#sender.pump()
  }

  #will(): UplinkMessage {
    const { qos } = this.#options.settings
    return { topic: this.#mirror.there.bridgeStatus, payload: encodeWord('offline'), qos, retain: true }
  }

  #opened(client: MqttClient, connack: IConnackPacket): void {
    const { settings, log } = this.#options
    const link = uplinkConnection(client, () => this.#link.drop())
    this.#connections++
    this.#lastReason = ''
    log.info({ uplink: settings.name, url: settings.url, connections: this.#connections }, 'uplink connected')
    const resync = new Resync({
      options: this.#options,
      mirror: this.#mirror,
      outbox: this.#outbox,
      sender: this.#sender,
      link,
    })
    this.#resync = resync
    this.#sender.start(link, announcedBy(connack))
    const whole = resync.enter().then(() => this.#sender.delivered())
    whole.then(
      // What was written last may still be what ends the connection: only a whole visit was a good one.
      () => link.settle(() => this.#resync === resync && this.#link.settled()),
      (error: unknown) => {
        if (this.#resync !== resync) return
        log.warn({ uplink: settings.name, error: messageOf(error) }, 'uplink could not be brought up to date')
        link.cut()
      },
    )
  }

  #reportAside({ topic, bytes, announced }: AsideNotice): void {
    const { settings, log } = this.#options
    const why =
      announced === undefined
        ? 'the other broker ends the connection when it is sent'
        : `the other broker takes packets of at most ${announced} bytes`
    log.warn(
      { uplink: settings.name, topic, bytes, ...(announced === undefined ? undefined : { announced }) },
      `a message is set aside, and all others go on: ${why}; its topic is tried again with a smaller one, or in an hour`,
    )
  }

  #closed({ why, retryMs }: LinkEnd): void {
    const { settings, log } = this.#options
    const resync = this.#resync
    this.#resync = undefined
    this.#sender.stop()
    resync?.end()
    if (this.#stopped) return
    // One line for each outage and each new reason, not for each attempt.
    const level = resync !== undefined || why !== this.#lastReason ? 'warn' : 'debug'
    this.#lastReason = why
    log[level](
      { uplink: settings.name, url: settings.url, why, retryMs },
      resync ? 'uplink lost; connecting again' : 'uplink could not connect; trying again',
    )
  }
}
