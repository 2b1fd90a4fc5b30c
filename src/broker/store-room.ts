export interface StoreRoomOptions {
  readonly maxBytes: () => number
  /** Is told when the bytes become too many. */
  readonly full: (bytes: number) => void
}

/** A message counts for so many bytes beside its topic and payload. */
const MESSAGE_BYTES = 512
/** The share of the bytes at which those who are held back go on. */
const GO_ON_SHARE = 0.5

/**
 * The memory of messages that are not stored yet, or wait for their delivery behind some that were not: a number of them is no
 * bound when each may have a megabyte. When it is used up, those who have more than their part in it are not read any further
 * until it is half empty: nothing is lost, and TCP holds the senders back. Those who have less, together no more than half of
 * it, do not wait for the others.
 */
export class StoreRoom {
  readonly #options: StoreRoomOptions
  /** The bytes of each sender's messages that are in it: of an identity with all its sessions. */
  readonly #senders = new Map<string, number>()
  readonly #waiting = new Set<() => void>()
  #bytes = 0
  #isFull = false

  constructor(options: StoreRoomOptions) {
    this.#options = options
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Shows whether this sender must wait. */
  isFullFor(sender: string): boolean {
    if (!this.#isFull) return false
    const part = (this.#options.maxBytes() * GO_ON_SHARE) / Math.max(1, this.#senders.size)
    return (this.#senders.get(sender) ?? 0) > part
  }

  /** Counts a message; the returned function takes it out again. Messages of the bridge itself have no sender. */
  enter(sender: string | undefined, topic: string, payload: Uint8Array): () => void {
    const bytes = MESSAGE_BYTES + topic.length + payload.length
    this.#bytes += bytes
    if (sender !== undefined) this.#senders.set(sender, (this.#senders.get(sender) ?? 0) + bytes)
    if (!this.#isFull && this.#bytes > this.#options.maxBytes()) {
      this.#isFull = true
      this.#options.full(this.#bytes)
    }
    return () => this.#leave(sender, bytes)
  }

  /** Calls `go` when there is room again; the returned function takes it back. */
  wait(go: () => void): () => void {
    this.#waiting.add(go)
    return () => this.#waiting.delete(go)
  }

  #leave(sender: string | undefined, bytes: number): void {
    this.#bytes -= bytes
    if (sender !== undefined) {
      const left = (this.#senders.get(sender) ?? bytes) - bytes
      if (left > 0) this.#senders.set(sender, left)
      else this.#senders.delete(sender)
    }
    if (!this.#isFull || this.#bytes > this.#options.maxBytes() * GO_ON_SHARE) return
    this.#isFull = false
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const go of waiting) go()
  }
}
