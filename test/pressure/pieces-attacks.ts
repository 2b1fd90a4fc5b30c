import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectPacket, publishPacket } from '../support/mqtt-wire.ts'
import { AGENT, type Attack, hold, id, LIMB, open, session, type Target, until, VIEWER } from './attacker.ts'

const UPGRADE =
  'GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n'
const basic = (name: string, password: string) =>
  `Authorization: Basic ${Buffer.from(`${name}:${password}`).toString('base64')}\r\n`

const chunkedHead = (path: string, more = '') =>
  `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n${more}\r\n`

function chunks(
  path: string,
  count: number,
  connections: number,
  more: (target: Target) => string = () => '',
): Attack {
  const bytes = Buffer.from('1\r\n \r\n'.repeat(count))
  return (target) =>
    hold(target, target.http, connections, (socket) => {
      socket.write(chunkedHead(path, more(target)))
      socket.write(bytes)
    })
}

/** The viewer opens event streams, and sends the body of a next request behind each. */
function behindStreams(count: number, connections: number): Attack {
  const bytes = Buffer.from('1\r\n \r\n'.repeat(count))
  return (target) => {
    const headers = basic(VIEWER, target.viewer)
    return hold(target, target.http, connections, (socket) => {
      socket.write(`GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n${headers}\r\n`)
      socket.write(chunkedHead('/api/v1/node/list', headers))
      socket.write(bytes)
    })
  }
}

function binary(bytes: Buffer): Buffer {
  if (bytes.length > 125) throw new Error('too long')
  return Buffer.concat([Buffer.from([0x82, 0x80 | bytes.length, 0, 0, 0, 0]), bytes])
}
const repeated = (frame: Buffer, times: number) => Buffer.concat(Array.from({ length: times }, () => frame))
const PING = Buffer.from([0x89, 0x80, 0, 0, 0, 0])
const LONG_PING = Buffer.concat([Buffer.from([0x89, 0x80 | 125, 0, 0, 0, 0]), Buffer.alloc(125)])
const ONE = Buffer.from([0x82, 0x81, 0, 0, 0, 0, 0xc0])
const EMPTY_FRAME = Buffer.from([0x82, 0x80, 0, 0, 0, 0])

/** WebSockets of candidates or of the viewer send frames without end. */
function frames(bytes: Buffer, connections: number, { reads = true, known = false } = {}): Attack {
  return async (target) => {
    const end = until(target.seconds)
    let sent = 0
    await hold(target, target.http, connections, (socket) => {
      socket.write(UPGRADE)
      socket.once('data', () => {
        const connect = known
          ? connectPacket({ clientId: id(), username: VIEWER, password: target.viewer })
          : connectPacket({ clientId: id(), username: `c${id()}` })
        socket.write(binary(connect))
        socket.once('data', () => {
          if (!reads) socket.pause()
          const go = async () => {
            while (performance.now() < end && !socket.destroyed) {
              if (!socket.writableNeedDrain) {
                socket.write(bytes)
                sent++
              }
              await sleep(10)
            }
          }
          void go()
        })
      })
    })
    return sent
  }
}

/** All WebSockets send the same at the same moment. */
function framesAtOnce(bytes: Buffer, connections: number): Attack {
  return async (target) => {
    const end = until(target.seconds)
    let sent = 0
    while (performance.now() < end) {
      const sockets: Socket[] = []
      await Promise.all(
        Array.from({ length: connections }, async () => {
          const socket = open(target.http)
          sockets.push(socket)
          socket.write(UPGRADE)
          await new Promise<void>((done) => {
            socket.once('data', () => done())
            socket.once('close', () => done())
          })
          socket.resume()
        }),
      )
      await sleep(200)
      for (const socket of sockets) socket.write(bytes)
      sent += sockets.length
      await sleep(1000)
      for (const socket of sockets) socket.destroy()
    }
    return sent
  }
}

/** Sessions of a viewer that send what is answered with some bytes, and do not read them. */
function notReadingAnswers(packet: (n: number) => Buffer, sessions: number): Attack {
  return async ({ mqtt, viewer, seconds }) => {
    const end = until(seconds)
    const sockets = await Promise.all(
      Array.from({ length: sessions }, () => session(mqtt, id(), VIEWER, viewer)),
    )
    for (const socket of sockets) socket.pause()
    let sent = 0
    while (performance.now() < end) {
      for (const socket of sockets) {
        if (socket.destroyed || socket.writableNeedDrain) continue
        socket.write(Buffer.concat(Array.from({ length: 100 }, (_, i) => packet(sent + i))))
        sent += 100
      }
      await sleep(20)
    }
    for (const socket of sockets) socket.destroy()
    return sent
  }
}

