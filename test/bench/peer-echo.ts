import { createServer } from 'node:net'
import { PACKET, PacketReader, pubackPacket } from '../support/mqtt-wire.ts'
import { serveCommands } from './rpc.ts'

/** The least that a Node process can do with a heartbeat: it answers CONNECT and each PUBLISH, and looks at nothing. */

const CONNECT = 1
const CONNACK = Buffer.from([0x20, 2, 0, 0])

const server = createServer({ noDelay: true }, (socket) => {
  const reader = new PacketReader((first, body) => {
    const type = first >> 4
    if (type === PACKET.publish) socket.write(pubackPacket(body.readUInt16BE(2 + body.readUInt16BE(0))))
    else if (type === CONNECT) socket.write(CONNACK)
  })
  socket.on('data', (chunk: Buffer) => reader.push(chunk))
  socket.on('error', () => socket.destroy())
})

function listen(_: Record<string, never>): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve(typeof address === 'object' && address ? address.port : 0)
    })
  })
}

const commands = { listen }
export type EchoCommands = typeof commands

serveCommands(commands)
