import type { PublishedMessage } from '../bridge/ports.ts'
import type { RemotePeer } from '../bridge/verbs/remote-peer.ts'
import { messageOf } from '../kernel/errors.ts'
import { NOTHING } from '../protocol/encode.ts'
import type { UplinkConnection } from './connection.ts'
import { DirtyTopics } from './dirty-topics.ts'
import type { Mirror } from './mirror.ts'
import type { UplinkOutbox } from './outbox.ts'
import type { UplinkMessage, UplinkOptions } from './ports.ts'
import { RetainedCleanup } from './retained-cleanup.ts'
import type { UplinkSender } from './sender.ts'

/** `offline` of our own status, said by somebody else, is answered at most so often. */
const CORRECT_MS = 1000

export interface ResyncOptions {
  readonly options: UplinkOptions
  readonly mirror: Mirror
  readonly outbox: UplinkOutbox
  readonly sender: UplinkSender
  readonly link: UplinkConnection
}

/**
 * One connection to the other broker and all that belongs to it: everything retained is published, what is left over
 * there is cleared, requests are taken.
 */
export class Resync {
  readonly link: UplinkConnection
  readonly ended = Promise.withResolvers<void>()
  readonly #resyncOptions: ResyncOptions
  readonly #options: UplinkOptions
  readonly #mirror: Mirror
  readonly #peer: RemotePeer
  readonly #cleanup: RetainedCleanup
  readonly #changedWhilePublishing = new DirtyTopics()
  readonly #changedWhileReading = new DirtyTopics()
  readonly #principals: ReadonlySet<string>
  #cancelCorrection: (() => void) | undefined
  #present = true
  #publishing = false
  #complete = false
  #refused = false

