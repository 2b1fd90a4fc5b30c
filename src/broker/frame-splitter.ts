/** A whole packet at [start, end) of `bytes`, its variable header at `body`. Used again for the next packet. */
export interface Frame {
  readonly bytes: Buffer
  readonly start: number
  readonly body: number
  readonly end: number
}

/**
 * `parse` hands a packet on with its neighbours, `taken` does not, `hold` hands it on and keeps the rest of the
 * stream back until `resume`, `wait` keeps the packet itself back too, `stop` ends the stream.
 */
export type Verdict = 'parse' | 'taken' | 'hold' | 'wait' | 'stop'

const MAX_HEADER_BYTES = 5
const FIRST_CAPACITY = 256
const NOTHING: Buffer = Buffer.alloc(0)
/** The beginning of a packet that is read over: its headers, with the longest topic. */
const MAX_HEAD_BYTES = 66_000

/** A packet of so many bytes is collected without a question. */
const SMALL_BYTES = 4096

/** A packet that is read over: only its beginning is kept. */
interface Skipping {
  readonly pieces: Buffer[]
  keptBytes: number
  left: number
  readonly bytes: number
  /** Known when as much of it has come as is kept. */
  head: Buffer | undefined
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/**
 * Finds the bounds of MQTT packets in a stream of chunks (MQTT 3.1.1, section 2.2) and hands on whole packets
 * only. What is kept of a packet that has not arrived in full grows with what was received, never with what a
 * header promises, and in one piece: a peer that sends single bytes cannot make it cost more.
 */
export abstract class FrameSplitter {
  #partial: Buffer = NOTHING
  #have = 0
  /** Bytes of the packet that is being collected; 0 while its header is incomplete. */
  #need = 0
  #held: Buffer[] = []
  #holding = false
  /** The packet that is being collected has room. */
  #hasRoom = false
  #skipping: Skipping | undefined
  #stopped = false
  #busy = false
  // The header read last.
  #body = 0
  #end = 0
  readonly #frame: Writable<Frame> = { bytes: NOTHING, start: 0, body: 0, end: 0 }
  #wholePackets = 0
  /** The offset at which the packets begin that are not handed on yet. */
  #run = 0
  readonly #flush = () => {
    const { bytes, start } = this.#frame
    if (!this.#stopped) this.#pass(bytes, this.#run, start)
    this.#run = start
  }

  /** A header is known: a text when the packet must not even be received. */
  protected abstract announced(first: number, bytes: number): string | undefined
  /** Returns whether a packet that must not be received is read over instead of being the end of the stream. */
  protected abstract readsOver(first: number, bytes: number): boolean
  /** The beginning of a packet that is read over is here, as much of it as is kept. */
  protected abstract skipping(head: Buffer): void
  /** A piece that follows such a beginning; it is not kept. */
  protected abstract skippedPiece(piece: Buffer): void
  /** A packet was read over; `head` is its beginning. */
  protected abstract skipped(head: Buffer, bytes: number): void
  /** A whole packet. `flush` hands on those before it: who takes a packet calls it first. */
  protected abstract take(frame: Frame, flush: () => void): Verdict
  /** Whole packets that passed, one after the other. */
  protected abstract parse(packets: Buffer): void
  /** Returns whether a large packet that is not whole may be collected; who says no calls `resume` when it may. */
  protected abstract mayCollect(bytes: number): boolean
  /** The collected packet is whole, or given up. */
  protected abstract collected(): void
  /** The stream ends here. `begun`: what there is of a packet that must not be received. */
  abstract malformed(fault: string, begun?: Buffer): void

  /** The memory that is held: a part of a packet has room of its own, a chunk that waits is kept whole. */
  get heldBytes(): number {
    return this.#partial.length + this.#held.reduce((sum, chunk) => sum + chunk.length, 0)
  }

  /** Shows whether a packet has begun and is not whole. */
  get isPartial(): boolean {
    return this.#have > 0
  }

  /** Whole packets so far. */
  get wholePackets(): number {
    return this.#wholePackets
  }

