import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { hostname } from 'node:os'
import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import type { Log } from '../../src/bridge/ports.ts'
import { createMetrics } from '../../src/http/metrics.ts'
import { type HttpOptions, type HttpServer, type Readiness, startHttp } from '../../src/http/server.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { patience } from '../support/patience.ts'
import { SMALL_LIMITS, startHttpWith } from './http-server.ts'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} }
const CONNACK = Buffer.from([0x20, 2, 0, 0])

let readiness: Readiness
let attached: Array<{ stream: Duplex; address: string }>
let server: HttpServer
let onAttach: (stream: Duplex) => void

const metrics = () =>
  createMetrics({
    version: '1.2.3',
    collect: () => ({
      nodes: { online: 2, busy: 0, degraded: 0, asleep: 0, offline: 5 },
      pendingRequests: 3,
      sessions: { limb: 2 },
    }),
  })

function start(more: Partial<HttpOptions> = {}): Promise<HttpServer> {
  return startHttp({
    host: '127.0.0.1',
    port: 0,
    ...SMALL_LIMITS,
    readiness: () => readiness,
    metrics: metrics(),
    attach: (stream, { address }) => {
      attached.push({ stream, address })
      onAttach(stream)
    },
    log: quiet,
    clock: systemClock,
    ...more,
  })
}

beforeEach(async () => {
  readiness = { ready: true, reasons: [] }
  attached = []
  onAttach = (stream) => stream.on('data', (chunk) => stream.write(chunk))
  server = await start()
})
afterEach(() => server.close())

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(`http://127.0.0.1:${server.port}${path}`, { headers })

function open(options: { protocols?: string[]; origin?: string; path?: string } = {}) {
  const url = `ws://127.0.0.1:${server.port}${options.path ?? '/mqtt'}`
  const origin = options.origin === undefined ? {} : { origin: options.origin }
  return new WebSocket(url, options.protocols ?? ['mqtt'], origin)
}

/** The status of a handshake that is right but for these headers. */
async function statusOf(headers: Record<string, string>): Promise<number> {
  const raw = connect(server.port, '127.0.0.1')
  const all = {
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-version': '13',
    'sec-websocket-protocol': 'mqtt',
    ...headers,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  raw.write(`GET /mqtt HTTP/1.1\r\n${lines.join('')}\r\n`)
  const [answer] = await once(raw, 'data')
  raw.destroy()
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(String(answer))?.[1])
}

async function refusal(socket: WebSocket): Promise<number> {
  const [request, response] = await once(socket, 'unexpected-response')
  request.destroy()
  return response.statusCode
}

describe('health', () => {
  test('/healthz says that the process is alive', async () => {
    const response = await get('/healthz')
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({ status: 'ok' })
    expect(response.headers.get('cache-control')).toBe('no-store')
  })

  test('/readyz says why not', async () => {
    expect((await get('/readyz')).status).toBe(200)
    readiness = { ready: false, reasons: ['the database is read-only'] }
    const response = await get('/readyz')
    expect(response.status).toBe(503)
    expect(await response.json()).toEqual({ ready: false, reasons: ['the database is read-only'] })
  })

  test('anything else is 404 and says what there is', async () => {
    const response = await get('/nothing')
    expect(response.status).toBe(404)
    expect(await response.text()).toContain('/readyz')
  })

  test('another method than that of a path is 405 and says which one is taken', async () => {
    const response = await fetch(`http://127.0.0.1:${server.port}/readyz`, { method: 'POST' })
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET'])
    const broken = await get('/%zz')
    expect(broken.status).toBe(400)
    expect(await broken.json()).toEqual({ error: 'the address of the request is not valid' })
  })
})

