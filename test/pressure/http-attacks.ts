import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { publishPacket } from '../support/mqtt-wire.ts'
import { AGENT, type Attack, hold, id, LIMB, open, session, type Target, until, VIEWER } from './attacker.ts'

/** Attacks by the doors of HTTP: the API, MCP and the console. */

const basic = (name: string, password: string) =>
  `Authorization: Basic ${Buffer.from(`${name}:${password}`).toString('base64')}\r\n`
const ofViewer = ({ viewer }: Target) => basic(VIEWER, viewer)
const ofAgent = ({ agent }: Target) => basic(AGENT, agent)

const get = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${headers}\r\n`
const postHead = (path: string, length: number, headers = '') =>
  `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n` +
  `Accept: application/json, text/event-stream\r\n${headers}\r\n`
function post(path: string, body: object, headers = ''): string {
  const text = JSON.stringify(body)
  return postHead(path, Buffer.byteLength(text), headers) + text
}

interface Asking {
  readonly connections?: number
  /** Requests that are sent in one go, over and over. */
  readonly burst?: number
  readonly reads?: boolean
  readonly pauseMs?: number
}

/** Sends requests over many connections without end, each as soon as the connection takes it. */
function asks(
  request: (target: Target) => string,
  { connections = 64, burst = 4, reads = true, pauseMs = 20 }: Asking = {},
): Attack {
  return async (target) => {
    const { http, seconds } = target
    const end = until(seconds)
    let asked = 0
    const speak = async (socket: Socket) => {
      if (!reads) socket.pause()
      while (performance.now() < end && !socket.destroyed) {
        if (!socket.writableNeedDrain) {
          socket.write(Array.from({ length: burst }, () => request(target)).join(''))
          asked += burst
        }
        await sleep(pauseMs)
      }
    }
    await hold(target, http, connections, (socket) => void speak(socket))
    return asked
  }
}

/** Announces a body and sends it a byte a second. */
function slowly(request: (target: Target) => string, connections: number): Attack {
  return (target) =>
    hold(target, target.http, connections, (socket) => {
      socket.write(request(target))
      const drip = setInterval(() => socket.write('{'), 1000)
      socket.once('close', () => clearInterval(drip))
    })
}

/** Many connections send all but the end of what they have to say, and then all of them the end at the same moment. */
function wholeAtOnce(begin: () => string, end: string, connections = 480): Attack {
  return async (target) => {
    const close = until(target.seconds)
    let done = 0
    while (performance.now() < close) {
      const sockets = await Promise.all(Array.from({ length: connections }, () => connected(target.http)))
      for (const socket of sockets) socket.resume().write(begin())
      await sleep(700)
      for (const socket of sockets) socket.write(end)
      await sleep(700)
      for (const socket of sockets) socket.destroy()
      done += connections
    }
    return done
  }
}

export async function connected(port: number): Promise<Socket> {
  const socket = open(port)
  await new Promise<void>((done) => {
    socket.once('connect', () => done())
    socket.once('close', () => done())
  })
  return socket
}

/** A registration that is large, and dear to read. */
function largeRegistration(): string {
  const text = JSON.stringify({
    nodeId: `t${id()}`,
    displayName: 'x',
    capabilities: Array.from({ length: 110 }, (_, i) => ({
      cap: `c${i}`,
      commands: ['a.b', 'c.d'],
      n: [[{}], [{}]],
    })),
    pad: Array.from({ length: 15_000 }, () => []),
  })
  const headers = `Authorization: Bearer ${id()}${id()}\r\n`
  return postHead('/api/limb/register', text.length, headers) + text.slice(0, -1)
}

const upgradeBegin =
  'GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n'

/** The limb publishes large data that everybody who listens is sent. */
async function limbData({ mqtt, limbKey, seconds }: Target): Promise<void> {
  const end = until(seconds)
  const limb = await session(mqtt, id(), LIMB, limbKey)
  limb.resume()
  for (let i = 0; performance.now() < end && !limb.destroyed; i++) {
    if (!limb.writableNeedDrain)
      limb.write(publishPacket(`limb/node/${LIMB}/data/t`, Buffer.alloc(500_000, 'x'), (i % 65_000) + 1))
    await sleep(100)
  }
  limb.destroy()
}

/** Opens streams that nobody reads, while the limb publishes. */
function unreadStreams(requests: (target: Target) => readonly string[]): Attack {
  return async (target) => {
    const all = requests(target)
    let next = 0
    const opened = hold(target, target.http, all.length, (socket) => {
      socket.pause()
      socket.write(all[next++ % all.length] ?? '')
    })
    await limbData(target)
    return await opened
  }
}

/** In place of `count` requests each of the viewer and the agent. */
const ofBoth = (count: number, request: (headers: string) => string) => (target: Target) =>
  [ofViewer(target), ofAgent(target)].flatMap((headers) =>
    Array.from({ length: count }, () => request(headers)),
  )

export const HTTP_ATTACKS: Readonly<Record<string, Attack>> = {
  'requests that are never whole': slowly(() => postHead('/api/limb/register', 60_000), 1500),
  'heads that are never whole': slowly(() => `GET /healthz HTTP/1.1\r\nX-Pad: ${'x'.repeat(12_000)}`, 1500),
  'bodies of a viewer that are never whole': slowly(
    (target) => postHead('/api/v1/node/list', 1_200_000, ofViewer(target)) + ' '.repeat(1_100_000),
    100,
  ),
  'event streams that are not read': unreadStreams(
    ofBoth(40, (headers) => get('/api/v1/events?data=true', headers)),
  ),
  'answers to strangers that are not read': asks(() => get('/metrics') + get('/api/v1/openapi.json'), {
    connections: 1500,
    burst: 2,
    reads: false,
  }),
  'many requests of strangers in one packet': asks(() => get('/metrics'), {
    connections: 10,
    burst: 500,
    pauseMs: 100,
  }),
  'verbs of a viewer': asks((target) => post('/api/v1/node/list', { limit: 1000 }, ofViewer(target))),
  'registrations of strangers': asks(() => {
    const registration = { nodeId: `h${id()}`, displayName: 'x', platform: 'x', capabilities: [] }
    return post('/api/limb/register', registration, `Authorization: Bearer ${id()}${id()}\r\n`)
  }),
  'registrations that become whole at once': wholeAtOnce(largeRegistration, '}'),
  'sixteen requests of each connection at once': wholeAtOnce(() => '', get('/metrics').repeat(16)),
  'handshakes of WebSocket at once': wholeAtOnce(() => upgradeBegin, '\r\n'),
  'wrong passwords': asks(() => get('/api/v1/events', basic(VIEWER, id()))),
}

const PROTOCOL = '2026-07-28'
const call = (id: number, method: string, params: object) => ({
  jsonrpc: '2.0',
  id,
  method,
  params: {
    ...params,
    _meta: {
      'io.modelcontextprotocol/protocolVersion': PROTOCOL,
      'io.modelcontextprotocol/clientInfo': { name: 'pressure', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    },
  },
})
const single = (method: string, params: object, name = '') => {
  const named = name === '' ? '' : `Mcp-Name: ${name}\r\n`
  const headers = `Mcp-Protocol-Version: ${PROTOCOL}\r\nMcp-Method: ${method}\r\n${named}`
  return (credentials: string) => post('/mcp', call(1, method, params), headers + credentials)
}
const tool = (name: string, args: object) => single('tools/call', { name, arguments: args }, name)
const INITIALIZE = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } },
}

export const MCP_ATTACKS: Readonly<Record<string, Attack>> = {
  'tool calls without end': asks((target) => tool('limb_list', {})(ofAgent(target))),
  'streams that are not read': unreadStreams(
    ofBoth(
      100,
      single('subscriptions/listen', {
        notifications: {
          resourcesListChanged: true,
          resourceSubscriptions: [`limb://${LIMB}`, 'limb://good'],
        },
      }),
    ),
  ),
  'sessions without end': asks((target) => post('/mcp', INITIALIZE, ofAgent(target)), { burst: 1 }),
  'lists of tools that are not read': asks((target) => single('tools/list', {})(ofAgent(target)), {
    connections: 300,
    reads: false,
  }),
  'calls that wait for a person or a limb': asks((target) =>
    tool('limb_invoke', { nodeId: LIMB, command: 'x.y', params: { text: 'p'.repeat(50_000) } })(
      ofAgent(target),
    ),
  ),
}

export const CONSOLE_ATTACKS: Readonly<Record<string, Attack>> = {
  'pages that nobody reads': asks(() => get('/') + get('/console.json'), {
    connections: 1500,
    burst: 2,
    reads: false,
  }),
  'pages without end': asks(() => get('/') + get('/console.json') + get('/no/such/page')),
  'guesses at the link of a first start': asks(() =>
    post('/console/first-start', { secret: id(), password: 'a long password' }),
  ),
}
