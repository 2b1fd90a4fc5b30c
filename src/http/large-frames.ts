import type { WebSocket } from 'ws'

/** The part of ws that takes the bytes of a peer: a private part, pinned by a test. */
interface Receiver {
  write(chunk: Buffer): boolean
}

const CONTINUATION = 0
const TEXT = 1
const BINARY = 2
const FIRST_CONTROL = 8
const FINAL = 0x80
const RESERVED = 0x70
const MASKED = 0x80
/** The most bytes of a frame that is made here; a multiple of the mask's four bytes. */
const MAX_PIECE_BYTES = 32_768
const MASK_BYTES = 4

/** The header of a frame. */
interface Header {
  readonly bytes: Buffer
  readonly first: number
  readonly length: number
  readonly mask: Buffer | undefined
}

/**
 * Cuts messages that are larger than ws takes into smaller ones, before ws sees them. To MQTT a message of WebSocket is
 * nothing but bytes of a stream [MQTT-6.0.0-2]: what is too large there the broker reads over, where ws would end the
 * connection of a client that sends it again for ever. Everything else passes as it came.
 */
class LargeFrames {
  readonly #maxBytes: number
  readonly #pieceBytes: number
  #header: Buffer = Buffer.alloc(0)
  /** Bytes of the current frame that are still to come. */
  #left = 0
  /** The mask of the frame that is being cut. */
  #cutting: Buffer | undefined
  /** Bytes of it that do not fill the mask. */
  #rest: Buffer = Buffer.alloc(0)
  /** Bytes of the message in ws so far. */
  #total = 0
  /** The message has ended for ws, and goes on here. */
  #isEnded = false
  #isText = false

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
    this.#pieceBytes = Math.min(MAX_PIECE_BYTES, maxBytes - (maxBytes % MASK_BYTES))
  }

  cut(chunk: Buffer): Buffer[] {
    const out: Buffer[] = []
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const part = chunk.subarray(at, at + this.#left)
        at += part.length
        this.#left -= part.length
        this.#payload(part, out)
        continue
      }
      const before = this.#header.length
      this.#header = Buffer.concat([this.#header, chunk.subarray(at, at + 14 - before)])
      const header = headerIn(this.#header)
      at = header === undefined ? chunk.length : at + header.bytes.length - before
      if (header !== undefined) this.#begin(header, out)
    }
    return out
  }

  #begin({ bytes, first, length, mask }: Header, out: Buffer[]): void {
    this.#header = Buffer.alloc(0)
    this.#left = length
    this.#cutting = undefined
    const opcode = first & 0x0f
    const isFinal = (first & FINAL) !== 0
    if (opcode === TEXT || opcode === BINARY) {
      this.#isText = opcode === TEXT
      this.#isEnded = false
      this.#total = 0
    }
    const isData = opcode < FIRST_CONTROL && !this.#isText && mask !== undefined && (first & RESERVED) === 0
    if (isData && (this.#isEnded || this.#total + length > this.#maxBytes)) {
      if (opcode === CONTINUATION && !this.#isEnded) out.push(Buffer.from([FINAL, MASKED, ...mask]))
      this.#isEnded = !isFinal
      this.#cutting = mask
      return
    }
    if (isData) this.#total += length
    out.push(bytes)
  }

  #payload(part: Buffer, out: Buffer[]): void {
    const mask = this.#cutting
    if (mask === undefined) {
      out.push(part)
      return
    }
    const all = this.#rest.length === 0 ? part : Buffer.concat([this.#rest, part])
    const end = this.#left === 0 ? all.length : all.length - (all.length % MASK_BYTES)
    for (let at = 0; at < end; at += this.#pieceBytes) {
      const piece = all.subarray(at, Math.min(at + this.#pieceBytes, end))
      out.push(
        Buffer.from([FINAL | BINARY, MASKED | 126, piece.length >> 8, piece.length & 0xff, ...mask]),
        piece,
      )
    }
    this.#rest = Buffer.from(all.subarray(end))
  }
}

/** Reads a header, or returns undefined while it is incomplete. */
function headerIn(bytes: Buffer): Header | undefined {
  if (bytes.length < 2) return undefined
  const [first = 0, second = 0] = bytes
  const short = second & 0x7f
  const maskAt = short === 127 ? 10 : short === 126 ? 4 : 2
  const end = maskAt + ((second & MASKED) === 0 ? 0 : MASK_BYTES)
  if (bytes.length < end) return undefined
  const length =
    short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short
  const mask = end > maskAt ? bytes.subarray(maskAt, end) : undefined
  return { bytes: bytes.subarray(0, end), first, length, mask }
}

/** Lets a WebSocket deliver messages of more than `maxBytes` in pieces. */
export function cutLargeMessages(socket: WebSocket, maxBytes: number): void {
  const { _receiver: receiver } = socket as unknown as { readonly _receiver: Receiver }
  const frames = new LargeFrames(maxBytes)
  const write = receiver.write.bind(receiver)
  receiver.write = (chunk) => frames.cut(chunk).reduce((_, piece) => write(piece), true)
}
