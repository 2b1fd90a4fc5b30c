import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

interface HttpConnection {
  readonly socket: Socket
  /** Requests that are not answered. */
  readonly requests: Set<IncomingMessage>
}

/**
 * Bounds the connections that ask for health or metrics, or for nothing at all: beyond `max` the oldest one goes
 * that waits for no answer; one whose request is not whole is waited for, and waits for none. Who has become a WebSocket is none of them; the broker counts it.
 */
export function boundHttpConnections(server: Server, max: number, ended: () => void): void {
  /** Oldest first, by their names. */
  const connections = new Map<string, HttpConnection>()
  const makeRoom = () => {
    for (const [name, { socket, requests }] of connections) {
      if (connections.size <= max) return
      if ([...requests].some(({ complete }) => complete)) continue
      connections.delete(name)
      socket.destroy()
      ended()
    }
  }
  server.on('connection', (socket: Socket) => {
    const name = nameOf(socket)
    connections.set(name, { socket, requests: new Set() })
    socket.once('close', () => {
      if (connections.get(name)?.socket === socket) connections.delete(name)
    })
    makeRoom()
  })
  server.on('upgrade', ({ socket }: IncomingMessage) => connections.delete(nameOf(socket)))
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const own = connections.get(nameOf(request.socket))
    if (own === undefined) return
    own.requests.add(request)
    response.once('close', () => own.requests.delete(request))
  })
}

/** Names a connection: over TLS the socket below and the secured one have the same. */
function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
