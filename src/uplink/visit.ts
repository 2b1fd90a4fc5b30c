import type { Said } from '../bridge/ports.ts'
import type { RemotePeer } from '../bridge/verbs/remote-peer.ts'
import { messageOf } from '../kernel/errors.ts'
import { NOTHING } from '../protocol/encode.ts'
import type { Courier } from './courier.ts'
import { Leftovers } from './leftovers.ts'
import type { Link } from './link.ts'
import type { Mirror } from './mirror.ts'
import type { Outbox } from './outbox.ts'
import type { Letter, UplinkOptions } from './ports.ts'
import { Touched } from './touched.ts'

/** `offline` of our own status, said by somebody else, is answered at most so often. */
const CORRECT_MS = 1000

export interface VisitParts {
  readonly options: UplinkOptions
  readonly mirror: Mirror
  readonly outbox: Outbox
  readonly courier: Courier
  readonly link: Link
}

/**
 * One connection to the other broker and all that belongs to it: everything retained is told, what is left over
 * there is cleared, requests are taken.
 */
export class Visit {
  readonly link: Link
  readonly ended = Promise.withResolvers<void>()
  readonly #parts: VisitParts
  readonly #options: UplinkOptions
  readonly #mirror: Mirror
  readonly #peer: RemotePeer
  readonly #leftovers: Leftovers
  readonly #saidWhileTelling = new Touched()
  readonly #saidWhileLooking = new Touched()
  readonly #principals: ReadonlySet<string>
  #cancelCorrection: (() => void) | null = null
  #present = true
  #telling = false
  #told = false
  #refused = false

  constructor(parts: VisitParts) {
    const { options, mirror, link } = parts
    this.#parts = parts
    this.#options = options
    this.#mirror = mirror
    this.link = link
    this.#peer = options.peer()
    this.#principals = new Set(options.settings.requests.principals)
    const filters = this.#filtersToRead()
    this.#leftovers = new Leftovers({
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

  /** The status of the bridge has been told: everything else was before it. */
  get told(): boolean {
    return this.#told
  }

  /** Resolves when everything is on its way. Rejects when the connection is of no use. */
  async enter(): Promise<void> {
    const { companion } = this.#options
    const { there } = this.#mirror
    const lasting = [
      there.bridgeStatus,
      ...[...this.#principals].map((name) => there.request(name, '#')),
      ...(companion ? [companion.topic] : []),
    ]
    const refused = await this.link.subscribe([...lasting, ...this.#filtersToRead()])
    if (refused.length > 0) {
      this.#log(
        'warn',
        { filters: refused },
        'the other broker does not let the bridge read; leftovers are not cleared, requests do not arrive',
      )
    }
    this.#leftovers.start()
    await this.#tellAll()
  }

  /** The connection is gone. */
  end(): void {
    this.#present = false
    this.#leftovers.stop()
    this.#cancelCorrection?.()
    this.#peer.close()
    this.ended.resolve()
  }

  /** A retained message that is said now: what was read of its topic before is older. */
  saw(topic: string): void {
    this.#saidWhileTelling.add(topic)
    this.#saidWhileLooking.add(topic)
  }

  /** Nothing waits any more: what the other broker was too slow for before, it gets now. */
  drained(): void {
    if (!this.#parts.outbox.owesRetained || this.#telling || !this.#told) return
    this.#tellAll().catch((error: unknown) => {
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
    const { companion } = this.#options
    if (topic === this.#mirror.there.bridgeStatus) this.#correct(payload)
    else if (companion !== undefined && topic === companion.topic) companion.heard(payload)
    // A retained request would be run at each connect.
    else if (retained) this.#leftovers.found(topic, payload)
    else this.#request(topic, payload)
  }

  /** Everything that is retained here, as fast as the other broker takes it. */
  async #tellAll(): Promise<void> {
    const { outbox } = this.#parts
    this.#telling = true
    do {
      outbox.owesRetained = false
      this.#saidWhileTelling.start()
      for (const filter of this.#mirror.dataFilters) await this.#tellData(filter)
      await this.#tellEach(this.#companionLetters())
      await this.#tellEach(this.#mirror.retained(this.#options.view))
    } while (this.#present && (this.#saidWhileTelling.overflowed || outbox.owesRetained))
    this.#telling = false
    this.#saidWhileTelling.stop()
  }

  async #tellEach(letters: Iterable<Letter>): Promise<void> {
    for (const letter of letters) {
      // Set before it goes: what is said of it from now on is newer.
      if (letter.topic === this.#mirror.there.bridgeStatus) this.#told = true
      this.#put(letter)
      await this.#parts.courier.room()
      if (!this.#present) return
    }
  }

  async #tellData(filter: string): Promise<void> {
    for await (const message of this.#options.feed.retained(filter)) {
      await this.#parts.courier.room()
      if (!this.#present) return
      // Read before something newer was said, which is on its way already.
      if (this.#saidWhileTelling.has(message.topic)) continue
      const letter = this.#mirror.letter(message)
      if (letter) this.#put(letter)
    }
  }

  *#companionLetters(): Iterable<Letter> {
    const { companion, settings } = this.#options
    for (const { topic, payload } of companion?.view.match(companion.filter) ?? []) {
      yield { topic, payload, qos: settings.qos, retain: true }
    }
  }

  #filtersToRead(): readonly string[] {
    const { companion } = this.#options
    return [...this.#mirror.filtersThere, ...(companion ? [companion.filter] : [])]
  }

  async #isLeftover(topic: string, payload: Uint8Array): Promise<boolean> {
    const { view, companion, feed } = this.#options
    if (!topic.startsWith(this.#mirror.there.prefix)) {
      return companion?.wrote(topic, payload) === true && isEmpty(companion.view.match(topic))
    }
    const here = this.#mirror.toHere(topic)
    if (!this.#mirror.mirrors(here)) return true
    if (view.owns(here)) return isEmpty(view.match(here))
    this.#saidWhileLooking.start()
    for await (const _ of feed.retained(here)) return false
    return !this.#saidWhileLooking.has(here) && !this.#saidWhileLooking.overflowed
  }

  /** The will of a connection that died before, said late. */
  #correct(payload: Uint8Array): void {
    if (!this.#told || new TextDecoder().decode(payload) !== 'offline') return
    const { clock, view, topics } = this.#options
    this.#cancelCorrection ??= clock.after(CORRECT_MS, () => {
      this.#cancelCorrection = null
      for (const message of view.match(topics.bridgeStatus))
        this.#putSaid({ ...message, qos: 1, retain: true })
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

  #putSaid(message: Said): void {
    const letter = this.#mirror.letter(message)
    if (letter) this.#put(letter)
  }

  #put(letter: Letter): void {
    if (!this.#present) return
    this.#parts.outbox.put(letter)
    this.#parts.courier.pump()
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
