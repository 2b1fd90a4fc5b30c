import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Log } from '../bridge/ports.ts'
import { type WebSocketGate, webSocketGate } from '../http/websocket.ts'
import type { Clock } from '../kernel/clock.ts'

/** The part of the door for devices that come over WebSocket: MQTT in binary frames, at the same path as at a bridge. */

/** A request of HTTP begins with a capital letter; a connection of MQTT with 0x10. */
const LETTERS = { first: 0x41, last: 0x5a }
const MAX_CONNECT_BYTES = 65_536
const OTHER =
  'limb-bridge device check takes MQTT, and MQTT over WebSocket at /mqtt; it does not check limbs of the HTTP API'
/** The longest text that is told of one request. */
const MAX_TOLD = 200

export interface WebDoorEvents {
  /** A device has come over WebSocket; `socket` is the connection below. */
  came(stream: Duplex, socket: Socket): void
  /** One was turned away, with the answer that a bridge gives. */
  refused(why: string): void
}

export class WebDoor {
  readonly #gate: WebSocketGate
  readonly #server = createServer((request, response) => {
    this.#events.refused(`it asked ${request.method} ${request.url?.slice(0, MAX_TOLD)}: ${OTHER}`)
    response.writeHead(404, { 'content-type': 'text/plain', connection: 'close' }).end(`${OTHER}\n`)
  })
  readonly #events: WebDoorEvents

  constructor(clock: Clock, events: WebDoorEvents) {
    this.#events = events
    const refused: Log['info'] = (_fields, text) => events.refused(text)
    let raw: Socket | undefined
    this.#gate = webSocketGate({
      attach: (stream) => raw && events.came(stream, raw),
      allowedOrigins: ['*'],
      maxConnectBytes: MAX_CONNECT_BYTES,
      log: { debug() {}, info: refused, warn: refused, error: refused },
      clock,
    })
    this.#server.on('upgrade', (request, socket, head) => {
      // The handshake is answered in this turn.
      raw = request.socket
      this.#gate.upgrade(request, socket, head)
      raw = undefined
    })
  }

  /** Returns whether these first bytes are HTTP. */
  static takes(first: Buffer): boolean {
    const [letter = 0] = first
    return letter >= LETTERS.first && letter <= LETTERS.last
  }

  /** Takes over a connection whose first bytes are HTTP. */
  take(socket: Socket): void {
    this.#server.emit('connection', socket)
  }

  close(): void {
    this.#gate.close()
    this.#server.close()
  }
}
