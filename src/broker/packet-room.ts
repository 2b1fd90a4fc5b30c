import type { Clock, MonotonicMs } from '../kernel/clock.ts'

/** A session that has begun to send a packet of more than a few KiB. */
export interface PacketHolder {
  /** The identity whose packet it is. */
  readonly owner: string
  /** The size that its header says. */
  readonly bytes: number
  /** There is room for it now. */
  readonly go: () => void
  /** It was not whole in time while others waited: its connection must end. */
  readonly tooSlow: () => void
}

export interface PacketRoomOptions {
  readonly clock: Clock
  /** The bytes of one identity; one packet always has room. */
  readonly maxBytesPerIdentity: () => number
  /** The bytes of all; one packet always has room. */
  readonly maxBytes: () => number
  /** The time that a packet has to be whole when others wait for its room. */
  readonly wholeMs: number
}

interface Share {
  readonly name: string
  bytes: number
  /** The holders that wait, the longest wait first. */
  readonly waiting: Set<PacketHolder>
}

/** The time between two looks for those that are too slow, while anybody waits. */
const LOOK_MS = 1000

/**
 * The memory of packets that limbs and principals have begun to send and that are not whole: what one session may send is
 * bounded, but a thousand sessions of one password can each send most of a megabyte and no more. A packet has its room
 * before it is read; what finds none is not read, and TCP holds its sender back.
 */
export class PacketRoom {
  readonly #options: PacketRoomOptions
  /** The holders that have room, the oldest first. */
  readonly #inside = new Map<PacketHolder, MonotonicMs>()
  /** The shares of identities that have room or wait for it; those whose turn was longest ago first. */
  readonly #shares = new Map<string, Share>()
  #bytes = 0
  #cancelLook: (() => void) | undefined

  constructor(options: PacketRoomOptions) {
    this.#options = options
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Returns whether the packet has room now; else its `go` is called when it has. */
  enter(holder: PacketHolder): boolean {
    const share = this.#shareOf(holder.owner)
    if (share.waiting.size === 0 && this.#fits(share, holder.bytes)) {
      this.#admit(share, holder)
      return true
    }
    share.waiting.add(holder)
    this.#lookLater()
    return false
  }

  /** The packet is whole, or its connection is gone. */
  leave(holder: PacketHolder): void {
    const share = this.#shares.get(holder.owner)
    if (share === undefined) return
    share.waiting.delete(holder)
    if (this.#inside.delete(holder)) {
      share.bytes -= holder.bytes
      this.#bytes -= holder.bytes
    }
    this.#forgetEmpty(share)
    this.#serve()
  }

  #shareOf(name: string): Share {
    const share = this.#shares.get(name) ?? { name, bytes: 0, waiting: new Set() }
    this.#shares.set(name, share)
    return share
  }

  #forgetEmpty(share: Share): void {
    if (share.bytes === 0 && share.waiting.size === 0) this.#shares.delete(share.name)
  }

  #fits(share: Share, bytes: number): boolean {
    return this.#fitsShare(share, bytes) && this.#fitsAll(bytes)
  }

  #fitsShare(share: Share, bytes: number): boolean {
    return share.bytes === 0 || share.bytes + bytes <= this.#options.maxBytesPerIdentity()
  }

  #fitsAll(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#options.maxBytes()
  }

  #admit(share: Share, holder: PacketHolder): void {
    share.bytes += holder.bytes
    this.#bytes += holder.bytes
    this.#inside.set(holder, this.#options.clock.monotonicMs())
  }

  /** Gives what room there is to those that wait, one packet of an identity after one of the other. */
  #serve(): void {
    let hasServed = true
    while (hasServed) {
      hasServed = false
      for (const share of [...this.#shares.values()]) {
        const [next] = share.waiting
        if (next === undefined || !this.#fits(share, next.bytes)) continue
        hasServed = true
        share.waiting.delete(next)
        this.#admit(share, next)
        // To the end of the line of identities.
        this.#shares.delete(share.name)
        this.#shares.set(share.name, share)
        next.go()
      }
    }
  }

  #lookLater(): void {
    this.#cancelLook ??= this.#options.clock.after(LOOK_MS, () => {
      this.#cancelLook = undefined
      this.#look()
    })
  }

  /** Ends those that had their time, where others wait for what they hold. */
  #look(): void {
    const waiting = [...this.#shares.values()].filter(({ waiting: { size } }) => size > 0)
    if (waiting.length === 0) return
    this.#lookLater()
    const isFull = waiting.some((share) => {
      const [next] = share.waiting
      return next !== undefined && this.#fitsShare(share, next.bytes)
    })
    const since = this.#options.clock.monotonicMs() - this.#options.wholeMs
    for (const [holder, at] of [...this.#inside]) {
      if (at > since) break
      if (isFull || (this.#shares.get(holder.owner)?.waiting.size ?? 0) > 0) holder.tooSlow()
    }
  }
}
