/** A session that has not taken what it was sent, or not acknowledged what must be kept for it until then. */
export interface SlowReader {
  /** The identity whose session it is. */
  readonly owner: string
  /** The bytes that are held for it. */
  readonly heldBytes: number
  /** The same without the large payloads, which several sessions may wait for and which are counted by themselves. */
  readonly ownBytes: number
  /** Shows whether it is counted; kept here because the others are asked for each message. */
  isCounted: boolean
  /** Ends it, and lets go of what it waits for. */
  readonly end: () => void
}

export interface UnsentBytesOptions {
  /** The bytes of all sessions of one identity, and of all sessions. */
  readonly maxBytesPerIdentity: () => number
  readonly maxBytes: () => number
}

interface Share {
  /** The bytes that were held for each reader when it was looked at last, large payloads left out. */
  readonly readers: Map<SlowReader, number>
  /** The large payloads, each with the number of sessions that wait for it. */
  readonly payloads: Map<Uint8Array, number>
  bytes: number
  /** Callbacks of those who send only what there is room for, the longest wait first. */
  readonly waiting: Set<() => void>
}

/** The bytes of a session that nobody counts: a reader that keeps up has as much now and then. */
const UNCOUNTED_BYTES = 64 * 1024
/** A payload of so many bytes is one piece of memory, however many sessions wait for it; smaller ones are copied. */
const LARGE_BYTES = 16 * 1024

export function isLarge(payload: Uint8Array): boolean {
  return payload.length >= LARGE_BYTES
}

/**
 * The memory of what sessions were sent and have not taken, or not acknowledged: what one session may have waiting is
 * bounded, but hundreds of one password can each have as much. Beyond the bound of an identity, or of all, whoever has most ends; what is sent only
 * as fast as it is taken waits before that.
 */
export class UnsentBytes {
  readonly #options: UnsentBytesOptions
  readonly #shares = new Map<string, Share>()
  #bytes = 0

  constructor(options: UnsentBytesOptions) {
    this.#options = options
  }

  /** Counts anew, and returns the bytes of all. */
  get bytes(): number {
    for (const [owner, share] of this.#shares) {
      this.#countAnew(share)
      this.#dropEmpty(owner, share)
    }
    return this.#bytes
  }

  /** A reader was sent something. It counts from a size on that readers who keep up do not have. */
  sent(reader: SlowReader): void {
    const bytes = reader.ownBytes
    if (bytes <= UNCOUNTED_BYTES && !reader.isCounted) return
    this.#note(this.#shares.get(reader.owner) ?? this.#newShare(reader.owner), reader, bytes)
    this.#look(reader.owner)
  }

  /** A large payload waits for a reader. */
  hold(reader: SlowReader, payload: Uint8Array): void {
    const share = this.#shares.get(reader.owner) ?? this.#newShare(reader.owner)
    const count = share.payloads.get(payload) ?? 0
    share.payloads.set(payload, count + 1)
    if (count === 0) this.#add(share, payload.length)
    if (!reader.isCounted) this.#note(share, reader, 0)
    this.#look(reader.owner)
  }

  /** It was taken, or is not sent any more. */
  release({ owner }: SlowReader, payload: Uint8Array): void {
    const share = this.#shares.get(owner)
    const count = share?.payloads.get(payload)
    if (share === undefined || count === undefined) return
    if (count > 1) {
      share.payloads.set(payload, count - 1)
      return
    }
    share.payloads.delete(payload)
    this.#add(share, -payload.length)
    this.#wake(share)
    this.#dropEmpty(owner, share)
  }

  /** A session has ended. */
  leave(reader: SlowReader): void {
    const share = this.#shares.get(reader.owner)
    if (share === undefined || !reader.isCounted) return
    this.#drop(share, reader)
    this.#wake(share)
    this.#dropEmpty(reader.owner, share)
  }

  /** Returns whether an identity may be sent more of what need not be sent now: the other half is for what must. */
  hasRoom(owner: string): boolean {
    const share = this.#shares.get(owner)
    return share === undefined || this.#hasRoom(share)
  }

  #hasRoom(share: Share): boolean {
    if (this.#isHalfFree(share)) return true
    // Some may have read since they were sent anything.
    this.#countAnew(share)
    return this.#isHalfFree(share)
  }

  /** Lets the next one go who waits for room: the one before has what it waited for. */
  next(owner: string): void {
    const share = this.#shares.get(owner)
    if (share !== undefined) this.#wake(share)
  }

  /** Calls `go` when it may, one after the other; the returned function takes it back. */
  whenRoom(owner: string, go: () => void): () => void {
    const share = this.#shares.get(owner) ?? this.#newShare(owner)
    share.waiting.add(go)
    return () => {
      share.waiting.delete(go)
      this.#dropEmpty(owner, share)
    }
  }

  #isHalfFree({ bytes }: Share): boolean {
    const { maxBytesPerIdentity, maxBytes } = this.#options
    return bytes <= maxBytesPerIdentity() / 2 && (bytes === 0 || this.#bytes <= maxBytes() / 2)
  }

  #wake(share: Share): void {
    const [go] = share.waiting
    if (go === undefined || !this.#hasRoom(share)) return
    share.waiting.delete(go)
    go()
  }

  #newShare(owner: string): Share {
    const share: Share = { readers: new Map(), payloads: new Map(), bytes: 0, waiting: new Set() }
    this.#shares.set(owner, share)
    return share
  }

  #dropEmpty(owner: string, { readers, payloads, waiting }: Share): void {
    if (readers.size + payloads.size + waiting.size === 0) this.#shares.delete(owner)
  }

  #note(share: Share, reader: SlowReader, bytes: number): void {
    this.#add(share, bytes - (share.readers.get(reader) ?? 0))
    share.readers.set(reader, bytes)
    reader.isCounted = true
  }

  #drop(share: Share, reader: SlowReader): void {
    this.#note(share, reader, 0)
    share.readers.delete(reader)
    reader.isCounted = false
  }

  #add(share: Share, bytes: number): void {
    share.bytes += bytes
    this.#bytes += bytes
  }

  #countAnew(share: Share): void {
    for (const reader of share.readers.keys()) {
      const { heldBytes, ownBytes } = reader
      this.#note(share, reader, ownBytes)
      if (heldBytes > UNCOUNTED_BYTES) continue
      this.#drop(share, reader)
    }
  }

  #look(owner: string): void {
    const { maxBytesPerIdentity, maxBytes } = this.#options
    const share = this.#shares.get(owner)
    if (share === undefined) return
    const isOver = () => share.bytes > maxBytesPerIdentity()
    if (isOver()) this.#countAnew(share)
    while (isOver() && this.#endLargest(share));
    if (this.#bytes <= maxBytes()) return
    for (const each of this.#shares.values()) this.#countAnew(each)
    while (this.#bytes > maxBytes()) {
      // One whose sessions each have so little that none of them is counted has nobody to end.
      const [largest] = [...this.#shares.values()]
        .filter(({ readers }) => readers.size > 0)
        .toSorted((a, b) => b.bytes - a.bytes)
      if (largest === undefined || !this.#endLargest(largest)) return
    }
  }

  /** Ends the reader that has most to take; false when there is none. */
  #endLargest(share: Share): boolean {
    let largest: SlowReader | undefined
    for (const reader of share.readers.keys())
      if (largest === undefined || reader.heldBytes > largest.heldBytes) largest = reader
    if (largest === undefined) return false
    largest.end()
    this.leave(largest)
    return true
  }
}
