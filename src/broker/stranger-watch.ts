import type { Duplex } from 'node:stream'
import { type Connection, frontOf, type HoldingStream } from './connection.ts'
import { type Guard, TOO_LARGE } from './guard.ts'
import { REASON } from './mqtt5/reasons.ts'
import type { SessionOutbox } from './outbox.ts'
import type { SessionContext } from './session-context.ts'
import type { SessionLimits } from './session-limits.ts'
import { BASE_BYTES, type Stranger } from './strangers.ts'

/** Acknowledgements have two to four bytes, and each that waits is an object. */
const UNSENT_FACTOR = 16
/** A QoS 2 packet that waits for its PUBREL, in Aedes' table and in the persistence. */
const HANDSHAKE_BYTES = 1024
/** The bytes beside a packet of a WebSocket: the headers of its frames, and objects. */
const FRONT_ROOM_BYTES = 4096

export interface WatchedParts {
  readonly connection: Connection
  readonly guard: Guard
  readonly limits: SessionLimits
  readonly outbox: () => SessionOutbox | undefined
}

/** Holds one connection to what somebody without a secret may cost, until it has shown one. */
export class StrangerWatch implements Stranger {
  readonly baseBytes: number
  readonly #context: SessionContext
  readonly #parts: WatchedParts
  readonly #front: HoldingStream | undefined
  #cancelPartial: (() => void) | undefined
  #watching = false
  /** QoS 2 packets that wait for PUBREL. */
  #handshakes = 0

  constructor(context: SessionContext, parts: WatchedParts) {
    this.#context = context
    this.#parts = parts
    const { conn, peer } = parts.connection
    this.baseBytes = BASE_BYTES[peer.transport]
    this.#front = frontOf(conn)
  }

  begin(): void {
    if (this.#watching) return
    this.#watching = true
    const look = () => this.#look()
    this.#parts.guard.onFed = look
    if (this.#front !== undefined) this.#front.onHeld = look
    this.#context.strangers.enter(this)
  }

  end(): void {
    if (!this.#watching) return
    this.#watching = false
    this.#parts.guard.onFed = undefined
    if (this.#front !== undefined) this.#front.onHeld = undefined
    this.#rest()
    this.#context.strangers.leave(this)
  }

  get mayGo(): boolean {
    return this.#parts.connection.opened || this.#parts.guard.isFirst
  }

  cost(): number {
    const { connection, guard, outbox } = this.#parts
    const { conn } = connection
    const unsent = conn.writableLength * UNSENT_FACTOR + (outbox()?.waitingBytes ?? 0)
    const inFront = (this.#front?.heldBytes ?? 0) + (this.#front?.waitingBytes ?? 0)
    const read = guard.heldBytes + conn.readableLength + inFront
    return this.baseBytes + read + unsent + this.#handshakes * HANDSHAKE_BYTES
  }

  evict(): void {
    this.#context.counters.limits.strangers++
    const { connection } = this.#parts
    connection.disconnectWith(
      REASON.quotaExceeded,
      'too many clients without a key or password; try again later',
    )
    // Its memory is wanted now: there is no time to wait for its end.
    connection.conn.destroy()
  }

  /** A QoS 2 handshake begins or ends. False when there are too many. */
  handshake(change: 1 | -1): boolean {
    if (!this.#watching) return true
    this.#handshakes = Math.max(0, this.#handshakes + change)
    return this.#handshakes <= this.#context.limits.maxCandidateInflight
  }

  #look(): void {
    const { connection, limits } = this.#parts
    if (connection.isGone) return
    // Who has read CONNACK may be faster than the news that it was written.
    const maxPacketBytes = Math.max(limits.maxPacketBytes, this.#context.limits.maxCandidatePacketBytes)
    if ((this.#front?.heldBytes ?? 0) > maxPacketBytes + FRONT_ROOM_BYTES) {
      connection.limited('packet', { maxPacketBytes }, 'packet too large: connection closed')
      connection.turnAway(REASON.packetTooLarge, TOO_LARGE)
      return
    }
    if (connection.conn.writableLength > this.#context.limits.maxCandidateUnsentBytes) {
      connection.overrun()
      return
    }
    this.#watchPartial()
    this.#context.strangers.changed(this)
  }

  /** Watches a packet that is not whole. Before CONNACK another timer runs, for the whole of it. */
  #watchPartial(): void {
    const { connection, guard } = this.#parts
    const isPartial = guard.isPartial || (this.#front?.heldBytes ?? 0) > 0
    if (!isPartial || !connection.opened) {
      this.#rest()
      return
    }
    if (this.#cancelPartial !== undefined) return
    const before = guard.wholePackets
    this.#cancelPartial = this.#context.clock.after(this.#context.limits.partialPacketMs, () => {
      this.#cancelPartial = undefined
      if (guard.wholePackets === before) this.#tooSlow()
      else this.#watchPartial()
    })
  }

  #tooSlow(): void {
    const { connection } = this.#parts
    const { partialPacketMs } = this.#context.limits
    connection.limited(
      'packet_time',
      { partialPacketMs },
      'a packet was not whole in time: connection closed',
    )
    connection.turnAway(REASON.quotaExceeded, 'a packet was not whole in time')
  }

  #rest(): void {
    this.#cancelPartial?.()
    this.#cancelPartial = undefined
  }
}

/** A connection in its TLS handshake. */
export class HandshakeStranger implements Stranger {
  readonly baseBytes = BASE_BYTES.tls
  readonly mayGo = true
  readonly #context: Pick<SessionContext, 'strangers' | 'counters'>
  readonly #raw: Duplex

  constructor(context: Pick<SessionContext, 'strangers' | 'counters'>, raw: Duplex) {
    this.#context = context
    this.#raw = raw
    context.strangers.enter(this)
  }

  cost(): number {
    return this.baseBytes
  }

  evict(): void {
    this.#context.counters.limits.strangers++
    this.#raw.destroy()
  }

  end(): void {
    this.#context.strangers.leave(this)
  }
}
