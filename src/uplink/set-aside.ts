import { type Clock, type MonotonicMs, plusMs } from '../kernel/clock.ts'
import type { UplinkMessage } from './ports.ts'

/** Connections that a message must have ended while nothing else was under way. */
const STRIKES = 2
/** A topic is tried again after so long: the other broker may have another limit by then. */
const RETRY_MS = 3_600_000
/** A message is tried again on its topic when it has at most this share of what was refused. */
const SMALLER = 0.5
const MAX_TOPICS = 1000
const MAX_SUSPECTS = 256

/** `send` with others, `alone` with nothing else under way, `aside` not at all. */
export type Judgement = 'send' | 'alone' | 'aside'

/** A message that is not sent, and why. */
export interface AsideNotice {
  readonly topic: string
  readonly bytes: number
  /** The size that the other broker announced as its largest packet, when that is the reason. */
  readonly announced?: number | undefined
}

export interface SetAsideOptions {
  readonly clock: Clock
  /** Called once for each topic while it is set aside. */
  readonly notify: (notice: AsideNotice) => void
}

interface Aside {
  readonly bytes: number
  readonly until: MonotonicMs
}

interface Suspect {
  readonly bytes: number
  strikes: number
}

/**
 * Knows which messages the other broker does not take. MQTT 5 says how large a packet may be. A broker of MQTT 3.1.1
 * ends the connection without a word, so what was under way then is sent again alone, and what ends the connection
 * alone, twice, is set aside by its topic: one message must not keep all others away.
 */
export class SetAside {
  readonly #options: SetAsideOptions
  readonly #suspects = new Map<string, Suspect>()
  readonly #topics = new Map<string, Aside>()
  /** The largest packet that was ever taken. */
  #taken = 0
  #announced: number | undefined

  constructor(options: SetAsideOptions) {
    this.#options = options
  }

  /** Topics of which messages are set aside now. */
  get size(): number {
    return this.#topics.size
  }

  /** A connection has opened; undefined: nothing was announced. */
  connected(announced: number | undefined): void {
    this.#announced = announced
  }

  judge(message: UplinkMessage): Judgement {
    const { topic } = message
    const bytes = packetBytes(message)
    if (this.#announced !== undefined && bytes > this.#announced) {
      this.#put(topic, bytes, this.#announced)
      return 'aside'
    }
    const aside = this.#asideOf(topic)
    if (aside !== undefined) {
      const isTried = this.#announced === undefined ? bytes <= aside.bytes * SMALLER : true
      if (!isTried) return 'aside'
      return 'alone'
    }
    if (this.#announced === undefined && bytes >= this.#presumedLimit()) {
      this.#put(topic, bytes, undefined)
      return 'aside'
    }
    return this.#suspects.has(topic) ? 'alone' : 'send'
  }

  /** The other broker has it. */
  taken(message: UplinkMessage): void {
    const bytes = packetBytes(message)
    this.#taken = Math.max(this.#taken, bytes)
    if ((this.#suspects.get(message.topic)?.bytes ?? Number.POSITIVE_INFINITY) <= bytes) {
      this.#suspects.delete(message.topic)
    }
    if ((this.#topics.get(message.topic)?.bytes ?? Number.POSITIVE_INFINITY) <= bytes) {
      this.#topics.delete(message.topic)
    }
  }

  /** The connection has ended by itself with these under way. True when that one message is set aside from now on. */
  lost(underWay: readonly UplinkMessage[], alone: UplinkMessage | undefined): boolean {
    if (alone === undefined) {
      for (const message of underWay) this.#suspect(message)
      return false
    }
    const suspect = this.#suspects.get(alone.topic) ?? this.#suspect(alone)
    suspect.strikes++
    if (suspect.strikes < STRIKES) return false
    this.#suspects.delete(alone.topic)
    this.#topics.delete(alone.topic)
    this.#put(alone.topic, packetBytes(alone), undefined)
    return true
  }

  #suspect(message: UplinkMessage): Suspect {
    const suspect = { bytes: packetBytes(message), strikes: 0 }
    if (!this.#suspects.has(message.topic)) {
      forgetOldest(this.#suspects, MAX_SUSPECTS)
      this.#suspects.set(message.topic, suspect)
    }
    return this.#suspects.get(message.topic) ?? suspect
  }

  #asideOf(topic: string): Aside | undefined {
    const aside = this.#topics.get(topic)
    if (aside === undefined || this.#options.clock.monotonicMs() < aside.until) return aside
    this.#topics.delete(topic)
    this.#suspect({ topic, payload: new Uint8Array(aside.bytes), qos: 0, retain: false })
    return undefined
  }

  /**
   * Presumes the limit: when the smallest of what was refused is larger than all that was ever taken, it was its
   * size.
   */
  #presumedLimit(): number {
    let smallest = Number.POSITIVE_INFINITY
    for (const { bytes } of this.#topics.values()) smallest = Math.min(smallest, bytes)
    return smallest > this.#taken ? smallest : Number.POSITIVE_INFINITY
  }

  #put(topic: string, bytes: number, announced: number | undefined): void {
    const isNew = !this.#topics.has(topic)
    if (isNew) forgetOldest(this.#topics, MAX_TOPICS)
    const until = plusMs(this.#options.clock.monotonicMs(), RETRY_MS)
    if (isNew) this.#topics.set(topic, { bytes, until })
    if (isNew) this.#options.notify({ topic, bytes, announced })
  }
}

function forgetOldest(map: Map<string, unknown>, max: number): void {
  const [oldest] = map.keys()
  if (map.size >= max && oldest !== undefined) map.delete(oldest)
}

/** Counts the bytes of a PUBLISH with the properties that are sent: none. */
export function packetBytes({ topic, payload, qos }: UplinkMessage): number {
  const remaining = 2 + Buffer.byteLength(topic) + (qos > 0 ? 2 : 0) + 1 + payload.length
  const length = remaining < 128 ? 1 : remaining < 16_384 ? 2 : remaining < 2_097_152 ? 3 : 4
  return 1 + length + remaining
}
