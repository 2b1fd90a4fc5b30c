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
const MAX_HEADER_BYTES = 14
const EMPTY = Buffer.alloc(0)

/** The header of a frame. */
interface Header {
  readonly first: number
  /** Its bytes. */
  readonly length: number
  /** The bytes of the payload behind it. */
  readonly payload: number
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
  #header: Buffer = EMPTY
  /** Bytes of the current frame that are still to come. */
  #left = 0
  /** The mask of the frame that is being cut. */
  #cutting: Buffer | undefined
  /** Bytes of it that do not fill the mask. */
  #rest: Buffer = EMPTY
  /** Bytes of the message in ws so far. */
  #total = 0
  /** The message has ended for ws, and goes on here. */
  #isEnded = false
  #isText = false
  /** A frame came that no client may send: ws ends the connection. */
  #isBroken = false

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
    this.#pieceBytes = Math.min(MAX_PIECE_BYTES, maxBytes - (maxBytes % MASK_BYTES))
  }

  cut(chunk: Buffer): Buffer[] {
    if (this.#isBroken) return [chunk]
    const out: Buffer[] = []
    // What passes is handed on in one piece, as it came: from here on.
    let passed = 0
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const end = Math.min(chunk.length, at + this.#left)
        this.#left -= end - at
        if (this.#cutting !== undefined) {
          this.#payload(chunk.subarray(at, end), this.#cutting, out)
          passed = end
        }
        at = end
        continue
      }
      const held = this.#header.length
      const rest = chunk.subarray(at, at + MAX_HEADER_BYTES - held)
      const bytes = held === 0 ? rest : Buffer.concat([this.#header, rest])
      const header = headerIn(bytes)
      if (header === undefined) {
        pass(chunk, passed, at, out)
        this.#header = Buffer.from(bytes)
        return out
      }
      const start = at
      at += header.length - held
      this.#header = EMPTY
      if (this.#isCut(header)) {
        pass(chunk, passed, start, out)
        this.#beginCut(header, out)
        passed = at
      } else if (held > 0) {
        out.push(bytes.subarray(0, header.length))
        passed = at
      }
      // Behind a frame that no client may send there are no frames: ws ends the connection at it.
      if (this.#isBroken) break
    }
    pass(chunk, passed, chunk.length, out)
    return out
  }

  /** Takes note of a frame, and returns whether it is to be cut. */
  #isCut({ first, payload, mask }: Header): boolean {
    this.#left = payload
    this.#cutting = undefined
    const opcode = first & 0x0f
    this.#isBroken = mask === undefined || (first & RESERVED) !== 0
    if (this.#isBroken) return false
    if (opcode === TEXT || opcode === BINARY) {
      this.#isText = opcode === TEXT
      this.#isEnded = false
      this.#total = 0
    }
    if (opcode >= FIRST_CONTROL || this.#isText) return false
    if (this.#isEnded || this.#total + payload > this.#maxBytes) return true
    this.#total += payload
    return false
  }

  #beginCut({ first, mask }: Header, out: Buffer[]): void {
    const isContinued = (first & 0x0f) === CONTINUATION && !this.#isEnded
    if (isContinued) out.push(Buffer.from([FINAL, MASKED, ...(mask as Buffer)]))
    this.#isEnded = (first & FINAL) === 0
    // Its own bytes: those of the chunk are unmasked in place.
    this.#cutting = Buffer.from(mask as Buffer)
  }

  #payload(part: Buffer, mask: Buffer, out: Buffer[]): void {
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

/** Hands on what passes as it came. */
function pass(chunk: Buffer, from: number, to: number, out: Buffer[]): void {
  if (to > from) out.push(chunk.subarray(from, to))
}

/** Reads a header, or returns undefined while it is incomplete. */
function headerIn(bytes: Buffer): Header | undefined {
  if (bytes.length < 2) return undefined
  const [first = 0, second = 0] = bytes
  const short = second & 0x7f
  const maskAt = short === 127 ? 10 : short === 126 ? 4 : 2
  const end = maskAt + ((second & MASKED) === 0 ? 0 : MASK_BYTES)
  if (bytes.length < end) return undefined
  const payload =
    short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short
  const mask = end > maskAt ? bytes.subarray(maskAt, end) : undefined
  return { length: end, first, payload, mask }
}

/** Lets a WebSocket deliver messages of more than `maxBytes` in pieces. */
export function cutLargeMessages(socket: WebSocket, maxBytes: number): void {
  const { _receiver: receiver } = socket as unknown as { readonly _receiver: Receiver }
  const frames = new LargeFrames(maxBytes)
  const write = receiver.write.bind(receiver)
  receiver.write = (chunk) => frames.cut(chunk).reduce((_, piece) => write(piece), true)
}