  /** Returns whether the next chunk, of so many bytes, would be copied or read over as a whole, and nothing of it kept. */
  copies(bytes: number): boolean {
    if (this.#holding || this.#busy) return false
    if (this.#skipping !== undefined) return bytes <= this.#skipping.left
    return this.#hasRoom && this.#have + bytes <= this.#need
  }

  /** Takes the next chunk. Safe to be called from within `pass`. */
  feed(chunk: Buffer): void {
    if (this.#stopped) return
    if (this.#holding || this.#busy) {
      this.#held.push(chunk)
      return
    }
    this.#work(chunk)
    this.#workHeld()
  }

  /** Holds back what follows the packet that is being looked at, or the next chunk. */
  pause(): void {
    this.#holding = true
  }

  /** Goes on after `hold` and `pause`. */
  resume(): void {
    this.#holding = false
    if (!this.#busy) this.#workHeld()
  }

  stop(): void {
    this.#stopped = true
    this.#held = []
    this.#partial = NOTHING
    this.#leaveRoom()
  }

  #workHeld(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) this.#work(next)
  }

  #next(): Buffer | undefined {
    return this.#holding || this.#stopped ? undefined : this.#held.shift()
  }

  #work(chunk: Buffer): void {
    this.#busy = true
    try {
      this.#walk(chunk, this.#skipping ? this.#skip(chunk, 0) : this.#have > 0 ? this.#complete(chunk) : 0)
    } finally {
      this.#busy = false
      // No chunk stays in memory for its last packet.
      this.#frame.bytes = NOTHING
    }
  }

  /** Adds to the collected packet; returns how much of the chunk that took. */
  #complete(chunk: Buffer): number {
    let at = 0
    while (this.#need === 0) {
      if (at === chunk.length) return at
      this.#append(chunk, at, ++at)
      const header = this.#readHeader(this.#partial, 0, this.#have)
      if (
        header === 'bad' ||
        (header === 'known' && !this.#announce(this.#partial.subarray(0, this.#have), 0))
      )
        return chunk.length
      if (this.#skipping) {
        const begun = this.#partial.subarray(0, this.#have)
        this.#partial = NOTHING
        this.#have = 0
        this.#skip(begun, 0)
        return this.#skip(chunk, at)
      }
      if (header === 'known') this.#need = this.#end
    }
    if (!this.#mayCollect()) {
      this.#held.unshift(chunk.subarray(at))
      return chunk.length
    }
    const to = Math.min(chunk.length, at + this.#need - this.#have)
    this.#append(chunk, at, to)
    let held = 0
    if (this.#have === this.#need) {
      const packet = this.#partial.subarray(0, this.#need)
      this.#partial = NOTHING
      this.#have = 0
      this.#need = 0
      this.#leaveRoom()
      const heldBefore = this.#held.length
      this.#walk(packet, 0)
      // After the packet, where that waits itself.
      held = this.#held.length - heldBefore
    }
    if (this.#holding && to < chunk.length) {
      this.#held.splice(held, 0, chunk.subarray(to))
      return chunk.length
    }
    return to
  }

  /** False: what is here of the packet waits, and everything behind it. */
  #mayCollect(): boolean {
    if (this.#need <= SMALL_BYTES || this.#hasRoom) return true
    this.#hasRoom = this.mayCollect(this.#need)
    if (!this.#hasRoom) this.#holding = true
    return this.#hasRoom
  }

  #leaveRoom(): void {
    if (!this.#hasRoom) return
    this.#hasRoom = false
    this.collected()
  }

  #append(chunk: Buffer, from: number, to: number): void {
    const size = this.#have + to - from
    if (size > this.#partial.length) {
      const room = Math.max(size, Math.min(this.#partial.length * 2, this.#need || size), FIRST_CAPACITY)
      // Not of Node's pool, where a few bytes would keep a whole slab of it.
      const larger = Buffer.allocUnsafeSlow(room)
      this.#partial.copy(larger, 0, 0, this.#have)
      this.#partial = larger
    }
    chunk.copy(this.#partial, this.#have, from, to)
    this.#have = size
  }

  #walk(chunk: Buffer, from: number): void {
    const frame = this.#frame
    frame.bytes = chunk
    this.#run = from
    let at = from
    while (at < chunk.length && !this.#stopped) {
      const header = this.#readHeader(chunk, at, chunk.length)
      if (header === 'bad') break
      if (header === 'known' && !this.#announce(chunk, at)) break
      if (this.#skipping) {
        this.#pass(chunk, this.#run, at)
        at = this.#skip(chunk, at)
        this.#run = at
        // What the packet before asked for: to hold back what follows.
        if (!this.#holding) continue
        if (at < chunk.length) this.#held.unshift(chunk.subarray(at))
        break
      }
      if (header === 'short' || this.#end > chunk.length) {
        this.#need = header === 'short' ? 0 : this.#end - at
        if (this.#mayCollect()) {
          this.#append(chunk, at, chunk.length)
        } else {
          this.#need = 0
          this.#held.unshift(chunk.subarray(at))
        }
        break
      }
      this.#wholePackets++
      frame.start = at
      frame.body = this.#body
      frame.end = this.#end
      const verdict = this.take(frame, this.#flush)
      if (verdict === 'stop') break
      if (verdict === 'wait') {
        this.#wholePackets--
        this.#holding = true
        this.#held.unshift(chunk.subarray(at))
        break
      }
      at = frame.end
      if (verdict === 'taken') this.#run = at
      if (verdict === 'hold') this.#holding = true
      if (this.#holding) {
        if (at < chunk.length) this.#held.unshift(chunk.subarray(at))
        break
      }
    }
    // What came before a violation in the same chunk is dropped with the connection.
    if (!this.#stopped) this.#pass(chunk, this.#run, at)
  }

  #pass(chunk: Buffer, from: number, to: number): void {
    if (from < to) this.parse(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to))
  }

  /** Takes what belongs to the packet that is read over; returns where the next one begins. */
  #skip(chunk: Buffer, from: number): number {
    const skipping = this.#skipping as Skipping
    const taken = Math.min(skipping.left, chunk.length - from)
    const kept = Math.min(taken, MAX_HEAD_BYTES - skipping.keptBytes)
    if (kept > 0) skipping.pieces.push(Buffer.from(chunk.subarray(from, from + kept)))
    skipping.keptBytes += kept
    skipping.left -= taken
    if (skipping.left > 0 && skipping.keptBytes < MAX_HEAD_BYTES) return from + taken
    const head = this.#headOf(skipping)
    if (kept < taken) this.skippedPiece(chunk.subarray(from + kept, from + taken))
    if (skipping.left === 0) {
      this.#skipping = undefined
      this.#wholePackets++
      this.skipped(head, skipping.bytes)
    }
    return from + taken
  }

  #headOf(skipping: Skipping): Buffer {
    if (skipping.head !== undefined) return skipping.head
    const head = Buffer.concat(skipping.pieces)
    skipping.head = head
    skipping.pieces.length = 0
    this.skipping(head)
    return head
  }

  #announce(bytes: Buffer, at: number): boolean {
    const size = this.#end - at
    const fault = this.announced(bytes[at] as number, size)
    if (fault !== undefined && this.readsOver(bytes[at] as number, size)) {
      this.#skipping = { pieces: [], keptBytes: 0, left: size, bytes: size, head: undefined }
      return true
    }
    if (fault !== undefined) this.malformed(fault, bytes.subarray(at))
    return fault === undefined
  }

  #readHeader(bytes: Buffer, at: number, limit: number): 'known' | 'short' | 'bad' {
    let length = 0
    for (let i = 1; i < MAX_HEADER_BYTES; i++) {
      if (at + i >= limit) return 'short'
      const byte = bytes[at + i] as number
      length += (byte & 0x7f) * 128 ** (i - 1)
      if (byte < 0x80) {
        this.#body = at + i + 1
        this.#end = this.#body + length
        return 'known'
      }
    }
    this.malformed('a length of more than four bytes')
    return 'bad'
  }
}
