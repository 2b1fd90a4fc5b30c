import type { Duplex } from 'node:stream'
import type { Clock } from '../kernel/clock.ts'
import { UnwatchedTurnTime } from '../kernel/turn-time.ts'

/** The time of a turn of the event loop in which chunks of all connections are worked on. */
const READING_MS = 8
/** A chunk counts for so many bytes more: its packets may be small, and dear. */
const CHUNK_BYTES = 4096
/** The bytes that are read in a turn before anybody looks at the clock: heartbeats that come one by one cost no look. */
const UNWATCHED_BYTES = 65_536
/** A message counts for so many bytes for each subscription that it is handed to. */
const SUBSCRIPTION_BYTES = 128

/**
 * The turns of connections at being read. What one sends is bounded, but eighty can send a megabyte each at the same
 * moment, and the event loop would work on all of it before it looks at anything else. Nothing is read while what was
 * read before is not with those who are subscribed: TCP holds the senders back, and nothing piles up.
 */
export class ReadTurns {
  readonly #time: UnwatchedTurnTime
  /** The parts that have not done yet what was read. */
  readonly #behind = new Set<object>()
  /** Has those wait again who had their turn while somebody was behind. */
  readonly #heldBack = new Set<() => void>()
  /** The candidates that wait. They stand in the line as one, so that thousands keep a limb waiting no longer than one does. */
  readonly #candidates = new Set<() => void>()
  #candidatesWait = false

  constructor(clock: Clock) {
    this.#time = new UnwatchedTurnTime(clock, READING_MS, UNWATCHED_BYTES)
  }

  /** Returns whether a chunk may be worked on in this turn. */
  mayTake(bytes: number): boolean {
    this.#time.add(CHUNK_BYTES + bytes)
    return this.#behind.size === 0 && this.#time.isLeft
  }

  /** Shows whether any part is behind. */
  get isBehind(): boolean {
    return this.#behind.size > 0
  }

  /** Returns whether any part but this one is. */
  isBehindBeside(part: object): boolean {
    return this.#behind.size > (this.#behind.has(part) ? 1 : 0)
  }

  /** Counts what a message of a chunk cost beside its bytes. */
  handed(subscriptions: number): void {
    this.#time.add(subscriptions * SUBSCRIPTION_BYTES)
  }

  /** Shows whether a chunk that is worked on should stop at its next packet. */
  get isOver(): boolean {
    return this.#behind.size > 0 || !this.#time.isInTime
  }

  /** Holds all connections back while a part is behind with what was read of them. */
  setBehind(part: object, isBehind: boolean): void {
    if (isBehind) {
      this.#behind.add(part)
      return
    }
    if (!this.#behind.delete(part) || this.#behind.size > 0) return
    const again = [...this.#heldBack]
    this.#heldBack.clear()
    for (const wait of again) wait()
  }

  /** Calls `go` when those who wait longer have been read, of a crowd of candidates one; the returned function takes it back. */
  wait(go: () => void, isCandidate = false): () => void {
    if (!isCandidate) return this.#wait(go)
    this.#candidates.add(go)
    if (!this.#candidatesWait) this.#waitForCandidates()
    return () => this.#candidates.delete(go)
  }

  #waitForCandidates(): void {
    this.#candidatesWait = true
    this.#wait(() => {
      this.#candidatesWait = false
      const [go] = this.#candidates
      if (go === undefined) return
      this.#candidates.delete(go)
      if (this.#candidates.size > 0) this.#waitForCandidates()
      go()
    })
  }

  #wait(go: () => void): () => void {
    let cancel: () => void
    const wait = () => {
      cancel = this.#time.wait(inTurn)
    }
    const inTurn = () => {
      if (this.#behind.size === 0) {
        go()
        return
      }
      this.#heldBack.add(wait)
      cancel = () => this.#heldBack.delete(wait)
    }
    wait()
    return () => cancel()
  }
}

export interface PacedReadingOptions {
  readonly conn: Duplex
  readonly turns: ReadTurns
  /** Goes on with what was read already. */
  readonly resume: () => void
  /** Returns whether the reader of `conn` waits for more, and must be told that there is. */
  readonly isIdle: () => boolean
  /** Returns whether it is the connection of a candidate. */
  readonly isCandidate: () => boolean
}

/** Reads one connection when it has its turn: its socket gives nothing before, and TCP holds the sender back. */
export class PacedReading {
  readonly #options: PacedReadingOptions
  #waits = false
  /** Shows that what was read already goes on first. */
  #isWithin = false
  /** It is not read, whoever's turn it is. */
  #isStopped = false
  #hasTurn = false

  constructor(options: PacedReadingOptions) {
    this.#options = options
    const { conn } = options
    const read = conn.read
    conn.read = (size?: number) => {
      // Streams look at themselves with a size of 0; one that flows is that of a session that is over, and is dropped.
      if (this.#isStopped && size !== 0 && conn.readableFlowing !== true) return null
      const isFree = size === 0 || conn.readableFlowing === true || conn.readableLength === 0
      const gives = isFree || this.#hasTurn || this.#mayRead()
      return gives ? read.call(conn, size) : null
    }
  }

  /** Returns whether a chunk may be handed on without the stream's buffer. */
  mayTake(bytes: number): boolean {
    return !this.#waits && !this.#isStopped && this.#options.turns.mayTake(bytes)
  }

  /** Shows whether a chunk that is worked on should stop at its next packet. */
  get isOver(): boolean {
    return this.#options.turns.isOver
  }

  /** Calls `go` when this connection has its turn; the returned function takes it back. */
  wait(go: () => void): () => void {
    const { turns, isCandidate } = this.#options
    return turns.wait(go, isCandidate())
  }

  /** Reads nothing until `start`. */
  stop(): void {
    this.#isStopped = true
  }

  /** Goes on, when it has its turn. */
  start(): void {
    this.#isStopped = false
    this.#isWithin = true
    this.#wait()
  }

  #mayRead(): boolean {
    if (this.mayTake(this.#options.conn.readableLength)) return true
    this.#wait()
    return false
  }

  #wait(): void {
    if (this.#waits) return
    this.#waits = true
    this.wait(() => this.#goOn())
  }

  #goOn(): void {
    const { conn, resume, isIdle } = this.#options
    this.#waits = false
    if (this.#isStopped) return
    if (this.#isWithin) {
      this.#isWithin = false
      resume()
    }
    // What was read already may have taken its turn.
    if (this.#waits || this.#isStopped || !isIdle()) return
    this.#hasTurn = true
    conn.emit('readable')
    this.#hasTurn = false
  }
}
