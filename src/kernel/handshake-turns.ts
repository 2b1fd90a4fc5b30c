import type { Socket } from 'node:net'
import { FirstMessage } from './client-hello.ts'
import type { Clock } from './clock.ts'
import { HandshakeReading } from './handshake-reading.ts'
import { TurnTime } from './turn-time.ts'

/**
 * TLS handshakes get their turns by the time that they take. The first message of a client is answered with a signature,
 * which costs a millisecond with a key of RSA, and hundreds of connections can send theirs at the same moment. So TLS
 * begins when that message is whole, and in its turn; what follows is read in turns, and what the end of a handshake brings about has its
 * turn too.
 */

/** The time of a turn of the event loop in which handshakes begin and end; the one that goes beyond it is worked on to its end. */
const SLICE_MS = 8
/** The bytes of a first message. Those with keys for the time after quantum computers have some 2 KiB, one with a large ticket 6. */
const MAX_HELLO_BYTES = 16_384

export interface HandshakeTurnsOptions {
  readonly clock: Clock
  /** The time in which the first message must be whole, and have its turn. */
  readonly helloMs: () => number
}

export class HandshakeTurns {
  readonly #options: HandshakeTurnsOptions
  readonly #time: TurnTime
  readonly #reading: HandshakeReading

  constructor(options: HandshakeTurnsOptions) {
    this.#options = options
    this.#time = new TurnTime(options.clock, SLICE_MS)
    this.#reading = new HandshakeReading(options.clock)
  }

  /**
   * Calls `begin` when the first message of the client is whole, or when it speaks no TLS, and its turn has come; what it
   * has sent is in the socket. Else calls `failed` once, with the reason as Node words it, and the connection is ended: in the
   * time of the first message it has to have its turn, too.
   */
  enter(raw: Socket, begin: () => void, failed: (reason: string) => void): void {
    const first = new FirstMessage()
    let held: Buffer = Buffer.alloc(0)
    let leaveLine = () => {}
    const leave = () => {
      cancel()
      leaveLine()
      raw.off('readable', read)
      raw.off('close', gone)
    }
    const fail = (reason: string) => {
      leave()
      raw.destroy()
      failed(reason)
    }
    const gone = () => fail('socket hang up (ECONNRESET)')
    const inTurn = () => {
      leave()
      begin()
      this.#reading.add(raw)
    }
    const read = () => {
      for (let chunk = raw.read(); chunk !== null; chunk = raw.read()) {
        held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
        const isMore = first.look(held) === 'more'
        if (isMore && held.length <= MAX_HELLO_BYTES) continue
        raw.off('readable', read)
        raw.unshift(held)
        if (isMore) fail('the first message of TLS is too long')
        else leaveLine = this.#time.wait(inTurn)
        return
      }
    }
    const cancel = this.#options.clock.after(this.#options.helloMs(), () =>
      fail('TLS handshake timeout (ERR_TLS_HANDSHAKE_TIMEOUT)'),
    )
    raw.on('error', () => undefined)
    raw.on('close', gone)
    raw.on('readable', read)
  }

  /** Calls `open` for a connection whose handshake is over, now or when its turn has come; `raw`: the one that has entered. */
  secured(raw: Socket, open: () => void): void {
    this.#reading.over(raw)
    if (this.#time.isLeft) open()
    else this.#time.wait(open)
  }
}

/** Returns the connection below a secured one. Node has no public name for it. */
export function connectionBelow(socket: Socket): Socket {
  return (socket as Socket & { readonly _parent?: Socket })._parent ?? socket
}
