import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../kernel/clock.ts'
import { HandshakeTurns } from '../kernel/handshake-turns.ts'

type Accept = (this: Server, socket: Socket) => void

export interface PacedHandshakes {
  /** Paces what ends a handshake: call it when everybody who listens to `secureConnection` is there. */
  paceEnds(): void
  /** Ends the connections whose handshake has not begun. */
  close(): void
}

/** Puts turns before the handshakes of a server of HTTPS, which was made just now: only Node's own listener is there. */
export function paceHandshakes(server: Server, clock: Clock, helloMs: number): PacedHandshakes {
  const turns = new HandshakeTurns({ clock, helloMs: () => helloMs })
  inPlaceOf(server, 'connection', (raw, accept) => turns.enter(raw, accept, () => undefined))
  return {
    paceEnds: () => inPlaceOf(server, 'secureConnection', (_socket, accept) => turns.secured(accept)),
    close: () => turns.close(),
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
