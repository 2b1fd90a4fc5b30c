import type { Clock, MonotonicMs } from '../kernel/clock.ts'
import type { Transport } from './counters.ts'

/**
 * The bytes that a connection costs that does nothing: socket, session, Aedes' client, and over TLS the buffers of a
 * record that is not whole. Measured as resident memory of the bridge by test/pressure/connection-cost.ts with 1000 of
 * each kind on Node 24, the larger of two runs, and rounded up: TCP 15 KiB as a candidate, TLS 44 KiB in a handshake that
 * stops and 39 KiB as a candidate, WebSocket 20 KiB. The control socket has no strangers.
 */
export const BASE_BYTES: Readonly<Record<Transport, number>> = {
  tcp: 16 * 1024,
  tls: 64 * 1024,
  websocket: 32 * 1024,
  unix: 16 * 1024,
}

/** A connection of somebody who has shown no secret: not signed in yet, or a candidate. */
export interface Stranger {
  /** The bytes that any connection of its kind costs. */
  readonly baseBytes: number
  /** Returns the bytes that it makes the bridge hold now: objects and buffers as they are, not payloads. */
  cost(): number
  /** Is true if it may be ended for the others' sake. One whose CONNECT waits for an answer of ours may not. */
  readonly mayGo: boolean
  /** Is true of one that has had its last packet: it goes before all others, whatever it costs. */
  readonly isOver?: boolean
  /** Its share is wanted: the connection must end. */
  evict(): void
}

export interface StrangersOptions {
  readonly clock: Clock
  /** Bytes of all strangers together. */
  readonly maxBytes: () => number
  /** The budget is spent, and so many had to go; called once for each time that lasts. */
  readonly spent: (bytes: number) => void
}

interface Entry {
  readonly since: MonotonicMs
  bytes: number
}

/**
 * The time in which a client that has just connected, and holds nothing yet, counts as about to sign in: a whole
 * fleet may be.
 */
const ARRIVING_MS = 5000
/** The time until the next look at all of them when nobody could be ended. */
const LOOK_MS = 100
/** Ended until this share of the budget is left, so that the next packet does not mean another look at all. */
const DOWN_TO = 7 / 8
/** The budget is spent anew when it was not for so long. */
const QUIET_MS = 60_000

/**
 * One total for the memory of all who have no secret. Beyond it the oldest of them go, candidates and those who
 * never finish their CONNECT; limbs and principals are not in it.
 */
export class Strangers {
  readonly #options: StrangersOptions
  /** Oldest first. */
  readonly #all = new Map<Stranger, Entry>()
  #bytes = 0
  #lookAt: number = Number.NEGATIVE_INFINITY
  #spentAt: number = Number.NEGATIVE_INFINITY

  constructor(options: StrangersOptions) {
    this.#options = options
  }

  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#all.size
  }

  enter(stranger: Stranger): void {
    this.#all.set(stranger, { since: this.#options.clock.monotonicMs(), bytes: 0 })
    this.changed(stranger)
  }

  /** It has signed in with a secret, or is gone. */
  leave(stranger: Stranger): void {
    const entry = this.#all.get(stranger)
    if (entry === undefined) return
    this.#bytes -= entry.bytes
    this.#all.delete(stranger)
  }

  /** Is called when what it costs may have changed. It may evict the stranger. */
  changed(stranger: Stranger): void {
    const entry = this.#all.get(stranger)
    if (entry === undefined) return
    this.#measure(stranger, entry)
    if (this.#bytes > this.#options.maxBytes()) this.#shrink()
  }

  #measure(stranger: Stranger, entry: Entry): void {
    const bytes = stranger.cost()
    this.#bytes += bytes - entry.bytes
    entry.bytes = bytes
  }

  #shrink(): void {
    const { clock, maxBytes, spent } = this.#options
    const now = clock.monotonicMs()
    if (now < this.#lookAt) return
    // What was read, or sent, since the last look costs nothing any more.
    for (const [stranger, entry] of this.#all) this.#measure(stranger, entry)
    if (this.#bytes <= maxBytes()) return
    const before = this.#bytes
    const aim = maxBytes() * DOWN_TO
    this.#evict(aim, ({ isOver }) => isOver === true)
    // They had their time: that they go is nothing to tell, and nobody else's end.
    if (this.#bytes <= maxBytes()) return
    this.#evict(aim, (stranger, { since, bytes }) => now - since >= ARRIVING_MS || bytes > stranger.baseBytes)
    if (this.#bytes > maxBytes()) this.#lookAt = now + LOOK_MS
    if (now - this.#spentAt >= QUIET_MS) spent(before)
    this.#spentAt = now
  }

  #evict(aim: number, fits: (stranger: Stranger, entry: Entry) => boolean): void {
    for (const [stranger, entry] of this.#all) {
      if (this.#bytes <= aim) return
      if (!stranger.mayGo || !fits(stranger, entry)) continue
      this.leave(stranger)
      stranger.evict()
    }
  }
}
