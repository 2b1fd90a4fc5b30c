import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Clock } from '../kernel/clock.ts'
import { TurnTime } from '../kernel/turn-time.ts'

/** The time of one turn of the event loop in which frames of all WebSockets are taken apart. */
const FRAMES_MS = 5
/** The bytes that are taken apart in one go: some 340 frames without a payload. */
const PIECE_BYTES = 2048

/** The listener by which ws hears its socket: a private part, pinned by a test. */
const LISTENER = 'socketOnData'

type Listener = (this: Duplex, bytes: Buffer) => void

/**
 * Frames of WebSockets get their turns. ws takes a chunk apart in one go, and 64 KiB may hold ten thousand pings or
 * empty messages: from a hundred connections that would be a turn of seconds. What has not had its turn waits, one chunk
 * of a connection, and the connection is not read.
 */
export class FrameTurns {
  readonly #time: TurnTime

  constructor(clock: Clock) {
    this.#time = new TurnTime(clock, FRAMES_MS)
  }

  /** Stands between a WebSocket and its socket, of which nothing was read yet. */
  pace(socket: WebSocket, raw: Duplex): PacedFrames {
    return new PacedFrames(this.#time, socket, raw)
  }
}

export class PacedFrames {
  /** Called when bytes that had waited were taken apart. */
  onTaken: (() => void) | undefined
  readonly #time: TurnTime
  readonly #socket: WebSocket
  readonly #raw: Duplex
  readonly #listener: Listener
  /** The rest of the chunks that have come, the oldest first. */
  readonly #waiting: Buffer[] = []
  #waitingBytes = 0
  /** Takes it out of the line; undefined: it is in none. */
  #leave: (() => void) | undefined

  constructor(time: TurnTime, socket: WebSocket, raw: Duplex) {
    this.#time = time
    this.#socket = socket
    this.#raw = raw
    const listeners = raw.listeners('data') as Listener[]
    const listener = listeners.find(({ name }) => name === LISTENER)
    if (listener === undefined) throw new Error('ws does not listen to its socket as it did')
    this.#listener = listener
    raw.off('data', listener)
    raw.on('data', (chunk: Buffer) => this.#take(chunk))
    raw.prependOnceListener('close', () => this.#forget())
  }

  /** The bytes that wait to be taken apart. */
  get waitingBytes(): number {
    return this.#waitingBytes
  }

  /** Goes on with what waits: its reader takes more. */
  goOn(): void {
    if (this.#waitingBytes === 0) return
    // ws has had it read again.
    this.#raw.pause()
    if (this.#leave === undefined && !this.#socket.isPaused) this.#wait()
  }

  #take(chunk: Buffer): void {
    this.#waiting.push(chunk)
    this.#waitingBytes += chunk.length
    while (this.#waitingBytes > 0 && this.#leave === undefined && !this.#socket.isPaused) {
      if (this.#time.isLeft) this.#takeApart()
      else this.#wait()
    }
    if (this.#waitingBytes > 0) this.#raw.pause()
  }

  #wait(): void {
    this.#leave = this.#time.wait(() => {
      this.#leave = undefined
      this.#takeApart()
      this.onTaken?.()
      // To the end of the line: the others come first.
      if (this.#waitingBytes > 0) this.goOn()
      else if (!this.#socket.isPaused) this.#raw.resume()
    })
  }

  #takeApart(): void {
    const chunk = this.#waiting.shift()
    if (chunk === undefined) return
    const piece = chunk.subarray(0, PIECE_BYTES)
    if (chunk.length > piece.length) this.#waiting.unshift(chunk.subarray(piece.length))
    this.#waitingBytes -= piece.length
    this.#listener.call(this.#raw, piece)
  }

  /** The connection is gone. What waits of it is given up: else one moment could bring hundreds of them. */
  #forget(): void {
    // ws takes apart what its socket still has; behind what is given up that would be no frames.
    if (this.#waitingBytes > 0) this.#raw.read()
    this.#leave?.()
    this.#leave = undefined
    this.#waiting.length = 0
    this.#waitingBytes = 0
  }
}
