import { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { PacedFrames } from './frame-turns.ts'

/** The part of ws that keeps a message that is not whole: private parts, pinned by a test. */
interface Receiver {
  readonly _bufferedBytes: number
  readonly _buffers: readonly Buffer[]
  readonly _fragments: readonly Buffer[]
}

/** A Buffer's own objects, whatever its length. */
const OBJECT_BYTES = 160
/** Unsent bytes above which a ping gets no pong: who pings and does not read must not fill the memory. */
const MAX_PONG_BUFFER_BYTES = 16 * 1024

/** Bytes of buffers as memory: several that are views of one chunk keep that chunk, whole. */
function memoryOf(buffers: readonly Buffer[]): number {
  let bytes = 0
  let last: ArrayBufferLike | undefined
  for (const { buffer } of buffers) {
    if (buffer !== last) bytes += buffer.byteLength
    last = buffer
  }
  return bytes + buffers.length * OBJECT_BYTES
}

/**
 * A WebSocket as the plain stream of bytes that a broker reads. MQTT packets may begin and end anywhere in a
 * frame [MQTT-6.0.0-2]; a TEXT frame ends the connection [MQTT-6.0.0-1]. Backpressure goes both ways.
 */
export class WebSocketStream extends Duplex {
  readonly #socket: WebSocket
  readonly #raw: Duplex
  /** Told of every chunk that goes out. */
  onSent: ((chunk: Uint8Array) => void) | undefined
  /** Told when `heldBytes` may have changed. */
  onHeld: (() => void) | undefined

  readonly #frames: PacedFrames | undefined

  /** `raw`: the socket below. `frames`: what stands between the two. */
  constructor(socket: WebSocket, raw: Duplex, frames?: PacedFrames) {
    super({ allowHalfOpen: false })
    this.#socket = socket
    this.#raw = raw
    this.#frames = frames
    if (frames !== undefined) frames.onTaken = () => this.onHeld?.()
    // After the listener of ws, so that what this chunk has made whole is delivered already.
    raw.on('data', () => this.onHeld?.())
    socket.on('ping', (data) => {
      if (this.rawUnsent <= MAX_PONG_BUFFER_BYTES) socket.pong(data, false, () => undefined)
    })
    socket.binaryType = 'nodebuffer'
    socket.on('message', (data, binary) => {
      if (!binary) {
        socket.close(1003, 'MQTT wants binary frames')
        this.destroy()
        return
      }
      // An empty message has nothing for MQTT.
      if (Buffer.isBuffer(data) && data.length > 0 && !this.push(data)) socket.pause()
    })
    socket.on('close', () => {
      this.push(null)
      // What came before it waits for its turn, DISCONNECT perhaps: Node destroys the stream behind it.
      if (this.readableLength === 0) this.destroy()
    })
    // What the peer did wrong is told by `close`; without a listener it would end the process.
    socket.on('error', () => this.destroy())
  }

  /** Bytes that wait in the socket below. */
  get rawUnsent(): number {
    return this.#raw.writableLength
  }

  /** The bytes that a message that is not whole keeps in memory. */
  get heldBytes(): number {
    const { _bufferedBytes, _buffers, _fragments } = (this.#socket as unknown as { _receiver: Receiver })
      ._receiver
    return _bufferedBytes === 0 && _fragments.length === 0 ? 0 : memoryOf(_buffers) + memoryOf(_fragments)
  }

  /** The bytes that have come and were not looked at. */
  get waitingBytes(): number {
    return this.#frames?.waitingBytes ?? 0
  }

  override _read(): void {
    // Also while it closes: the peer's close frame stands behind all that it has written.
    this.#socket.resume()
    this.#frames?.goOn()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#socket.readyState !== this.#socket.OPEN) {
      // Bytes for a peer that has gone are nobody's; an error here would be logged as the bridge's.
      done()
      return
    }
    this.onSent?.(chunk)
    this.#socket.send(chunk, { binary: true }, (error) => done(error ?? null))
  }

  /** The small writes of one packet go out as one frame. */
  override _writev(
    chunks: Array<{ chunk: Buffer; encoding: BufferEncoding }>,
    done: (error?: Error | null) => void,
  ): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'utf8', done)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.close(1000)
    done()
  }

  override _destroy(_error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.close(1001)
    // A peer that does not answer the close frame is cut off by ws (`closeTimeout`).
    done(null)
  }
}
