import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { boundHttpConnections } from '../../src/http/http-connections.ts'
import { createMetrics } from '../../src/http/metrics.ts'
import { type HttpServer, startHttp } from '../../src/http/server.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { type Running, start, turn } from '../broker/fixture.ts'
import { silent } from '../broker/persistence-fixture.ts'
import { connectPacket } from '../broker/wire.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SMALL_LIMITS } from './http-server.ts'

/** What a stranger can make the bridge keep through a WebSocket: a frame that is not whole, pieces of it, pings. */

const KIB = 1024
let running: Running
let server: HttpServer
let clock: FakeClock

beforeEach(async () => {
  clock = new FakeClock()
  running = await start({ clock, limits: { partialPacketMs: 300, maxStrangerBytes: 900 * KIB } })
  server = await startHttp({
    host: '127.0.0.1',
    port: 0,
    ...SMALL_LIMITS,
    maxPacketBytes: 1_310_720,
    readiness: () => ({ ready: true, reasons: [] }),
    metrics: createMetrics({ version: '1', collect: () => ({}) }),
    attach: (stream, peer) =>
      running.broker.attach(stream, { ...peer, local: false, transport: 'websocket' }),
    log: silent,
    clock: systemClock,
  })
})
afterEach(() => server.close())

/** A WebSocket that has signed in as a candidate, and its socket, to write bytes of frames by hand. */
async function candidate(
  name: string,
): Promise<{ socket: WebSocket; raw: Socket; closed: Promise<unknown> }> {
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}/mqtt`, ['mqtt'])
  socket.on('error', () => undefined)
  const closed = once(socket, 'close')
  await once(socket, 'open')
  socket.send(connectPacket({ username: name, password: 'unknown' }))
  await once(socket, 'message')
  const { _socket: raw } = socket as unknown as { _socket: Socket }
  return { socket, raw, closed }
}

/** The head of a masked frame. */
function head(first: number, length: number): Buffer {
  const bytes = Buffer.alloc(14)
  bytes[0] = first
  bytes[1] = 0xff
  bytes.writeBigUInt64BE(BigInt(length), 2)
  return bytes
}

test('the private parts of ws that are read are there: what is buffered of a message that is not whole', async () => {
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(wss, 'listening')
  const { port } = wss.address() as { port: number }
  const client = new WebSocket(`ws://127.0.0.1:${port}`)
  const [peer] = (await once(wss, 'connection')) as [WebSocket]
  await once(client, 'open')
  const { _socket: raw } = client as unknown as { _socket: Socket }
  raw.write(Buffer.concat([head(0x02, 5), Buffer.alloc(5), head(0x00, 100), Buffer.alloc(50)]))
  type Parts = { _bufferedBytes: number; _fragments: Buffer[]; _buffers: Buffer[] }
  const { _receiver, _socket } = peer as unknown as { _receiver: Parts; _socket: Socket }
  while (_receiver._bufferedBytes !== 50) await once(_socket, 'data')
  expect(_receiver._fragments.map(({ length }) => length)).toEqual([5])
  expect(_receiver._buffers.map(({ length }) => length)).toEqual([50])
  client.terminate()
  wss.close()
})

