import type { Duplex } from 'node:stream'
import type { Clock } from '../kernel/clock.ts'
import { UnwatchedTurnTime } from '../kernel/turn-time.ts'

/**
 * The bytes of a stream that wait for the end of the turn. One large write fills the kernel's buffer where the same
 * bytes in small ones do not, and `writableLength`, by which messages are shed, shall tell of the reader alone.
 */
const MAX_HELD_BYTES = 8192
/** The time of a turn in which streams are written to. */
const WRITING_MS = 8
/** The bytes that are written in a turn before anybody looks at the clock; a call of the kernel counts for some more. */
const UNWATCHED_BYTES = 2 * 1024 * 1024
const CALL_BYTES = 32 * 1024

/**
 * Holds the small messages that are written to a stream until the turn of the event loop ends, so that a chunk of them
 * costs one call of the kernel for each session, and one TLS record: a call costs more than all that the bridge does
 * for a heartbeat. What very many sessions, or sessions of large messages, are sent in one turn is written in as many
 * turns as it takes.
 */
export class TurnWrites {
  readonly #time: UnwatchedTurnTime
  /** Is told whether streams wait for a later turn: whoever brings more should wait as well. */
  readonly #isBehind: (isBehind: boolean) => void
  #held: Duplex[] = []
  /** The place in `held` of the stream that is written to next. */
  #next = 0
  /** Shows whether what is held will be written, and whoever waits for that told. */
  #isDue = false
  /** Shows whether what is held did not fit into the turn. */
  #isLate = false

  constructor(clock: Clock, isBehind: (isBehind: boolean) => void = () => undefined) {
    this.#time = new UnwatchedTurnTime(clock, WRITING_MS, UNWATCHED_BYTES)
    this.#isBehind = isBehind
  }

  /**
   * Holds a stream when it is due. To be called before a message is written, with the bytes that it will add.
   * Acknowledgements join what is held, and hold nothing themselves: their sender would wait for them, and then send
   * the more at once.
   */
  hold(conn: Duplex, bytes: number): void {
    if (conn.writableLength + bytes <= MAX_HELD_BYTES || !this.#mayWrite(bytes)) {
      if (conn.writableCorked === 0) this.#hold(conn)
    } else {
      this.writeHeld(conn)
    }
  }

  /** Writes what is held, now: what follows must not overtake it. Not when it is behind already. */
  flush(): void {
    if (!this.#isLate) this.#writeInTime()
  }

  /** Writes what is held of a stream: what it has not taken then, its reader has not. */
  writeHeld(conn: Duplex): void {
    if (conn.writableCorked > 0) conn.uncork()
  }

  #mayWrite(bytes: number): boolean {
    this.#time.add(CALL_BYTES + bytes)
    if (this.#time.isLeft) return true
    this.#isBehind(true)
    // The stream may be corked by somebody else, and not be held here: it is over all the same.
    this.#releaseLater()
    return false
  }

  #hold(conn: Duplex): void {
    this.#releaseLater()
    this.#held.push(conn)
    conn.cork()
  }

  #releaseLater(): void {
    if (this.#isDue) return
    this.#isDue = true
    setImmediate(() => this.#release())
  }

  #release(): void {
    this.#writeInTime()
    this.#isLate = this.#next < this.#held.length
    this.#held.splice(0, this.#next)
    this.#next = 0
    this.#isDue = this.#isLate
    this.#isBehind(this.#isLate)
    if (this.#isLate) this.#time.wait(() => this.#release())
  }

  #writeInTime(): void {
    while (this.#next < this.#held.length && this.#time.isInTime) {
      const conn = this.#held[this.#next++] as Duplex
      this.#time.add(CALL_BYTES + conn.writableLength)
      conn.uncork()
    }
  }
}

/** Makes a stream write what is held of it before it is destroyed: acknowledgements of messages that were taken. */
export function writeBeforeDestroy(conn: Duplex): void {
  conn.destroy = destroyWritten
}

function destroyWritten(this: Duplex, error?: Error): Duplex {
  while (!this.destroyed && this.writableCorked > 0) this.uncork()
  return Object.getPrototypeOf(this).destroy.call(this, error)
}