/** The limb publishes data that is dear to read, while principals follow it over HTTP. */
function followed(payload: string, streams: number): Attack {
  return async (target) => {
    const { mqtt, limbKey, seconds } = target
    const end = until(seconds)
    void hold(target, target.http, streams, (socket) =>
      socket.write(
        `GET /api/v1/events?data=true HTTP/1.1\r\nHost: 127.0.0.1\r\n${basic(VIEWER, target.viewer)}\r\n`,
      ),
    )
    await sleep(500)
    let sent = 0
    let limb = await session(mqtt, id(), LIMB, limbKey)
    limb.resume()
    while (performance.now() < end) {
      if (limb.destroyed) {
        limb = await session(mqtt, id(), LIMB, limbKey)
        limb.resume()
      }
      if (!limb.writableNeedDrain)
        limb.write(publishPacket(`limb/node/${LIMB}/data/t`, payload, (sent++ % 65_000) + 1))
      await sleep(50)
    }
    limb.destroy()
    return sent
  }
}

/** Connections that are read slowly, because they have sent too much, get one byte after the other. */
function drips(connections: number, who: (target: Target) => readonly [string, string | undefined]): Attack {
  return async (target) => {
    const end = until(target.seconds)
    let sent = 0
    const sockets = new Set<Socket>()
    const [name, password] = who(target)
    const opening = hold(target, target.mqtt, connections, (socket) => {
      socket.setNoDelay(true)
      socket.write(
        connectPacket({ clientId: id(), username: name || `c${id()}`, ...(password && { password }) }),
      )
      socket.once('data', () => {
        socket.write(repeated(Buffer.from([0xc0, 0]), password === undefined ? 60 : 10_000))
        sockets.add(socket)
        socket.once('close', () => sockets.delete(socket))
      })
    })
    let i = 0
    while (performance.now() < end) {
      for (const socket of sockets) socket.write(Buffer.from([i % 2 ? 0 : 0xc0]))
      sent += sockets.size
      i++
      await new Promise<void>((done) => setImmediate(done))
    }
    await opening
    return sent
  }
}

export const PIECES_ATTACKS: Readonly<Record<string, Attack>> = {
  'bodies of strangers in chunks of one byte': chunks('/api/limb/register', 64_000, 500),
  'bodies of a viewer in chunks of one byte': chunks('/api/v1/node/list', 1_200_000, 12, ({ viewer }) =>
    basic(VIEWER, viewer),
  ),
  'bodies of an agent for MCP in chunks of one byte': chunks('/mcp', 1_200_000, 12, ({ agent }) =>
    basic(AGENT, agent),
  ),
  'bodies behind event streams in chunks of one byte': behindStreams(200_000, 16),
  'pings of WebSocket without end': frames(repeated(PING, 10_000), 100),
  'pings of WebSocket that nobody reads the answers of': frames(repeated(LONG_PING, 500), 100, {
    reads: false,
  }),
  'messages of WebSocket of one byte': frames(repeated(ONE, 10_000), 100, { known: true }),
  'empty messages of WebSocket': frames(repeated(EMPTY_FRAME, 10_000), 100),
  'small frames of all WebSockets at once': framesAtOnce(repeated(PING, 700), 480),
  'pings of MQTT whose answers nobody reads': notReadingAnswers(() => Buffer.from([0xc0, 0]), 80),
  'denied messages whose answers nobody reads': notReadingAnswers(
    (n) => publishPacket('x/y', 'x', (n % 65_000) + 1),
    80,
  ),
  'data that is dear to read, in event streams': followed(`[${'[],'.repeat(400_000)}[]]`, 10),
  'data that is nested deep, in event streams': followed('['.repeat(100_000) + ']'.repeat(100_000), 4),
  'single bytes of candidates that are read slowly': drips(200, () => ['', undefined]),
  'single bytes of a viewer that is read slowly': drips(200, ({ viewer }) => [VIEWER, viewer]),
}
