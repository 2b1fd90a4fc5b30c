import { once } from 'node:events'
import type { Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** Has a server listen on loopback until the test ends; resolves to what connects to it. */
export async function listening(http: Server): Promise<() => Socket> {
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  onTestFinished(() => {
    http.closeAllConnections()
    http.close()
  })
  return () => {
    const socket = connect((http.address() as AddressInfo).port, '127.0.0.1').on('error', () => undefined)
    onTestFinished(() => {
      socket.destroy()
    })
    return socket
  }
}
