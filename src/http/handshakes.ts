import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../kernel/clock.ts'
import { connectionBelow, HandshakeTurns } from '../kernel/handshake-turns.ts'

type Accept = (this: Server, socket: Socket) => void

export interface PacedHandshakes {
  /** Paces what ends a handshake: call it when everybody who listens to `secureConnection` is there. */
  paceEnds(): void
  /** Ends the connections whose handshake is not over, and those that come from now on: Node's server waits for them. */
  close(): void
}

/** Puts turns before the handshakes of a server of HTTPS, which was made just now: only Node's own listener is there. */
export function paceHandshakes(server: Server, clock: Clock, helloMs: number): PacedHandshakes {
  const turns = new HandshakeTurns({ clock, helloMs: () => helloMs })
  /** The connections whose handshake is not over. */
  const entered = new Set<Socket>()
  let isClosed = false
  inPlaceOf(server, 'connection', (raw, accept) => {
    entered.add(raw)
    raw.once('close', () => entered.delete(raw))
    turns.enter(raw, accept, () => undefined)
    if (isClosed) raw.destroy()
  })
  return {
    paceEnds: () =>
      inPlaceOf(server, 'secureConnection', (socket, accept) =>
        turns.secured(connectionBelow(socket), () => {
          // Node would keep the parser of one that is gone for ever: it waits for a `close` that has been.
          if (socket.destroyed) return
          entered.delete(connectionBelow(socket))
          accept()
        }),
      ),
    close() {
      isClosed = true
      for (const raw of entered) raw.destroy()
    },
  }
}

/** Calls `pace` in place of the listeners of an event, with what calls them. */
function inPlaceOf(server: Server, event: string, pace: (socket: Socket, accept: () => void) => void): void {
  const listeners = server.listeners(event) as Accept[]
  server.removeAllListeners(event)
  server.on(event, (socket: Socket) =>
    pace(socket, () => {
      for (const each of listeners) each.call(server, socket)
    }),
  )
}
