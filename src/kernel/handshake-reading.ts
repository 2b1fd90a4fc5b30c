import type { Socket } from 'node:net'
import type { Clock } from './clock.ts'

/** The handshakes that are read at once: a message costs some 0.2 ms, and one that is answered with a signature of RSA more than a millisecond. */
export const READ_AT_ONCE = 8
/** The time after which the next ones are read. */
export const WINDOW_MS = 4

/** The part of a socket that TLS reads from, which a closed one has not: a private part of Node, pinned by a test. */
interface Readable {
  readonly _handle?: { readStart(): number; readStop(): number }
}

/**
 * Reads the handshakes that are under way some at a time, in turns, when there are many: what a client sends behind its first
 * message is worked on below JavaScript as soon as it is read, and hundreds can send theirs at the same moment. Meanwhile it waits in
 * the kernel. Who keeps its message back holds up nobody: its turn is over when the next ones have theirs.
 */
export class HandshakeReading {
  readonly #clock: Clock
  /** All that are under way, those first whose turn is longest ago. */
  readonly #underWay = new Set<Socket>()
  readonly #held = new Set<Socket>()
  #isScheduled = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Takes in a connection whose first message is being answered; it is read until the next turn. */
  add(raw: Socket): void {
    if (raw.destroyed) return
    this.#underWay.add(raw)
    raw.once('close', () => this.over(raw))
    this.#schedule()
  }

  /** Its handshake is over: it is read like any other connection from now on. */
  over(raw: Socket): void {
    this.#underWay.delete(raw)
    if (this.#held.delete(raw)) handleOf(raw)?.readStart()
  }

  #schedule(): void {
    if (this.#isScheduled || (this.#underWay.size <= READ_AT_ONCE && this.#held.size === 0)) return
    this.#isScheduled = true
    this.#clock.after(WINDOW_MS, () => {
      this.#isScheduled = false
      this.#turn()
      this.#schedule()
    })
  }

  #turn(): void {
    const next = [...this.#underWay].slice(0, READ_AT_ONCE)
    for (const raw of next) {
      this.#underWay.delete(raw)
      if (this.#held.delete(raw)) handleOf(raw)?.readStart()
    }
    for (const raw of this.#underWay) {
      if (this.#held.has(raw)) continue
      this.#held.add(raw)
      handleOf(raw)?.readStop()
    }
    // Behind those that wait longer.
    for (const raw of next) this.#underWay.add(raw)
  }
}

function handleOf(raw: Socket): Readable['_handle'] {
  return (raw as Readable)._handle
}
