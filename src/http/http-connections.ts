import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

interface HttpConnection {
  readonly socket: Socket
  /** Requests with their answers, until those were read. */
  readonly requests: Map<IncomingMessage, ServerResponse>
}

/**
 * Bounds the connections that ask for health or metrics, or for nothing at all: beyond `max` the oldest one goes
 * that waits for no answer. One whose request is not whole is waited for, and waits for none; nor does one whose turn
 * has not come, or that only has to read its answer. Who has become a WebSocket is none of them; the broker counts it.
 */
export function boundHttpConnections(
  server: Server,
  max: number,
  ended: () => void,
  hasBegun: (request: IncomingMessage) => boolean = () => true,
): void {
  /** Oldest first, by their names. */
  const connections = new Map<string, HttpConnection>()
  const isBeingAnswered = (request: IncomingMessage, answer: ServerResponse) =>
    request.complete && hasBegun(request) && !answer.writableEnded
  const makeRoom = () => {
    for (const [name, { socket, requests }] of connections) {
      if (connections.size <= max) return
      if ([...requests].some(([request, answer]) => isBeingAnswered(request, answer))) continue
      connections.delete(name)
      socket.destroy()
      ended()
    }
  }
  server.on('connection', (socket: Socket) => {
    const name = nameOf(socket)
    // Each request that waits behind others on the connection listens for its end.
    socket.setMaxListeners(0)
    connections.set(name, { socket, requests: new Map() })
    socket.once('close', () => {
      if (connections.get(name)?.socket === socket) connections.delete(name)
    })
    makeRoom()
  })
  server.on('upgrade', ({ socket }: IncomingMessage) => connections.delete(nameOf(socket)))
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const own = connections.get(nameOf(request.socket))
    if (own === undefined) return
    own.requests.set(request, response)
    response.once('close', () => own.requests.delete(request))
  })
}

/** Names a connection: over TLS the socket below and the secured one have the same. */
function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
