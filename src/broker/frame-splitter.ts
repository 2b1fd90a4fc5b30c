/**
 * Finds the bounds of MQTT packets in a stream of chunks (MQTT 3.1.1, section 2.2) and hands on whole packets
 * only. What is kept of a packet that has not arrived in full grows with what was received, never with what a
 * header promises, and in one piece: a peer that sends single bytes cannot make it cost more.
 */
export interface FrameSink {
  /** A header is known; a text when the packet must not even be received. */
  announced(first: number, bytes: number): string | undefined
  /**
   * A whole packet at [start, end) with its variable header at `body`.
   * `pass` hands it on with its neighbours, `offer` asks `take` once all before it was handed on, `hold` hands
   * it on and keeps the rest of the stream back until `resume`, `stop` ends the stream.
   */
  frame(chunk: Buffer, start: number, body: number, end: number): 'pass' | 'offer' | 'hold' | 'stop'
  /** True: dealt with, it is not handed on. */
  take(chunk: Buffer, end: number): boolean
  /** Whole packets that passed, one after the other. */
  pass(packets: Buffer): void
  malformed(fault: string): void
}

const MAX_HEADER_BYTES = 5
const FIRST_CAPACITY = 256

export class FrameSplitter {
  readonly #sink: FrameSink
  #partial = Buffer.alloc(0)
  #have = 0
  /** Bytes of the packet that is being collected; 0 while its header is incomplete. */
  #need = 0
  #held: Buffer[] = []
  #holding = false
  #stopped = false
  #busy = false
  // The header read last.
  #body = 0
  #end = 0

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  get heldBytes(): number {
    return this.#have + this.#held.reduce((sum, chunk) => sum + chunk.length, 0)
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
    this.#partial = Buffer.alloc(0)
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
      this.#walk(chunk, this.#have > 0 ? this.#complete(chunk) : 0)
    } finally {
      this.#busy = false
    }
  }

  /** Adds to the collected packet; returns how much of the chunk that took. */
  #complete(chunk: Buffer): number {
    let at = 0
    while (this.#need === 0) {
      if (at === chunk.length) return at
      this.#append(chunk, at, ++at)
      const header = this.#readHeader(this.#partial, 0, this.#have)
      if (header === 'bad' || (header === 'known' && !this.#announce(this.#partial, 0))) return chunk.length
      if (header === 'known') this.#need = this.#end
    }
    const to = Math.min(chunk.length, at + this.#need - this.#have)
    this.#append(chunk, at, to)
    if (this.#have === this.#need) {
      const packet = this.#partial.subarray(0, this.#need)
      this.#partial = Buffer.alloc(0)
      this.#have = 0
      this.#need = 0
      this.#walk(packet, 0)
    }
    if (this.#holding && to < chunk.length) {
      this.#held.unshift(chunk.subarray(to))
      return chunk.length
    }
    return to
  }

  #append(chunk: Buffer, from: number, to: number): void {
    const size = this.#have + to - from
    if (size > this.#partial.length) {
      const room = Math.max(size, Math.min(this.#partial.length * 2, this.#need || size), FIRST_CAPACITY)
      const larger = Buffer.allocUnsafe(room)
      this.#partial.copy(larger, 0, 0, this.#have)
      this.#partial = larger
    }
    chunk.copy(this.#partial, this.#have, from, to)
    this.#have = size
  }

  #walk(chunk: Buffer, from: number): void {
    let run = from
    let at = from
    while (at < chunk.length && !this.#stopped) {
      const header = this.#readHeader(chunk, at, chunk.length)
      if (header === 'bad') break
      if (header === 'known' && !this.#announce(chunk, at)) break
      if (header === 'short' || this.#end > chunk.length) {
        this.#need = header === 'short' ? 0 : this.#end - at
        this.#append(chunk, at, chunk.length)
        break
      }
      const end = this.#end
      const verdict = this.#sink.frame(chunk, at, this.#body, end)
      if (verdict === 'stop') break
      if (verdict === 'offer') {
        this.#pass(chunk, run, at)
        run = this.#stopped || this.#sink.take(chunk, end) ? end : at
      }
      at = end
      if (verdict === 'hold') this.#holding = true
      if (this.#holding) {
        if (at < chunk.length) this.#held.unshift(chunk.subarray(at))
        break
      }
    }
    // What came before a violation in the same chunk is dropped with the connection.
    if (!this.#stopped) this.#pass(chunk, run, at)
  }

  #pass(chunk: Buffer, from: number, to: number): void {
    if (from < to) this.#sink.pass(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to))
  }

  #announce(bytes: Buffer, at: number): boolean {
    const fault = this.#sink.announced(bytes[at] as number, this.#end - at)
    if (fault !== undefined) this.#sink.malformed(fault)
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
    this.#sink.malformed('a length of more than four bytes')
    return 'bad'
  }
}
