import type { Clock } from '../../kernel/clock.ts'
import { TurnTime } from '../../kernel/turn-time.ts'

/** The values of one limb, and of all devices behind it, that are published in one turn of the event loop. */
const VALUES_PER_TURN = 64
/** The time of a turn in which values of all limbs are published. */
const SLICE_MS = 4
/** The bytes of messages whose values wait, of one limb with the devices behind it and of all. */
const MAX_BYTES = 1_048_576
const MAX_ALL_BYTES = 16 * 1_048_576

/** Publishes the value at a place of what a message says. Returns false when there is none at it or behind it. */
export type PublishValue = (at: number) => boolean

interface Work {
  publish: PublishValue
  bytes: number
  /** The place of the value that is next. */
  at: number
  /** The newest message of the topic that came meanwhile. */
  next: { readonly publish: PublishValue; readonly bytes: number } | undefined
}

/** Holds what waits of one limb and the devices behind it. */
interface Owner {
  readonly works: Map<string, Work>
  bytes: number
  /** Values that it may have published in this turn still. */
  left: number
  /** It has its place in the line, or gets it when this turn ends. */
  waits: boolean
}

/**
 * The turns of limbs at having values of foreign firmware published. One message can have as many values as there are
 * devices behind a limb, and properties of each: all at once they would stand in the way of everything else. Those that
 * wait are published later; of a topic, what waits is the newest.
 */
export class ValueTurns {
  readonly #time: TurnTime
  readonly #owners = new Map<string, Owner>()
  /** Is called for each message whose values were left out: a newer one came, or there was no room. */
  readonly #leftOut: (why: 'replaced' | 'no_room') => void
  #bytes = 0

  constructor(clock: Clock, leftOut: (why: 'replaced' | 'no_room') => void) {
    this.#time = new TurnTime(clock, SLICE_MS)
    this.#leftOut = leftOut
  }

  /** Publishes the values of a message now, or when it is their turn. `bytes`: what it takes while it waits. */
  take(ownerName: string, topic: string, bytes: number, publish: PublishValue): void {
    const owner = this.#ownerOf(ownerName)
    if (!this.#put(owner, topic, bytes, publish)) {
      this.#leftOut('no_room')
      return
    }
    if (owner.waits) return
    if (owner.left > 0 && this.#time.isLeft) this.#goOn(owner)
    else this.#wait(owner)
  }

  #put(owner: Owner, topic: string, bytes: number, publish: PublishValue): boolean {
    const waiting = owner.works.get(topic)
    const more = bytes - (waiting?.next?.bytes ?? 0)
    if (owner.bytes + more > MAX_BYTES || this.#bytes + more > MAX_ALL_BYTES) return false
    this.#count(owner, more)
    if (waiting === undefined) {
      owner.works.set(topic, { publish, bytes, at: 0, next: undefined })
      return true
    }
    if (waiting.next !== undefined) this.#leftOut('replaced')
    waiting.next = { publish, bytes }
    return true
  }

  #ownerOf(name: string): Owner {
    const known = this.#owners.get(name)
    if (known) return known
    const owner: Owner = { works: new Map(), bytes: 0, left: VALUES_PER_TURN, waits: false }
    this.#owners.set(name, owner)
    // Immediates come when this turn has told all that it had to tell.
    setImmediate(() => this.#endTurn(name, owner))
    return owner
  }

  #endTurn(name: string, owner: Owner): void {
    owner.left = VALUES_PER_TURN
    if (owner.works.size === 0) this.#owners.delete(name)
    else {
      this.#wait(owner)
      setImmediate(() => this.#endTurn(name, owner))
    }
  }

  #wait(owner: Owner): void {
    if (owner.waits) return
    owner.waits = true
    this.#time.wait(() => {
      owner.waits = false
      this.#goOn(owner)
    })
  }

  #goOn(owner: Owner): void {
    for (const [topic, work] of owner.works) {
      while (owner.left > 0 && work.publish(work.at)) {
        work.at++
        owner.left--
      }
      if (owner.left === 0) return
      owner.works.delete(topic)
      this.#count(owner, -work.bytes)
      // It goes behind the other topics.
      if (work.next !== undefined) owner.works.set(topic, { ...work.next, at: 0, next: undefined })
    }
  }

  #count(owner: Owner, bytes: number): void {
    owner.bytes += bytes
    this.#bytes += bytes
  }
}
