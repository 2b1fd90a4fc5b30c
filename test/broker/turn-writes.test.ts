import { once } from 'node:events'
import net from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { holdForTurn, writeBeforeDestroy } from '../../src/broker/turn-writes.ts'

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** A socket, the peer that reads it, and the number of the kernel's calls that its writes took. */
async function pair() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const peer = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [net.Socket]
  ends.push(() => {
    socket.destroy()
    peer.destroy()
    server.close()
  })
  const writes: number[] = []
  const { _write, _writev } = socket
  socket._write = function (chunk, ...rest) {
    writes.push(chunk.length)
    return _write.call(this, chunk, ...rest)
  }
  socket._writev = function (chunks, done) {
    writes.push(chunks.reduce((sum, { chunk }) => sum + chunk.length, 0))
    return _writev?.call(this, chunks, done)
  }
  return { socket, peer, writes }
}

function write(socket: net.Socket, bytes: number): void {
  holdForTurn(socket, bytes)
  socket.write(Buffer.alloc(bytes))
}

describe('the writes of one turn', () => {
  test('of small messages leave in one, when the turn is over', async () => {
    const { socket, peer, writes } = await pair()
    for (let i = 0; i < 20; i++) write(socket, 100)
    expect(writes).toEqual([])
    await once(peer, 'data')
    expect(writes).toEqual([2000])
    write(socket, 7)
    await once(peer, 'data')
    expect(writes).toEqual([2000, 7])
  })

  test('leave at once, in their order, when they are large', async () => {
    const { socket, writes } = await pair()
    write(socket, 100)
    write(socket, 20_000)
    write(socket, 20_000)
    expect(writes).toEqual([100, 20_000, 20_000])
    for (let i = 0; i < 100; i++) write(socket, 1000)
    expect(socket.writableLength).toBeLessThanOrEqual(8192)
  })

  test('leave before the socket is destroyed', async () => {
    const { socket, peer } = await pair()
    writeBeforeDestroy(socket)
    let received = 0
    peer.on('data', (chunk) => (received += chunk.length))
    write(socket, 100)
    write(socket, 100)
    socket.destroy()
    await once(peer, 'close')
    expect(received).toBe(200)
  })
})
