import type { Server, Socket } from 'node:net'
import { addressGroup, isLoopbackAddress, unmappedAddress } from '../kernel/address.ts'

/**
 * Ends connections of one address beyond `max()`, before a byte is read or a handshake begun. What becomes a
 * WebSocket session is counted by the broker too.
 */
export function limitPerAddress(server: Server, max: () => number, refused: (address: string) => void): void {
  const open = new Map<string, number>()
  server.prependListener('connection', (socket: Socket) => {
    const address = unmappedAddress(socket.remoteAddress ?? 'unknown')
    if (isLoopbackAddress(address)) return
    const group = addressGroup(address)
    const count = open.get(group) ?? 0
    if (count >= max()) {
      refused(address)
      socket.destroy()
      return
    }
    open.set(group, count + 1)
    socket.once('close', () => {
      const left = (open.get(group) ?? 1) - 1
      if (left > 0) open.set(group, left)
      else open.delete(group)
    })
  })
}
