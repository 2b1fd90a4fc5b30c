import type { Server, Socket } from 'node:net'
import { AddressCounts } from '../kernel/counts.ts'
import { clientAddressOf } from '../kernel/proxy-door.ts'

/**
 * Ends connections of one address beyond `max()`, before a byte is read or a handshake begun. What becomes a
 * WebSocket session is counted by the broker too.
 */
export function limitPerAddress(server: Server, max: () => number, refused: (address: string) => void): void {
  const open = new AddressCounts()
  server.prependListener('connection', (socket: Socket) => {
    const address = clientAddressOf(socket)
    if (open.of(address) >= max()) {
      refused(address)
      socket.destroy()
      return
    }
    socket.once('close', open.enter(address))
  })
}