describe('a candidate over a WebSocket', () => {
  test('is ended when a frame grows beyond a candidate’s packet, long before it is whole', async () => {
    const { raw, closed } = await candidate('new1')
    raw.write(head(0x82, 60 * KIB))
    raw.write(Buffer.alloc(50 * KIB))
    await closed
    expect(running.broker.counters.limits.packet).toBe(1)
    expect(running.broker.strangerBytes).toBe(0)
  })

  test('is ended for a message of a thousand tiny pieces: each is an object', async () => {
    const { raw, closed } = await candidate('new1')
    const piece = Buffer.from([0x00, 0x81, 0, 0, 0, 0, 1])
    raw.write(
      Buffer.concat([Buffer.from([0x02, 0x81, 0, 0, 0, 0, 1]), ...Array.from({ length: 1000 }, () => piece)]),
    )
    await closed
    expect(running.broker.counters.limits.packet).toBe(1)
  })

  test('is ended when a frame is not whole in time', async () => {
    const { raw, closed } = await candidate('new1')
    raw.write(head(0x82, 1000))
    raw.write(Buffer.alloc(100))
    let isClosed = false
    void closed.then(() => {
      isClosed = true
    })
    while (!isClosed) {
      clock.advance(300)
      await turn()
    }
    expect(running.broker.counters.limits.packet_time).toBe(1)
  })

  test('shares one budget with all others: the oldest go', async () => {
    const all = []
    for (let i = 0; i < 24; i++) {
      const one = await candidate(`new${i}`)
      one.raw.write(head(0x82, 30 * KIB))
      one.raw.write(Buffer.alloc(29 * KIB))
      all.push(one)
    }
    await all[0]?.closed
    expect(running.broker.strangerBytes).toBeLessThanOrEqual(900 * KIB)
    expect(all.at(-1)?.socket.readyState).toBe(WebSocket.OPEN)
    for (const { socket } of all) socket.terminate()
  })

  test('that pings and does not read gets no endless queue of pongs', async () => {
    const { raw, socket } = await candidate('new1')
    const { conn } = (await running.core.until('opened')).session as unknown as {
      conn: { rawUnsent: number }
    }
    raw.pause()
    const ping = Buffer.concat([Buffer.from([0x89, 0xfd]), Buffer.alloc(4), Buffer.alloc(125, 1)])
    const many = Buffer.concat(Array.from({ length: 2000 }, () => ping))
    for (let i = 0; i < 40; i++) await new Promise((sent) => raw.write(many, sent))
    expect(conn.rawUnsent).toBeLessThan(64 * KIB)
    socket.terminate()
  })
})

test('of HTTP connections that wait for nothing the oldest is ended, when there are too many', async () => {
  const http = createServer((_request, response) => response.end())
  let ended = 0
  boundHttpConnections(http, 3, () => ended++)
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address() as { port: number }
  const dialed = async () => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    const closed = once(socket, 'close')
    await once(socket, 'connect')
    return { socket, closed }
  }
  const first = await dialed()
  const others = [await dialed(), await dialed(), await dialed()]
  await first.closed
  expect(ended).toBe(1)
  const answer = await fetch(`http://127.0.0.1:${port}/`)
  expect(answer.status).toBe(200)
  await others[0]?.closed
  for (const { socket } of others) socket.destroy()
  http.closeAllConnections()
  http.close()
})

test('of HTTP connections the oldest whose request is not whole is ended too, and none that waits for its answer', async () => {
  const waiting: ServerResponse[] = []
  const http = createServer((request, response) => {
    if (request.method === 'GET') waiting.push(response)
    else request.resume()
  })
  boundHttpConnections(http, 3, () => undefined)
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address() as { port: number }
  const asking = async (text: string) => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    const closed = once(socket, 'close')
    const begun = once(http, 'request')
    socket.write(text)
    await begun
    return { socket, closed }
  }
  const whole = await asking('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const halves = []
  for (let i = 0; i < 4; i++)
    halves.push(await asking('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf'))
  await Promise.all(halves.slice(0, 2).map(({ closed }) => closed))
  const answered = once(whole.socket, 'data')
  waiting[0]?.end('here')
  expect(String(await answered)).toContain('200 OK')
  expect(halves.at(-1)?.socket.destroyed).toBe(false)
  for (const { socket } of [whole, ...halves]) socket.destroy()
  http.closeAllConnections()
  http.close()
})

test('of HTTP connections the oldest that only has to read its answer is ended too', async () => {
  // More than what the system takes for a client that never reads.
  const large = Buffer.alloc(24 * 1024 * KIB)
  const http = createServer((_request, response) => response.end(large))
  boundHttpConnections(http, 3, () => undefined)
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address() as { port: number }
  const asking = async () => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    const closed = once(socket, 'close')
    socket.pause()
    const begun = once(http, 'request')
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await begun
    return { socket, closed }
  }
  const all = []
  for (let i = 0; i < 4; i++) all.push(await asking())
  all[0]?.socket.resume()
  await all[0]?.closed
  for (const { socket } of all) socket.destroy()
  http.closeAllConnections()
  http.close()
})
