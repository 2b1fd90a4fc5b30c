import type { Duplex } from 'node:stream'
import type { Clock } from '../kernel/clock.ts'
import { TurnTime } from '../kernel/turn-time.ts'

/** The time of a turn of the event loop in which chunks of all connections are worked on. */
const READING_MS = 8
/** A chunk counts for so many bytes more: its packets may be small, and dear. */
const CHUNK_BYTES = 4096
/** The bytes that are read in a turn before anybody looks at the clock: heartbeats that come one by one cost no look. */
const UNWATCHED_BYTES = 65_536

/**
 * The turns of connections at being read. What one sends is bounded, but eighty can send a megabyte each at the same
 * moment, and the event loop would work on all of it before it looks at anything else.
 */
export class ReadTurns {
  readonly #time: TurnTime
  #bytes = 0
  #watched = false

  constructor(clock: Clock) {
    this.#time = new TurnTime(clock, READING_MS)
  }

  /** Returns whether a chunk may be worked on in this turn. */
  mayTake(bytes: number): boolean {
    this.#bytes += CHUNK_BYTES + bytes
    return this.#bytes < UNWATCHED_BYTES || this.#hasTime()
  }

  /** Calls `go` when those who wait longer have been read; the returned function takes it back. */
  wait(go: () => void): () => void {
    return this.#time.wait(go)
  }

  #hasTime(): boolean {
    if (!this.#watched) {
      this.#watched = true
      setImmediate(() => {
        this.#watched = false
        this.#bytes = 0
      })
    }
    return this.#time.isLeft
  }
}

export interface PacedReadingOptions {
  readonly conn: Duplex
  readonly turns: ReadTurns
  /** Returns whether the reader of `conn` waits for more, and must be told that there is. */
  readonly isIdle: () => boolean
}

/** Reads one connection when it has its turn: its socket gives nothing before, and TCP holds the sender back. */
export class PacedReading {
  readonly #options: PacedReadingOptions
  #waits = false
  #hasTurn = false

  constructor(options: PacedReadingOptions) {
    this.#options = options
    const { conn } = options
    const read = conn.read
    conn.read = (size?: number) => {
      // Streams look at themselves with a size of 0; one that flows is that of a session that is over, and is dropped.
      const isFree = size === 0 || conn.readableFlowing === true || conn.readableLength === 0
      const gives = isFree || this.#hasTurn || this.#mayRead()
      return gives ? read.call(conn, size) : null
    }
  }

  /** Returns whether a chunk may be handed on without the stream's buffer. */
  mayTake(bytes: number): boolean {
    return !this.#waits && this.#options.turns.mayTake(bytes)
  }

  #mayRead(): boolean {
    const { conn, turns } = this.#options
    if (this.mayTake(conn.readableLength)) return true
    if (!this.#waits) {
      this.#waits = true
      turns.wait(() => this.#goOn())
    }
    return false
  }

  #goOn(): void {
    const { conn, isIdle } = this.#options
    this.#waits = false
    if (!isIdle()) return
    this.#hasTurn = true
    conn.emit('readable')
    this.#hasTurn = false
  }
}