describe('metrics', () => {
  test('counters and gauges come out in the form of Prometheus', async () => {
    const own = metrics()
    own.count('heartbeats')
    own.count('heartbeats')
    own.count('status_changes', 'online')
    const text = await own.text()
    expect(text).toContain('limb_heartbeats_total 2')
    expect(text).toContain('limb_status_changes_total{status="online"} 1')
    expect(text).toContain('limb_nodes{status="offline"} 5')
    expect(text).toContain('limb_pairings{status="pending"} 3')
    expect(text).toContain('limb_pairings{status="approved"} 7')
    expect(text).toContain('limb_sessions{role="limb"} 2')
    expect(text).toMatch(/limb_build_info\{version="1\.2\.3",node="v\d+/)
  })

  test('two bridges in one process have metrics of their own', async () => {
    const [a, b] = [metrics(), metrics()]
    a.count('heartbeats')
    expect(await b.text()).toContain('limb_heartbeats_total 0')
  })

  test('with a token, /metrics wants it, and the rest does not', async () => {
    await server.close()
    server = await start({ token: '0123456789abcdef' })
    expect((await get('/metrics')).status).toBe(401)
    expect((await get('/metrics', { authorization: 'Bearer 0123456789abcdeX' })).status).toBe(401)
    expect((await get('/metrics', { authorization: 'Bearer 0123456789abcdef' })).status).toBe(200)
    expect((await get('/healthz')).status).toBe(200)
  })
})

describe('MQTT over WebSocket', () => {
  test('binary frames are a stream of bytes in both directions, with the peer’s address', async () => {
    const socket = open()
    await once(socket, 'open')
    expect(socket.protocol).toBe('mqtt')
    expect(socket.extensions).toBe('')
    socket.send(Buffer.from([1, 2, 3]))
    const [data, binary] = await once(socket, 'message')
    expect(binary).toBe(true)
    expect([...data]).toEqual([1, 2, 3])
    expect(attached[0]?.address).toBe('127.0.0.1')
    socket.close()
    await once(attached[0]!.stream, 'close')
  })

  test('the subprotocol is checked at the upgrade, whatever else is offered first', async () => {
    expect(await refusal(open({ protocols: ['chat'] }))).toBe(400)
    expect(await refusal(open({ protocols: [] }))).toBe(400)
    const socket = open({ protocols: ['chat', 'mqttv3.1'] })
    await once(socket, 'open')
    expect(socket.protocol).toBe('mqttv3.1')
    socket.terminate()
  })

  test('another path is no WebSocket', async () => {
    expect(await refusal(open({ path: '/other' }))).toBe(404)
  })

  test('a plain request is told with 426 that a WebSocket is wanted', async () => {
    const response = await get('/mqtt')
    expect(response.status).toBe(426)
    expect(response.headers.get('upgrade')).toBe('websocket')
    expect(await response.json()).toEqual({ error: expect.stringContaining('with a WebSocket client') })
  })

  test('a web page may connect only from an allowed origin', async () => {
    expect(await refusal(open({ origin: 'https://evil.example' }))).toBe(403)
    await server.close()
    server = await start({ allowedOrigins: ['https://dash.example'] })
    expect(await refusal(open({ origin: 'https://evil.example' }))).toBe(403)
    const socket = open({ origin: 'https://dash.example' })
    await once(socket, 'open')
    socket.terminate()
  })

  describe('an Origin that is the very place of the request', () => {
    test.each([
      ['https://127.0.0.1:8083', '127.0.0.1:8083'],
      ['http://192.168.1.5', '192.168.1.5'],
      ['ws://[fd00::1]:8083', '[FD00::1]:8083'],
      ['https://localhost:8083', 'localhost:8083'],
      [`http://${hostname()}:8083`, `${hostname()}:8083`],
      [`http://${hostname().split('.')[0]}.local:8083`, `${hostname().split('.')[0]}.local:8083`],
    ])('%s may connect to %s', async (origin, host) => {
      expect(await statusOf({ origin, host })).toBe(101)
    })

    test.each([
      ['another port', 'https://127.0.0.1:8084', '127.0.0.1:8083'],
      ['another address', 'https://127.0.0.2:8083', '127.0.0.1:8083'],
      ['a name, which anybody can point at us', 'https://evil.example:8083', 'evil.example:8083'],
      ['a name that looks like an address', 'https://127.0.0.1.evil.example', '127.0.0.1.evil.example'],
      ['a name below localhost', 'https://a.localhost:8083', 'a.localhost:8083'],
      ['no origin at all', 'null', '127.0.0.1:8083'],
      ['more than an origin', 'https://x@127.0.0.1:8083', 'x@127.0.0.1:8083'],
      ['an address without its brackets', 'https://fd00::1', 'fd00::1'],
    ])('is not %s', async (_, origin, host) => {
      expect(await statusOf({ origin, host })).toBe(403)
    })
  })

  test('refused handshakes are logged with address and origin, a few of many', async () => {
    const lines: [object, string][] = []
    await server.close()
    server = await start({
      clock: new FakeClock(),
      log: { ...quiet, info: (fields, message) => lines.push([fields, message]) },
    })
    await refusal(open({ origin: 'https://dash.example' }))
    expect(lines).toEqual([
      [
        { address: '127.0.0.1', origin: 'https://dash.example' },
        'websocket: refused with 403 Forbidden: this origin may not connect; add it to http.allowedOrigins',
      ],
    ])
    await refusal(open({ protocols: [] }))
    expect(lines[1]?.[1]).toContain('400 Bad Request: offer the WebSocket subprotocol "mqtt"')
    expect(await statusOf({ host: 'x', 'sec-websocket-version': '7' })).toBe(400)
    expect(lines[2]?.[1]).toContain('use a WebSocket client of version 13')
    for (let i = 0; i < 10; i++) await refusal(open({ protocols: [] }))
    expect(lines).toHaveLength(1 + 5)
  })

  test('too much before signing in is logged for an address a few times, however often it happens', async () => {
    const lines: string[] = []
    await server.close()
    server = await start({
      clock: new FakeClock(),
      log: { ...quiet, info: (_fields, message) => lines.push(message) },
    })
    for (let i = 0; i < 12; i++) {
      const socket = open()
      await once(socket, 'open')
      const closed = once(socket, 'close')
      socket.on('error', () => {})
      socket.send(Buffer.alloc(20_000))
      await closed
    }
    expect(lines.filter((line) => line.includes('too much sent before signing in'))).toHaveLength(5)
  })

  test('a TEXT frame ends the connection [MQTT-6.0.0-1]', async () => {
    const socket = open()
    await once(socket, 'open')
    socket.send('hello')
    const [code] = await once(socket, 'close')
    expect(code).toBe(1003)
  })

  test('a message above the limit comes in pieces: what is too large is for the broker to say', async () => {
    let bytes = 0
    onAttach = (stream) => {
      stream.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes === 300_001) stream.write(Buffer.from([0xd0, 0]))
      })
      stream.write(CONNACK)
    }
    const large = open()
    await once(large, 'message')
    large.send(Buffer.alloc(300_001))
    const [answer] = await once(large, 'message')
    expect(answer).toEqual(Buffer.from([0xd0, 0]))
    large.terminate()
  })

  test('before the broker has let it in, a peer may not send more than a CONNECT', async () => {
    onAttach = (stream) => stream.resume()
    const socket = open()
    await once(socket, 'open')
    socket.on('error', () => {})
    // Most of one frame, never finished: it would be held in memory.
    const raw = (socket as unknown as { _socket: Socket })._socket
    const frame = Buffer.alloc(20_000)
    frame.set([0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0])
    raw.write(frame)
    expect((await once(socket, 'close'))[0]).toBe(1006)
  })

  test('after an accepting CONNACK the limit of frames is the only one', async () => {
    onAttach = (stream) => {
      stream.on('data', (chunk: Buffer) =>
        stream.write(Buffer.from([chunk.length >>> 8, chunk.length & 255])),
      )
      stream.write(CONNACK)
    }
    const socket = open()
    await once(socket, 'message')
    socket.send(Buffer.alloc(50_000))
    const [data] = await once(socket, 'message')
    expect(data.readUInt16BE()).toBe(50_000)
    socket.terminate()
  })

  test('a slow reader holds the writer back instead of filling memory', async () => {
    let stream: Duplex | undefined
    onAttach = (attachedStream) => {
      stream = attachedStream
    }
    const socket = open()
    await once(socket, 'open')
    socket.pause()
    const chunk = Buffer.alloc(65_536)
    let writes = 0
    while (stream?.write(chunk) && writes < 10_000) {
      writes++
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(writes).toBeLessThan(10_000)
    expect(stream?.writableLength).toBeGreaterThan(0)
    socket.terminate()
  })

  test('malformed upgrades and half-open sockets do not disturb the others', async () => {
    const raw = connect(server.port, '127.0.0.1')
    await once(raw, 'connect')
    raw.write('GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n')
    raw.write('Sec-WebSocket-Protocol: mqtt\r\n\r\n')
    const [answer] = await once(raw, 'data')
    expect(String(answer)).toMatch(/^HTTP\/1\.1 4\d\d /)
    raw.destroy()
    expect((await get('/healthz')).status).toBe(200)
  })
})

