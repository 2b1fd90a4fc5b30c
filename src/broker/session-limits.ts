import type { Identity } from '../bridge/ports.ts'
import type { Connection } from './connection.ts'
import type { PacketLimits } from './guard.ts'
import type { BrokerLimits } from './limits.ts'
import type { Rates } from './token-buckets.ts'

/**
 * Says what one session may send now: little before it has signed in, less for a candidate than for others. It
 * follows the identity and the configuration.
 */
export class SessionLimits implements PacketLimits {
  readonly #connection: Connection
  readonly #limits: BrokerLimits

  constructor(connection: Connection, limits: BrokerLimits) {
    this.#connection = connection
    this.#limits = limits
  }

  get maxTopicBytes(): number {
    return this.#limits.maxTopicBytes
  }

  get maxPacketBytes(): number {
    const { opened, identity } = this.#connection
    return opened ? this.maxPacketBytesOf(identity) : this.#limits.maxConnectBytes
  }

  /** The bytes that a packet may have once the session is signed in. */
  maxPacketBytesOf(identity: Identity): number {
    const { maxLocalPacketBytes, maxPacketBytes, maxCandidatePacketBytes } = this.#limits
    if (this.#connection.peer.local) return maxLocalPacketBytes
    return identity.kind === 'candidate' ? Math.min(maxCandidatePacketBytes, maxPacketBytes) : maxPacketBytes
  }

  get rates(): Rates {
    const { maxMessagesPerSecond, maxBytesPerSecond, maxCandidateMessagesPerSecond } = this.#limits
    const isCandidate = this.#connection.identity.kind === 'candidate'
    return {
      messages: isCandidate
        ? Math.min(maxMessagesPerSecond, maxCandidateMessagesPerSecond)
        : maxMessagesPerSecond,
      bytes: maxBytesPerSecond,
    }
  }
}
