import { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'

/**
 * A WebSocket as the plain stream of bytes that a broker reads. MQTT packets may begin and end anywhere in a
 * frame [MQTT-6.0.0-2]; a TEXT frame ends the connection [MQTT-6.0.0-1]. Backpressure goes both ways.
 */
export class WebSocketStream extends Duplex {
  readonly #socket: WebSocket
  /** Told of every chunk that goes out. */
  onSent: ((chunk: Uint8Array) => void) | undefined

  constructor(socket: WebSocket) {
    super({ allowHalfOpen: false })
    this.#socket = socket
    socket.binaryType = 'nodebuffer'
    socket.on('message', (data, binary) => {
      if (!binary) {
        socket.close(1003, 'MQTT wants binary frames')
        this.destroy()
        return
      }
      if (Buffer.isBuffer(data) && !this.push(data)) socket.pause()
    })
    socket.on('close', () => {
      this.push(null)
      this.destroy()
    })
    // What the peer did wrong is told by `close`; without a listener it would end the process.
    socket.on('error', () => this.destroy())
  }

  override _read(): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.resume()
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
