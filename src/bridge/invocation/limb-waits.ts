import { Refusal } from '../../kernel/errors.ts'
import type { BridgeSettings } from '../settings.ts'
import type { OpenInvocation } from './open-invocation.ts'

interface Waiting {
  readonly place: number
  readonly invocation: OpenInvocation
}

/**
 * The invocations that wait for a limb that is away. They go on in the order in which they were asked for, one after the
 * other: the next one when the one before has been sent, waits for something else, or has ended.
 */
export class LimbWaits {
  readonly #settings: BridgeSettings['invocation']
  readonly #takesNow: (nodeId: string) => boolean
  readonly #byNode = new Map<string, Waiting[]>()
  /** The invocation of each limb whose turn it is. */
  readonly #turns = new Map<string, OpenInvocation>()
  /** The order of asking, also of those that went straight to their limb and come back to wait. */
  readonly #places = new WeakMap<OpenInvocation, number>()
  readonly #counted = new WeakSet<OpenInvocation>()
  #nextPlace = 0
  #size = 0

  constructor(settings: BridgeSettings['invocation'], takesNow: (nodeId: string) => boolean) {
    this.#settings = settings
    this.#takesNow = takesNow
  }

  /** The number of those that wait now. */
  get size(): number {
    return this.#size
  }

  nextPlace(): number {
    return this.#nextPlace++
  }

  /** Returns whether others that came first wait for the limb, or are on their way to it. */
  isBehindOthers(invocation: OpenInvocation): boolean {
    const { nodeId } = invocation.record
    this.#placeOf(invocation)
    const turn = this.#turns.get(nodeId)
    if (turn === invocation) return false
    return turn !== undefined || this.#byNode.has(nodeId)
  }

  /**
   * Waits for its turn with a limb that is there. `resumed` ones were counted when they came first.
   * @throws Refusal `too_many_requests`
   */
  async wait(invocation: OpenInvocation, resumed: boolean): Promise<void> {
    const { nodeId } = invocation.record
    this.passed(invocation)
    const waiting = this.#byNode.get(nodeId) ?? []
    const most = this.#settings.maxOfflinePerNode
    if (waiting.length >= most && !resumed && !this.#counted.has(invocation)) {
      throw new Refusal(
        'too_many_requests',
        `${waiting.length} invocations wait for ${nodeId} to come back (invocation.maxOfflinePerNode); try again later`,
      )
    }
    this.#counted.add(invocation)
    const place = this.#placeOf(invocation)
    const entry = { place, invocation }
    const before = waiting.findLastIndex((each) => each.place < place)
    waiting.splice(before + 1, 0, entry)
    this.#byNode.set(nodeId, waiting)
    this.#size++
    try {
      await new Promise<void>((resolve, reject) => {
        invocation.wait = { resolve: () => resolve(), reject }
        this.look(nodeId)
      })
    } finally {
      invocation.wait = undefined
      this.#remove(nodeId, entry)
    }
  }

  /** The limb has come, or has room: whoever is first may go. Total. */
  look(nodeId: string): void {
    const first = this.#byNode.get(nodeId)?.[0]
    if (first === undefined || this.#turns.has(nodeId) || !this.#takesNow(nodeId)) return
    this.#turns.set(nodeId, first.invocation)
    this.#remove(nodeId, first)
    first.invocation.wait?.resolve(undefined)
  }

  /** Its turn is over: it was sent, waits for something else, or has ended. */
  passed(invocation: OpenInvocation): void {
    const { nodeId } = invocation.record
    if (this.#turns.get(nodeId) === invocation) this.#turns.delete(nodeId)
  }

  #placeOf(invocation: OpenInvocation): number {
    const place = this.#places.get(invocation) ?? invocation.wish.place ?? this.#nextPlace++
    this.#places.set(invocation, place)
    return place
  }

  #remove(nodeId: string, entry: Waiting): void {
    const waiting = this.#byNode.get(nodeId)
    const at = waiting?.indexOf(entry) ?? -1
    if (waiting === undefined || at < 0) return
    waiting.splice(at, 1)
    this.#size--
    if (waiting.length === 0) this.#byNode.delete(nodeId)
  }
}
