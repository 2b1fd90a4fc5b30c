import type { Duplex } from 'node:stream'
import type { Clock } from '../kernel/clock.ts'
import { type ConnectionPeer, frontOf, type HoldingStream } from './connection.ts'
import { BASE_BYTES, type Stranger, type Strangers } from './strangers.ts'

/** The time that a client has to read its last packet and to close its side. */
const LINGER_MS = 2000
/** The bytes that are read of it meanwhile, and dropped. */
const MAX_READ_BYTES = 4 * 1024 * 1024

export interface LingeringOptions {
  readonly clock: Clock
  readonly strangers: Strangers
}

interface Place {
  readonly address: string
  readonly closed: Promise<void>
  /** Its place is another one's already: it is about to close. */
  isGiven: boolean
}

/**
 * Connections of sessions that are over. The last packet is out and our side is closed, but a socket that is closed
 * while its peer still writes resets the connection, and the reset overtakes what the peer has not read: the reason
 * why its session ended. So what comes is read and dropped until the peer closes its side too, for a short while.
 */
export class Lingering {
  readonly #options: LingeringOptions
  /** The oldest first. */
  readonly #all = new Map<Duplex, Place>()

  constructor(options: LingeringOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#all.size
  }

  /** Takes over a connection that nobody else reads, writes or ends any more. */
  begin(conn: Duplex, peer: ConnectionPeer): void {
    const { clock, strangers } = this.#options
    const closed = new Promise<void>((resolve) => conn.once('close', resolve))
    this.#all.set(conn, { address: peer.address, closed, isGiven: false })
    const cancel = clock.after(LINGER_MS, () => conn.destroy())
    // The control socket has no strangers.
    const stranger = peer.local ? undefined : new LingeringStranger(strangers, conn, peer)
    void closed.then(() => {
      cancel()
      stranger?.end()
      this.#all.delete(conn)
    })
    drop(conn)
  }

  /** Resolves when every one of them that is there now has closed. */
  async over(): Promise<void> {
    await Promise.all([...this.#all.values()].map(({ closed }) => closed))
  }

  /**
   * Ends the oldest, of this address or of any, for the sake of a connection that has no room. Returns whether there was
   * one.
   */
  makeRoom(address?: string): boolean {
    for (const [conn, place] of this.#all) {
      if (place.isGiven || (address !== undefined && place.address !== address)) continue
      place.isGiven = true
      conn.destroy()
      return true
    }
    return false
  }

  /** Ends them all now. */
  end(): void {
    for (const conn of this.#all.keys()) conn.destroy()
  }
}

function drop(conn: Duplex): void {
  let read = 0
  conn.on('data', (chunk: Buffer) => {
    read += chunk.length
    if (read > MAX_READ_BYTES) conn.destroy()
  })
  conn.once('end', () => conn.destroy())
  // What its session left behind may have stopped the flow.
  conn.resume()
}

/** A connection whose session is over is nobody's: it counts with the strangers, and goes before them. */
class LingeringStranger implements Stranger {
  readonly baseBytes: number
  readonly mayGo = true
  readonly isOver = true
  readonly #strangers: Strangers
  readonly #conn: Duplex
  readonly #front: HoldingStream | undefined

  constructor(strangers: Strangers, conn: Duplex, { transport }: ConnectionPeer) {
    this.baseBytes = BASE_BYTES[transport]
    this.#strangers = strangers
    this.#conn = conn
    this.#front = frontOf(conn)
    if (this.#front !== undefined) this.#front.onHeld = () => strangers.changed(this)
    strangers.enter(this)
  }

  cost(): number {
    const { readableLength, writableLength } = this.#conn
    const inFront = (this.#front?.heldBytes ?? 0) + (this.#front?.waitingBytes ?? 0)
    return this.baseBytes + readableLength + writableLength + inFront
  }

  evict(): void {
    this.#conn.destroy()
  }

  end(): void {
    if (this.#front !== undefined) this.#front.onHeld = undefined
    this.#strangers.leave(this)
  }
}
