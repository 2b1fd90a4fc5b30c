import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { type WebSocket, WebSocketServer } from 'ws'
import { PacedLog } from '../bridge/live/paced-log.ts'
import type { Log } from '../bridge/ports.ts'
import { addressGroup } from '../kernel/address.ts'
import type { Clock } from '../kernel/clock.ts'
import { certificateFault, showsCertificate } from '../kernel/peer-certificate.ts'
import { clientAddressOf } from '../kernel/proxy-door.ts'
import { FrameTurns } from './frame-turns.ts'
import { cutLargeMessages } from './large-frames.ts'
import { originAllowed } from './origins.ts'
import { ConnackWatch, guardSignIn } from './sign-in-budget.ts'
import { WebSocketStream } from './websocket-stream.ts'

/** MQTT over WebSocket: the upgrade at `/mqtt`, and nothing else. */

export interface WebSocketPeer {
  /** The IP address without port. */
  readonly address: string
  /** Common name of a client certificate that was verified. */
  readonly certificateName?: string | undefined
}

/** Takes over a connection, as a broker does with a TCP socket. Never throws. */
export type Attach = (stream: Duplex, peer: WebSocketPeer) => void

export interface WebSocketOptions {
  readonly attach: Attach
  /** Origins that may connect; `*` for any. No `Origin`, or that of an address we are reached at, always may. */
  readonly allowedOrigins: readonly string[]
  /** Bytes before the broker has let the peer in. */
  readonly maxConnectBytes: number
  readonly tls?: { readonly requiresCertificate: boolean } | undefined
  readonly log: Log
  readonly clock: Clock
}

export interface WebSocketGate {
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** Says goodbye to every peer, and ends within half a second those who do not answer. */
  close(): void
}

/** The path is the contract's; a query is nobody's business. */
export const PATH = '/mqtt'
/** `mqtt` by the standard [MQTT-6.0.0-3]; `mqttv3.1` is what older clients still say. */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1']
const GOODBYE_MS = 500
/** A peer that does not answer the close frame is cut off. */
const CLOSE_TIMEOUT_MS = 2000
/** The bytes of a message that ws keeps; a larger one comes in pieces, so that the broker bounds what is not whole. */
const MAX_MESSAGE_BYTES = 65_536
/** Frames of one message, and pieces of one frame: each is an object, however few bytes it has. */
const MAX_FRAGMENTS = 512
const MAX_CHUNKS = 512
/** A frame's own header, and the close frame. */
const FRAME_OVERHEAD_BYTES = 256
/** Lines about refused handshakes: any web page can cause them. */
const PACE = { quietMs: 10_000, lines: 5, maxKeys: 1000, maxLines: 50 } as const
/** The characters that are shown of a header that the peer chose. */
const SHOWN_CHARS = 200

