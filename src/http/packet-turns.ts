import type { Socket } from 'node:net'
import { type Clock, type MonotonicMs, plusMs } from '../kernel/clock.ts'

/**
 * Packets of HTTP connections get their turns by the time that they take. What one connection sends costs little, but
 * hundreds of them can send the end of a head, of a body or of a handshake at the same moment, and the event loop
 * would work on all of them before it looks at anything else. So after some milliseconds of a turn further packets wait,
 * in their order, and their connections are not read.
 */

/** The time of one turn of the event loop that packets may take; the one that goes beyond it is worked on to its end. */
const SLICE_MS = 10

interface Waiting {
  readonly socket: Socket
  readonly packet: Buffer
  readonly parse: (packet: Buffer) => void
}

export class PacketTurns {
  readonly #clock: Clock
  /** Packets that wait, who waits longest first. */
  readonly #waiting: Waiting[] = []
  /** Connections of which a packet waits, and no more than one. */
  readonly #ofSocket = new Set<Socket>()
  #endsAt: MonotonicMs | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Has a packet parsed now, or when its turn has come. */
  take(socket: Socket, packet: Buffer, parse: (packet: Buffer) => void): void {
    if (this.#waiting.length === 0 && this.#hasTime()) {
      parse(packet)
      return
    }
    socket.pause()
    if (this.#ofSocket.has(socket)) {
      // It is read again when its turn has come: Node must find the connection as it left it with the first one.
      socket.unshift(packet)
      return
    }
    this.#ofSocket.add(socket)
    if (this.#waiting.push({ socket, packet, parse }) === 1) setImmediate(() => this.#drain())
  }

  /** Gives back what waits of a connection, because somebody else reads it from now on; `take` is called for it no more. */
  leave(socket: Socket): void {
    if (!this.#ofSocket.delete(socket)) return
    const at = this.#waiting.findIndex((each) => each.socket === socket)
    const [own] = this.#waiting.splice(at, 1)
    if (own !== undefined) socket.unshift(own.packet)
  }

  /** Returns whether this turn of the event loop has time left. Its first packet begins it. */
  #hasTime(): boolean {
    if (this.#endsAt === undefined) {
      this.#endsAt = this.#sliceEnd()
      // Immediates come when all was told that the system had to tell in this turn.
      setImmediate(() => {
        this.#endsAt = undefined
      })
    }
    return this.#clock.monotonicMs() < this.#endsAt
  }

  #sliceEnd(): MonotonicMs {
    return plusMs(this.#clock.monotonicMs(), SLICE_MS)
  }

  #drain(endsAt = this.#sliceEnd()): void {
    const next = this.#waiting.shift()
    if (next === undefined) return
    const { socket, packet, parse } = next
    this.#ofSocket.delete(socket)
    if (!socket.destroyed) {
      // Before the packet, for Node may hold the connection because of it: what was answered is not read.
      socket.resume()
      parse(packet)
    }
    if (this.#waiting.length === 0) return
    // What a packet brings about runs before the next tick, and belongs to its time.
    if (this.#clock.monotonicMs() < endsAt) process.nextTick(() => this.#drain(endsAt))
    else setImmediate(() => this.#drain())
  }
}