describe('start and stop', () => {
  test('a port in use is told clearly', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as { port: number }
    await expect(start({ port })).rejects.toThrow(
      `HTTP cannot listen: 127.0.0.1 port ${port} is in use by another program`,
    )
    other.close()
  })

  test('localhost is every address that the name has, behind the same bounds', async () => {
    await using both = await startHttpWith({
      host: 'localhost',
      loopbacks: async () => ['127.0.0.1', '127.0.0.2'],
    })
    for (const address of ['127.0.0.1', '127.0.0.2']) {
      const answer = await fetch(`http://${address}:${both.port}/healthz`)
      expect(answer.status).toBe(200)
      const greedy = connect(both.port, address).on('error', () => undefined)
      const closed = once(greedy, 'close')
      greedy.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(100))
      greedy.on('data', (answers: Buffer) =>
        expect.unreachable(`was answered: ${answers.toString('latin1')}`),
      )
      await closed
    }
  })

  test('an address of localhost that cannot be had is told in the log, and the other one serves', async () => {
    const lines: string[] = []
    const log: Log = { ...quiet, warn: (_fields, message) => lines.push(message) }
    await using one = await startHttpWith({
      host: 'localhost',
      loopbacks: async () => ['127.0.0.1', '192.0.2.1'],
      log,
    })
    expect((await fetch(`${one.url}/healthz`)).status).toBe(200)
    expect(lines).toEqual([`http: cannot listen on 192.0.2.1:${one.port} too; 127.0.0.1 is there`])
  })

  test('close ends open connections, those that never answer too, within a second', async () => {
    const socket = open()
    await once(socket, 'open')
    const deaf = open()
    await once(deaf, 'open')
    deaf.pause()
    const idle = connect(server.port, '127.0.0.1')
    await once(idle, 'connect')
    const started = performance.now()
    const ends = [once(socket, 'close'), once(idle, 'close')]
    await server.close()
    expect(performance.now() - started).toBeLessThan(patience(1000))
    const [[code]] = (await Promise.all(ends)) as [[number], unknown]
    expect(code).toBe(1001)
    deaf.terminate()
    server = await start()
  })
})
