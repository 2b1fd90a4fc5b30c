import type { Clock } from '../../kernel/clock.ts'
import { Counts } from '../../kernel/counts.ts'
import type { Session } from '../ports.ts'

/** Bytes of answers that a session's peer has not taken, above which the next ones wait. */
const MAX_UNTAKEN_BYTES = 262_144
/** Requests and answers of one session that wait for it; no more fit into what is read of a session at once. */
const MAX_WAITING = 1024
/** The longest wait: well below any sensible keepalive, because the session is not read meanwhile. */
const MAX_WAIT_MS = 10_000

/** Bytes of answers that wait to be sent, of one principal over all its sessions, and of all; one of each may always wait. */
const MAX_HELD_BYTES = 16 * 1024 * 1024
const MAX_ALL_HELD_BYTES = 32 * 1024 * 1024

interface Line {
  /** Sent, and not known to be taken. */
  bytes: number
  watching: boolean
  waiting: (() => void)[]
}

/**
 * Room for answers in the sockets of those who ask. Who asks for much at once and reads what comes is served as fast
 * as it reads, rather than ended as one that does not read.
 */
export class AnswerRoom {
  readonly #clock: Clock
  /** The bytes of answers of each principal that wait to be sent. */
  readonly #heldBytes = new Counts()
  #allHeldBytes = 0
  readonly #lines = new WeakMap<Session, Line>()
  readonly #watched = new Set<Promise<void>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  has(session: Session): boolean {
    return (this.#lines.get(session)?.bytes ?? 0) < MAX_UNTAKEN_BYTES
  }

  /** An answer was sent. */
  sent(session: Session, bytes: number): void {
    if (session.whenTaken === undefined) return
    const line = this.#lines.get(session) ?? { bytes: 0, watching: false, waiting: [] }
    this.#lines.set(session, line)
    line.bytes += bytes
    if (line.watching) return
    const watched = this.#watch(session, line)
    this.#watched.add(watched)
    void watched.then(() => this.#watched.delete(watched))
  }

  /** Resolves when every session has taken what it was sent. */
  async taken(): Promise<void> {
    await Promise.all(this.#watched)
  }

  /**
   * Resolves when an answer may be sent, as a wait ends. False, at once: it is too large beside those of its principal,
   * or of all, that wait already.
   */
  async hold(session: Session, owner: string, bytes: number): Promise<boolean> {
    if (this.has(session)) return true
    const own = this.#heldBytes.of(owner)
    if (own > 0 && own + bytes > MAX_HELD_BYTES) return false
    if (own > 0 && this.#allHeldBytes + bytes > MAX_ALL_HELD_BYTES) return false
    this.#heldBytes.add(owner, bytes)
    this.#allHeldBytes += bytes
    await this.wait(session)
    this.#heldBytes.add(owner, -bytes)
    this.#allHeldBytes -= bytes
    return true
  }

  /** Resolves to whether there is room; false when the wait took too long, or too many wait. */
  async wait(session: Session): Promise<boolean> {
    const line = this.#lines.get(session)
    if (line === undefined || this.has(session)) return true
    if (line.waiting.length >= MAX_WAITING) return false
    return new Promise((resolve) => {
      const cancel = this.#clock.after(MAX_WAIT_MS, () => {
        line.waiting = line.waiting.filter((each) => each !== goOn)
        resolve(false)
      })
      const goOn = () => {
        cancel()
        resolve(true)
      }
      line.waiting.push(goOn)
    })
  }

  async #watch(session: Session, line: Line): Promise<void> {
    line.watching = true
    while (line.bytes > 0) {
      const { bytes } = line
      await session.whenTaken?.()
      line.bytes -= bytes
      // One after the other: each may use up the room that there is.
      while (this.has(session)) {
        const next = line.waiting.shift()
        if (next === undefined) break
        next()
        await new Promise<void>((resolve) => setImmediate(resolve))
      }
    }
    line.watching = false
  }
}
