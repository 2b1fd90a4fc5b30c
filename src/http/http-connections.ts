import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { addressGroup } from '../kernel/address.ts'
import { Counts } from '../kernel/counts.ts'
import { connectionBelow } from '../kernel/handshake-turns.ts'
import { clientAddressOf } from '../kernel/proxy-door.ts'

/** The connections that are no WebSocket. */
export interface HttpConnections {
  /**
   * Is told that whoever sent a request has shown a secret. While it is answered its connection takes no place: what
   * principals and limbs may have open has bounds of its own, and a limb that waits for work keeps nobody out.
   */
  hasSignedIn(request: IncomingMessage): void
}

interface HttpConnection {
  readonly socket: Socket
  /** The network that it comes from. */
  readonly from: string
  /** Requests with their answers, until those were read. */
  readonly requests: Map<IncomingMessage, ServerResponse>
  /** Answers to who has signed in that are under way. */
  ofSignedIn: number
}

/**
 * Bounds the connections that ask for health or metrics, or for nothing at all. Beyond `max`, whoever has most of them
 * gives one up, never the newest: the oldest that waits for no answer, else the oldest. One whose request is not whole is
 * waited for, and waits for none; nor does one whose turn has not come, or that only has to read its answer. Who has
 * become a WebSocket is none of them; the broker counts it.
 */
export function boundHttpConnections(
  server: Server,
  max: number,
  ended: () => void,
  hasBegun: (request: IncomingMessage) => boolean = () => true,
): HttpConnections {
  const connections = new Map<Socket, HttpConnection>()
  /** Holds those that take a place, oldest first. */
  const counted = new Set<HttpConnection>()
  const isBeingAnswered = ({ requests }: HttpConnection) =>
    [...requests].some(([request, answer]) => request.complete && hasBegun(request) && !answer.writableEnded)
  const enter = (connection: HttpConnection) => {
    counted.add(connection)
    if (counted.size <= max) return
    const older = [...counted].filter((each) => each !== connection)
    const candidates = ofBusiest(older)
    const victim = candidates.find((each) => !isBeingAnswered(each)) ?? candidates[0]
    if (victim === undefined) return
    counted.delete(victim)
    victim.socket.destroy()
    ended()
  }
  server.on('connection', (socket: Socket) => {
    // Each request that waits behind others on the connection listens for its end.
    socket.setMaxListeners(0)
    const from = addressGroup(clientAddressOf(socket))
    const connection: HttpConnection = { socket, from, requests: new Map(), ofSignedIn: 0 }
    connections.set(socket, connection)
    socket.once('close', () => {
      counted.delete(connection)
      connections.delete(socket)
    })
    enter(connection)
  })
  server.on('upgrade', ({ socket }: IncomingMessage) => {
    const connection = connections.get(connectionBelow(socket))
    if (connection !== undefined) counted.delete(connection)
  })
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const own = connections.get(connectionBelow(request.socket))
    if (own === undefined) return
    own.requests.set(request, response)
    response.once('close', () => own.requests.delete(request))
  })

  function leaveUntilAnswered(connection: HttpConnection, response: ServerResponse): void {
    if (response.destroyed || connection.socket.destroyed) return
    connection.ofSignedIn++
    counted.delete(connection)
    response.once('close', () => {
      connection.ofSignedIn--
      if (connection.ofSignedIn === 0 && !connection.socket.destroyed) enter(connection)
    })
  }
  return {
    hasSignedIn(request) {
      const own = connections.get(connectionBelow(request.socket))
      const response = own?.requests.get(request)
      if (own === undefined || response === undefined) return
      if (request.complete) leaveUntilAnswered(own, response)
      else request.once('end', () => leaveUntilAnswered(own, response))
    },
  }
}

/** Returns those of the network that has most of them, in their order. */
function ofBusiest(connections: readonly HttpConnection[]): readonly HttpConnection[] {
  const counts = new Counts()
  let busiest = ''
  for (const { from } of connections) {
    counts.add(from)
    if (counts.of(from) > counts.of(busiest)) busiest = from
  }
  return connections.filter(({ from }) => from === busiest)
}
