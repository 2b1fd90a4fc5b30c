import type { Said } from '../bridge/ports.ts'
import { messageOf } from '../kernel/errors.ts'
import { encodeWord } from '../protocol/encode.ts'
import { Backoff } from './backoff.ts'
import { Courier } from './courier.ts'
import { type Link, openLink } from './link.ts'
import { Mirror } from './mirror.ts'
import { Outbox } from './outbox.ts'
import type { Letter, UplinkOptions, UplinkReadings } from './ports.ts'
import { Visit } from './visit.ts'

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
  readonly #outbox: Outbox
  readonly #courier: Courier
  readonly #backoff: Backoff
  #visit: Visit | undefined
  #connecting: Link | undefined
  #cancelRetry: () => void = () => undefined
  #connections = 0
  #lastReason = ''
  #stopped = false

  constructor(options: UplinkOptions) {
    this.#options = options
    this.#mirror = new Mirror(options.topics, options.settings)
    this.#outbox = new Outbox(options.settings.maxQueued)
    this.#courier = new Courier(this.#outbox, {
      drained: () => this.#visit?.drained(),
      refused: (topic, error) => this.#visit?.refused(topic, error),
    })
    this.#backoff = new Backoff(options.random ?? Math.random)
  }

  start(): void {
    this.#options.feed.listen((message) => this.#heard(message))
    this.#connect()
  }

  readings(): UplinkReadings {
    return {
      name: this.#options.settings.name,
      connected: this.#visit !== undefined,
      published: this.#courier.published,
      dropped: this.#outbox.dropped,
      reconnects: Math.max(0, this.#connections - 1),
      queued: this.#outbox.length,
    }
  }

  /** For what is there beside the mirror. Without a connection only what clears is kept. */
  offer(letter: Letter): void {
    if (this.#stopped) return
    const { qos } = this.#options.settings
    this.#put({ ...letter, qos: Math.min(letter.qos, qos) as 0 | 1 })
  }

  /** Bounded by some three seconds. What was said before is there, or the will says `offline`. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#cancelRetry()
    const visit = this.#visit
    if (visit === undefined) {
      this.#connecting?.cut()
      return
    }
    const delivered = this.#courier.delivered().then(() => this.#courier.idle)
    const whole = await Promise.race([delivered, this.#after(DRAIN_MS)])
    if (whole && visit.told) visit.link.leave()
    else visit.link.cut()
    await Promise.race([visit.ended.promise, this.#after(LEAVE_MS)])
    visit.link.cut()
  }

  #after(ms: number): Promise<false> {
    return new Promise((resolve) => this.#options.clock.after(ms, () => resolve(false)))
  }

  #heard(message: Said): void {
    if (this.#stopped) return
    const letter = this.#mirror.letter(message)
    if (letter === undefined) return
    if (letter.retain) this.#visit?.saw(message.topic)
    this.#put(letter)
  }

  #put(letter: Letter): void {
    if (this.#visit === undefined) {
      this.#outbox.putAside(letter)
      return
    }
    this.#outbox.put(letter)
    this.#courier.pump()
  }

  #connect(): void {
    if (this.#stopped) return
    const { settings } = this.#options
    const will: Letter = {
      topic: this.#mirror.there.bridgeStatus,
      payload: encodeWord('offline'),
      qos: settings.qos,
      retain: true,
    }
    const link = openLink(
      { settings, will },
      {
        opened: () => this.#opened(link),
        message: (topic, payload, retained) => {
          if (!this.#stopped) this.#visit?.received(topic, payload, retained)
        },
        closed: (why) => this.#closed(why),
      },
    )
    this.#connecting = link
  }

  #opened(link: Link): void {
    const { settings, log } = this.#options
    this.#connecting = undefined
    this.#connections++
    this.#lastReason = ''
    log.info({ uplink: settings.name, url: settings.url, connections: this.#connections }, 'uplink connected')
    const visit = new Visit({
      options: this.#options,
      mirror: this.#mirror,
      outbox: this.#outbox,
      courier: this.#courier,
      link,
    })
    this.#visit = visit
    this.#courier.start(link)
    visit.enter().then(
      () => this.#backoff.reset(),
      (error: unknown) => {
        if (this.#visit !== visit) return
        log.warn({ uplink: settings.name, error: messageOf(error) }, 'uplink could not be brought up to date')
        link.cut()
      },
    )
  }

  #closed(why: string): void {
    const { settings, log, clock } = this.#options
    const visit = this.#visit
    this.#visit = undefined
    this.#connecting = undefined
    this.#courier.stop()
    visit?.end()
    if (this.#stopped) return
    const delayMs = Math.round(this.#backoff.next())
    // One line for each outage and each new reason, not for each attempt.
    const level = visit !== undefined || why !== this.#lastReason ? 'warn' : 'debug'
    this.#lastReason = why
    log[level](
      { uplink: settings.name, url: settings.url, why, retryMs: delayMs },
      visit ? 'uplink lost; connecting again' : 'uplink could not connect; trying again',
    )
    this.#cancelRetry = clock.after(delayMs, () => this.#connect())
  }
}