  constructor(parts: ResyncOptions) {
    const { options, mirror, link } = parts
    this.#resyncOptions = parts
    this.#options = options
    this.#mirror = mirror
    this.link = link
    this.#peer = options.peer()
    this.#principals = new Set(options.settings.requests.principals)
    const filters = this.#filtersToRead()
    this.#cleanup = new RetainedCleanup({
      filters,
      isLeftover: (topic, payload) => this.#isLeftover(topic, payload),
      clear: (topic) => this.#put({ topic, payload: NOTHING, qos: options.settings.qos, retain: true }),
      done: (seen, cleared) => {
        link.unsubscribe(filters)
        this.#log('debug', { seen, cleared }, 'what is retained there was looked through')
      },
      failed: (error) => this.#log('error', { err: error }, 'a leftover was not looked at'),
      clock: options.clock,
    })
  }

  /** The status of the bridge has been published: everything else was before it. */
  get isComplete(): boolean {
    return this.#complete
  }

  /** Resolves when everything is on its way. Rejects when the connection is of no use. */
  async enter(): Promise<void> {
    const { extraView } = this.#options
    const { there } = this.#mirror
    const lasting = [
      there.bridgeStatus,
      ...[...this.#principals].map((name) => there.request(name, '#')),
      ...(extraView ? [extraView.topic] : []),
    ]
    const refused = await this.link.subscribe([...lasting, ...this.#filtersToRead()])
    if (refused.length > 0) {
      this.#log(
        'warn',
        { filters: refused },
        'the other broker does not let the bridge read; leftovers are not cleared, requests do not arrive',
      )
    }
    this.#cleanup.start()
    await this.#publishAll()
  }

  /** The connection is gone. */
  end(): void {
    this.#present = false
    this.#cleanup.stop()
    this.#cancelCorrection?.()
    this.#peer.close()
    this.ended.resolve()
  }

  /** A retained message that is said now: what was read of its topic before is older. */
  saw(topic: string): void {
    this.#changedWhilePublishing.add(topic)
    this.#changedWhileReading.add(topic)
  }

  /** Nothing waits any more: what the other broker was too slow for before, it gets now. */
  drained(): void {
    if (!this.#resyncOptions.outbox.owesRetained || this.#publishing || !this.#complete) return
    this.#publishAll().catch((error: unknown) => {
      this.#log('warn', { error: messageOf(error) }, 'uplink could not be brought up to date')
      this.link.cut()
    })
  }

  /** Told once for each connection: a missing right concerns many topics. */
  refused(topic: string, error: Error): void {
    if (this.#refused) return
    this.#refused = true
    this.#log(
      'warn',
      { topic, error: error.message },
      'the other broker refuses what the bridge publishes there',
    )
  }

  received(topic: string, payload: Uint8Array, retained: boolean): void {
    const { extraView } = this.#options
    if (topic === this.#mirror.there.bridgeStatus) this.#correct(payload)
    else if (extraView !== undefined && topic === extraView.topic) extraView.heard(payload)
    // A retained request would be run at each connect.
    else if (retained) this.#cleanup.found(topic, payload)
    else this.#request(topic, payload)
  }

  /** Everything that is retained here, as fast as the other broker takes it. */
  async #publishAll(): Promise<void> {
    const { outbox } = this.#resyncOptions
    this.#publishing = true
    do {
      outbox.owesRetained = false
      this.#changedWhilePublishing.start()
      for (const filter of this.#mirror.dataFilters) await this.#publishData(filter)
      await this.#publishEach(this.#extraMessages())
      await this.#publishEach(this.#mirror.retained(this.#options.view))
    } while (this.#present && (this.#changedWhilePublishing.overflowed || outbox.owesRetained))
    this.#publishing = false
    this.#changedWhilePublishing.stop()
  }

  async #publishEach(messages: Iterable<UplinkMessage>): Promise<void> {
    for (const message of messages) {
      // Set before it goes: what is said of it from now on is newer.
      if (message.topic === this.#mirror.there.bridgeStatus) this.#complete = true
      this.#put(message)
      await this.#resyncOptions.sender.room()
      if (!this.#present) return
    }
  }

  async #publishData(filter: string): Promise<void> {
    for await (const message of this.#options.feed.retained(filter)) {
      await this.#resyncOptions.sender.room()
      if (!this.#present) return
      // Read before something newer was said, which is on its way already.
      if (this.#changedWhilePublishing.has(message.topic)) continue
      const translated = this.#mirror.translate(message)
      if (translated) this.#put(translated)
    }
  }

  *#extraMessages(): Iterable<UplinkMessage> {
    const { extraView, settings } = this.#options
    for (const { topic, payload } of extraView?.view.match(extraView.filter) ?? []) {
      yield { topic, payload, qos: settings.qos, retain: true }
    }
  }

  #filtersToRead(): readonly string[] {
    const { extraView } = this.#options
    return [...this.#mirror.filtersThere, ...(extraView ? [extraView.filter] : [])]
  }

  async #isLeftover(topic: string, payload: Uint8Array): Promise<boolean> {
    const { view, extraView, feed } = this.#options
    if (!topic.startsWith(this.#mirror.there.prefix)) {
      return extraView?.wrote(topic, payload) === true && isEmpty(extraView.view.match(topic))
    }
    const here = this.#mirror.toHere(topic)
    if (!this.#mirror.mirrors(here)) return true
    if (view.owns(here)) return isEmpty(view.match(here))
    this.#changedWhileReading.start()
    for await (const _ of feed.retained(here)) return false
    return !this.#changedWhileReading.has(here) && !this.#changedWhileReading.overflowed
  }

  /** The will of a connection that died before, said late. */
  #correct(payload: Uint8Array): void {
    if (!this.#complete || new TextDecoder().decode(payload) !== 'offline') return
    const { clock, view, topics } = this.#options
    this.#cancelCorrection ??= clock.after(CORRECT_MS, () => {
      this.#cancelCorrection = undefined
      for (const message of view.match(topics.bridgeStatus))
        this.#putPublished({ ...message, qos: 1, retain: true })
    })
  }

  #request(topic: string, payload: Uint8Array): void {
    const address = this.#mirror.there.parse(topic)
    if (address?.kind !== 'request' || !this.#principals.has(address.principal)) return
    const { principal, verb } = address
    const respond = (about: string, bytes: Uint8Array) => {
      const to = this.#mirror.there.response(principal, about)
      this.#put({ topic: to, payload: bytes, qos: this.#options.settings.qos, retain: false })
    }
    this.#peer
      .handle({ principal, verb, payload, respond })
      .catch((error: unknown) => this.#log('error', { err: error, verb }, 'a request from an uplink failed'))
  }

  #putPublished(message: PublishedMessage): void {
    const translated = this.#mirror.translate(message)
    if (translated) this.#put(translated)
  }

  #put(message: UplinkMessage): void {
    if (!this.#present) return
    this.#resyncOptions.outbox.put(message)
    this.#resyncOptions.sender.pump()
  }

  #log(level: 'debug' | 'warn' | 'error', fields: object, message: string): void {
    if (!this.#present) return
    const { log, settings } = this.#options
    log[level]({ uplink: settings.name, ...fields }, message)
  }
}

function isEmpty(items: Iterable<unknown>): boolean {
  for (const _ of items) return false
  return true
}
