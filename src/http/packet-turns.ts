import type { Socket } from 'node:net'
import type { Clock } from '../kernel/clock.ts'
import { TurnTime } from '../kernel/turn-time.ts'

/**
 * Packets of HTTP connections, and their ends, get their turns by the time that they take. What one connection sends
 * costs little, but hundreds of them can send the end of a head, of a body or of a handshake at the same moment, or end
 * with all that they have asked for, and the event loop would work on all of them before it looks at anything else. So
 * after some milliseconds of a turn further packets wait, in their order, and their connections are not read.
 */

/** The time of one turn of the event loop that packets and ends may take; the one that goes beyond it is worked on to its end. */
const SLICE_MS = 10

interface Waiting {
  readonly packet: Buffer
  /** Takes it out of the line. */
  readonly leave: () => void
}

export class PacketTurns {
  readonly #time: TurnTime
  /** The packet that waits of a connection, and no more than one. */
  readonly #ofSocket = new Map<Socket, Waiting>()

  constructor(clock: Clock) {
    this.#time = new TurnTime(clock, SLICE_MS)
  }

  /** Has a packet parsed now, or when its turn has come; returns whether it was now. */
  take(socket: Socket, packet: Buffer, parse: (packet: Buffer) => void): boolean {
    if (this.#time.isLeft) {
      parse(packet)
      return true
    }
    socket.pause()
    if (this.#ofSocket.has(socket)) {
      // It is read again when its turn has come: Node must find the connection as it left it with the first one.
      socket.unshift(packet)
      return false
    }
    const leave = this.#time.wait(() => {
      this.#ofSocket.delete(socket)
      if (socket.destroyed) return
      // Before the packet, for Node may hold the connection because of it: what was answered is not read.
      socket.resume()
      parse(packet)
    })
    this.#ofSocket.set(socket, { packet, leave })
    return false
  }

  /** Returns whether a packet of this connection waits. */
  waits(socket: Socket): boolean {
    return this.#ofSocket.has(socket)
  }

  /** Has the end of a connection worked on now, or when its turn has come. */
  end(work: () => void): void {
    if (this.#time.isLeft) work()
    else this.#time.wait(work)
  }

  /** Gives back what waits of a connection, because somebody else reads it from now on; `take` is called for it no more. */
  leave(socket: Socket): void {
    const waiting = this.#ofSocket.get(socket)
    if (waiting === undefined) return
    this.#ofSocket.delete(socket)
    waiting.leave()
    socket.unshift(waiting.packet)
  }
}