function refuse(socket: Duplex, status: string, text: string): void {
  const body = `${text}\n`
  socket.end(
    `HTTP/1.1 ${status}\r\nconnection: close\r\nsec-websocket-version: 13\r\ncontent-type: text/plain\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    () => socket.destroy(),
  )
}

function offered(request: IncomingMessage): string | undefined {
  const names = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
  return SUBPROTOCOLS.find((name) => names.includes(name))
}

/** Returns whether a certificate was shown that is believed, and has not ended. */
function authorized({ socket }: IncomingMessage, clock: Clock): boolean {
  if (!(socket instanceof TLSSocket) || !showsCertificate(socket)) return false
  return certificateFault(socket, clock.wallMs()) === undefined
}

function nameShownBy(request: IncomingMessage, clock: Clock): string | undefined {
  const { socket } = request
  if (!(socket instanceof TLSSocket) || !authorized(request, clock)) return undefined
  const name: unknown = socket.getPeerCertificate().subject?.CN
  return typeof name === 'string' ? name : ''
}

/** The status of an answer, and the sentence that goes with it. */
type Objection = readonly [status: string, text: string]

/** Says why this upgrade is refused, or undefined. */
function objection(request: IncomingMessage, options: WebSocketOptions): Objection | undefined {
  const path = (request.url ?? '').split('?', 1)[0]
  if (path !== PATH) return ['404 Not Found', `MQTT over WebSocket is at ${PATH}`]
  const { origin, host } = request.headers
  if (!originAllowed(origin, host, options.allowedOrigins)) {
    return ['403 Forbidden', 'this origin may not connect; add it to http.allowedOrigins']
  }
  if (options.tls?.requiresCertificate && !authorized(request, options.clock)) {
    return ['403 Forbidden', 'show a client certificate of the authority in tls.caFile']
  }
  if (!offered(request)) return ['400 Bad Request', 'offer the WebSocket subprotocol "mqtt"']
  return undefined
}

/** Answers a handshake with an objection, and says so in the log at a bearable pace. */
function refuser(lines: PacedLog) {
  return (request: IncomingMessage, socket: Duplex, [status, text]: Objection) => {
    refuse(socket, status, text)
    const address = clientAddressOf(request.socket)
    const origin = request.headers.origin?.slice(0, SHOWN_CHARS)
    lines.info(
      `${status} ${addressGroup(address)}`,
      { address, ...(origin !== undefined && { origin }) },
      `websocket: refused with ${status}: ${text}`,
    )
  }
}

export function webSocketGate(options: WebSocketOptions): WebSocketGate {
  const { clock } = options
  const serverOptions = {
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    maxFragments: MAX_FRAGMENTS,
    maxBufferedChunks: MAX_CHUNKS,
    perMessageDeflate: false,
    // WebSocketStream answers pings, as far as they are read.
    autoPong: false,
    closeTimeout: CLOSE_TIMEOUT_MS,
    // A subprotocol that we do not speak must not be the one that is picked because it was offered first.
    handleProtocols: (names: Set<string>) => SUBPROTOCOLS.find((name) => names.has(name)) ?? false,
    // MQTT bytes are binary; text never gets as far as being looked at.
    skipUTF8Validation: true,
  }
  // A constant of its own: the types do not know closeTimeout yet.
  const server = new WebSocketServer(serverOptions)
  const lines = new PacedLog(options, PACE)
  const turns = new FrameTurns(clock)
  const refuseHandshake = refuser(lines)
  // Headers that are no handshake's. With a listener, the answer is ours.
  server.on('wsClientError', ({ message }, socket, request) =>
    refuseHandshake(request, socket, ['400 Bad Request', `${message}; use a WebSocket client of version 13`]),
  )

  const open = (socket: WebSocket, request: IncomingMessage) => {
    const address = clientAddressOf(request.socket)
    cutLargeMessages(socket, MAX_MESSAGE_BYTES)
    const stream = new WebSocketStream(socket, request.socket, turns.pace(socket, request.socket))
    // The budget is counted on the raw socket: a frame that is not whole yet is memory too.
    const admitted = guardSignIn(request.socket, options.maxConnectBytes + FRAME_OVERHEAD_BYTES, () => {
      lines.info(
        `sign_in_bytes ${addressGroup(address)}`,
        { address },
        'websocket: too much sent before signing in; connection ended',
      )
      socket.terminate()
    })
    watchConnack(stream, admitted)
    // Who was refused has had its answer: what it still sends is dropped, within bounds of the broker's.
    stream.once('finish', admitted)
    options.attach(stream, { address, certificateName: nameShownBy(request, options.clock) })
  }

  return {
    upgrade(request, socket, head) {
      socket.on('error', () => socket.destroy())
      const problem = objection(request, options)
      if (problem) {
        refuseHandshake(request, socket, problem)
        return
      }
      server.handleUpgrade(request, socket, head, (ws) => open(ws, request))
    },
    close() {
      lines.stop()
      for (const client of server.clients) client.close(1001, 'the bridge stops')
      clock.after(GOODBYE_MS, () => {
        for (const client of server.clients) client.terminate()
      })
      server.close()
    },
  }
}

function watchConnack(stream: WebSocketStream, admitted: () => void): void {
  const watch = new ConnackWatch()
  let done = false
  stream.onSent = (chunk) => {
    if (done || !watch.accepts(chunk)) return
    done = true
    admitted()
  }
}
