import { once } from 'node:events'
import net from 'node:net'
import { Duplex } from 'node:stream'
import { afterEach, describe, expect, test } from 'vitest'
import { TurnWrites, writeBeforeDestroy } from '../../src/broker/turn-writes.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { countedClock } from '../support/counted-clock.ts'
import { start, turn } from './fixture.ts'
import { connectPacket, subscribePacket } from './wire.ts'

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

const ofAll = new TurnWrites(systemClock)

function write(socket: net.Socket, bytes: number, writes = ofAll): void {
  writes.hold(socket, bytes)
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

  test('of very many streams take as many turns as they need, and nobody brings more meanwhile', async () => {
    const behind: boolean[] = []
    const writes = new TurnWrites(countedClock(), (isBehind) => behind.push(isBehind))
    const streams = Array.from({ length: 200 }, () => {
      const written: string[] = []
      const stream = new Duplex({
        read() {},
        write: (chunk, _encoding, done) => {
          written.push(`${chunk.length}`)
          done()
        },
      })
      return { stream, written }
    })
    for (const { stream } of streams) {
      writes.hold(stream, 100)
      stream.write(Buffer.alloc(100))
    }
    const inEachTurn: number[] = []
    const count = () => streams.filter(({ written }) => written.length > 0).length
    for (let before = 0; before < streams.length; before = count()) {
      await turn()
      inEachTurn.push(count() - before)
    }
    // Sixty-four cost no look at the clock, on which a millisecond passes with each.
    expect(Math.max(...inEachTurn)).toBeLessThanOrEqual(64 + 8)
    expect(behind[0]).toBe(true)
    expect(behind.at(-1)).toBe(false)
  })

  test('of large messages wait for a later turn when this one has no time left, in the order of each stream', async () => {
    const behind: boolean[] = []
    const writes = new TurnWrites(countedClock(), (isBehind) => behind.push(isBehind))
    const sockets = await Promise.all(Array.from({ length: 20 }, pair))
    for (const { socket } of sockets) write(socket, 1_000_000, writes)
    const late = sockets.filter(({ writes: calls }) => calls.length === 0)
    expect(late.length).toBeGreaterThan(0)
    expect(behind).toContain(true)
    write((late[0] as (typeof late)[0]).socket, 10, writes)
    for (const { peer } of sockets) peer.resume()
    while (behind.at(-1)) await turn()
    expect(sockets.every(({ writes: calls }) => calls.length > 0)).toBe(true)
    expect(late[0]?.writes.reduce((sum, bytes) => sum + bytes, 0)).toBe(1_000_010)
  })

  test('are not behind for ever when the only stream that finds no time is held by somebody else', async () => {
    const behind: boolean[] = []
    const writes = new TurnWrites(countedClock(), (isBehind) => behind.push(isBehind))
    const sockets = await Promise.all(Array.from({ length: 20 }, pair))
    for (const { socket } of sockets) {
      // Aedes does so around each packet of its own, until the next tick.
      socket.cork()
      write(socket, 1_000_000, writes)
      socket.uncork()
    }
    expect(behind).toContain(true)
    for (let i = 0; i < 10 && behind.at(-1); i++) await turn()
    expect(behind.at(-1)).toBe(false)
  })

  test('of a stream that has taken nothing yet can be had at once', async () => {
    const { socket, writes: calls } = await pair()
    write(socket, 100)
    expect(calls).toEqual([])
    ofAll.writeHeld(socket)
    expect(calls).toEqual([100])
  })
})

test('what the control socket is sent leaves at once: a commit may stand at the end of the turn', async () => {
  const { broker, core } = await start()
  const written: string[] = []
  const stream = new Duplex({
    read() {},
    write: (chunk: Buffer, _encoding, done) => {
      written.push(chunk.toString('latin1'))
      done()
    },
  })
  broker.attach(stream, { address: 'local', local: true, transport: 'unix' })
  stream.push(connectPacket({ clientId: 'local' }))
  const { session } = await core.until('opened')
  stream.push(subscribePacket({ 'limb/principal/admin/response/#': 0 }, 1))
  await core.until('subscribed')
  const before = written.length
  session.send('limb/principal/admin/response/x', Buffer.from('at once'))
  expect(written.slice(before).join('')).toContain('at once')
  stream.destroy()
})

test('what is held for others leaves before what the control socket is sent: they hear it first', async () => {
  const { socket, writes: calls } = await pair()
  write(socket, 100)
  expect(calls).toEqual([])
  ofAll.flush()
  expect(calls).toEqual([100])
})
