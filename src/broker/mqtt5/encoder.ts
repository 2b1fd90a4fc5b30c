import type { Duplex } from 'node:stream'
import type { SteadyClock } from '../../kernel/steady-clock.ts'
import type { RoutedPacket } from '../aedes-internals.ts'
import type { Encoder, Outgoing } from '../outbox.ts'
import type { PublishFrame } from '../publish-frame.ts'
import type { Connect5 } from './connect.ts'
import { ownFrame5 } from './publish.ts'

/** Aliases that the bridge gives on one connection, at most; those of the topics that come first. */
const MAX_ALIASES = 10

/** Messages of MQTT 5: with properties, aliases and what is left of their life, and none larger than the client takes. */
export class Encoder5 implements Encoder {
  readonly #steady: SteadyClock
  readonly #maximumPacketSize: number
  readonly #maxAliases: number
  readonly #aliases = new Map<string, number>()

  constructor(steady: SteadyClock, { maximumPacketSize, topicAliasMaximum }: Connect5) {
    this.#steady = steady
    this.#maximumPacketSize = maximumPacketSize
    this.#maxAliases = Math.min(topicAliasMaximum, MAX_ALIASES)
  }

  write(conn: Duplex, message: Outgoing, messageId: number, taken?: () => void): boolean {
    const { packet, frame } = message
    if (frame !== undefined && this.#maxAliases === 0) return this.#send(conn, frame, messageId, taken)
    const { topic } = packet
    const known = this.#aliases.get(topic)
    const alias = known ?? this.#newAlias()
    const own = this.#frame(message, known === undefined ? topic : '', alias)
    const sent = this.#send(conn, own, messageId, taken)
    if (sent && known === undefined && alias !== undefined) this.#aliases.set(topic, alias)
    return sent
  }

  #newAlias(): number | undefined {
    return this.#aliases.size < this.#maxAliases ? this.#aliases.size + 1 : undefined
  }

  #frame(
    { packet, qos, retain, identifiers }: Outgoing,
    topic: string,
    alias: number | undefined,
  ): PublishFrame {
    return ownFrame5(packet, topic, qos, retain, {
      alias,
      identifiers,
      expirySeconds: this.#secondsLeft(packet),
    })
  }

  /** Counts down while a message waits [MQTT-3.3.2-6]; what is expired does not come here. */
  #secondsLeft({ expiresAt }: RoutedPacket): number | undefined {
    if (expiresAt === undefined) return undefined
    return Math.max(1, Math.ceil((expiresAt - this.#steady.now()) / 1000))
  }

  #send(conn: Duplex, frame: PublishFrame, messageId: number, taken: (() => void) | undefined): boolean {
    if (frame.bytes > this.#maximumPacketSize) return false
    frame.writeTo(conn, messageId, taken)
    return true
  }
}
