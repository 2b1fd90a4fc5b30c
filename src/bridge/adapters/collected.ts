import type { Session } from '../ports.ts'
import type { ViaSession } from './via-session.ts'

/** Bounds of what one session may have collected, and what all of them may. */
interface Bounds {
  readonly messages: number
  readonly bytes: number
}

const OF_CANDIDATE: Bounds = { messages: 128, bytes: 131_072 }
const OF_LIMB: Bounds = { messages: 4096, bytes: 4_194_304 }
const OF_ALL_CANDIDATES = 8 * 1_048_576
const OF_ALL_LIMBS = 64 * 1_048_576

/** The bytes that all sessions have collected together. */
export class CollectedBytes {
  candidates = 0
  limbs = 0
}

/** Holds what the firmware behind one session has announced of itself since it connected. */
export class Collected {
  readonly session: Session
  readonly nodeId: string
  /** The payloads by their places, in the order in which they came first. */
  readonly messages = new Map<string, Uint8Array>()
  /** The places of which something came, also where that took back what was announced before. */
  readonly seen = new Set<string>()
  /** The registrations as they were made last, as JSON, by the names of the limbs. */
  readonly registered = new Map<string, string>()
  /** The sessions of devices behind this one. */
  readonly via = new Map<string, ViaSession>()
  cancelFlush: (() => void) | undefined
  /** Cancels that what was refused for a while is read again. */
  cancelAgain: (() => void) | undefined
  flushing: Promise<void> | undefined
  greeted = false
  readonly #total: CollectedBytes
  readonly #kind: keyof CollectedBytes
  #bytes = 0

  constructor(session: Session, nodeId: string, total: CollectedBytes) {
    this.session = session
    this.nodeId = nodeId
    this.#total = total
    this.#kind = session.identity.kind === 'limb' ? 'limbs' : 'candidates'
  }

  /** Keeps a message. False when there is no room for it. */
  put(place: string, payload: Uint8Array): boolean {
    const [own, all] = this.#kind === 'limbs' ? [OF_LIMB, OF_ALL_LIMBS] : [OF_CANDIDATE, OF_ALL_CANDIDATES]
    const more = payload.length - (this.messages.get(place)?.length ?? 0)
    const isNew = !this.seen.has(place)
    if (isNew && this.seen.size >= own.messages) return false
    if (this.#bytes + more > own.bytes || this.#total[this.#kind] + more > all) return false
    this.seen.add(place)
    this.#add(more)
    if (payload.length === 0) this.messages.delete(place)
    // A copy: the chunk of a socket may be much larger.
    else this.messages.set(place, Uint8Array.from(payload))
    return true
  }

  end(): void {
    this.cancelFlush?.()
    this.cancelFlush = undefined
    this.cancelAgain?.()
    this.cancelAgain = undefined
    this.#add(-this.#bytes)
    this.messages.clear()
  }

  #add(bytes: number): void {
    this.#bytes += bytes
    this.#total[this.#kind] += bytes
  }
}
