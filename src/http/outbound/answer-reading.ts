import type { ClientRequest } from 'node:http'
import type { Socket } from 'node:net'
import { LIMITS } from '../../protocol/limits.ts'
import type { PacketTurns } from '../packet-turns.ts'

/**
 * Reads what a server answers in turns, and no more of it than an answer has. The server is the limb's: it may send its
 * answer in a million chunks of a byte, or interim answers without end, and each of them costs more than its bytes.
 */

/** The code of the error of a server that sends more than an answer has. */
export const TOO_MUCH = 'TOO_MUCH'
/** Interim answers (1xx) before the answer: a server says `103` once. */
const MAX_INTERIM = 8
/** The bytes on the line: an answer of the largest size, and as much again for headers and the heads of chunks. */
const MAX_LINE_BYTES = 2 * LIMITS.resultBytes
/** The part of a packet that is parsed in one piece: some hundreds of chunks of a byte. */
const PIECE_BYTES = 4096

/** Puts turns and bounds before the parser of a request that was just made. */
export function readInTurns(
  request: ClientRequest,
  turns: PacketTurns,
  failed: (error: Error) => void,
): void {
  let interim = 0
  const end = () => {
    failed(Object.assign(new Error('it sends more than an answer has'), { code: TOO_MUCH }))
    request.destroy()
  }
  request.on('information', () => {
    interim++
    if (interim > MAX_INTERIM) end()
  })
  request.once('socket', (socket) => new PiecewiseReading(socket, turns, end).begin())
}

class PiecewiseReading {
  readonly #socket: Socket
  readonly #turns: PacketTurns
  readonly #tooMuch: () => void
  #parsers: readonly ((packet: Buffer) => void)[] = []
  #bytes = 0

  constructor(socket: Socket, turns: PacketTurns, tooMuch: () => void) {
    this.#socket = socket
    this.#turns = turns
    this.#tooMuch = tooMuch
  }

  /** Takes the place of Node's own listener, which is there when a request has its socket. */
  begin(): void {
    this.#parsers = this.#socket.listeners('data') as ((packet: Buffer) => void)[]
    this.#socket.removeAllListeners('data')
    this.#socket.on('data', (packet: Buffer) => this.#take(packet))
  }

  readonly #parse = (piece: Buffer) => {
    this.#bytes += piece.length
    if (this.#bytes > MAX_LINE_BYTES) this.#tooMuch()
    else for (const parser of this.#parsers) parser.call(this.#socket, piece)
  }

  #take(packet: Buffer): void {
    if (this.#turns.waits(this.#socket)) {
      this.#turns.take(this.#socket, packet, this.#parse)
      return
    }
    for (let at = 0; at < packet.length && !this.#socket.destroyed; at += PIECE_BYTES) {
      const isTaken = this.#turns.take(this.#socket, packet.subarray(at, at + PIECE_BYTES), this.#parse)
      if (isTaken) continue
      // What is behind the piece that waits comes again when it was parsed.
      const rest = packet.subarray(at + PIECE_BYTES)
      if (rest.length > 0) this.#socket.unshift(rest)
      return
    }
  }
}
