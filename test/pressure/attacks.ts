import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectPacket, publishPacket, subscribePacket, unsubscribePacket } from '../support/mqtt-wire.ts'
import { goingAfterAsking, manyForOneAnswer } from './asking-attacks.ts'
import { AGENT, type Attack, hold, id, LIMB, open, session, together, until, VIEWER } from './attacker.ts'
import { CONSOLE_ATTACKS, HTTP_ATTACKS, MCP_ATTACKS } from './http-attacks.ts'
import { ALL_KIND, TLS_KIND } from './kinds.ts'
import { LIMB_SERVER_ATTACKS } from './limb-server-attacks.ts'
import { MOMENT_ATTACKS } from './moment-attacks.ts'
import { OWED_ATTACKS } from './owed-attacks.ts'
import { PIECES_ATTACKS } from './pieces-attacks.ts'
import { SUBSCRIPTION_ATTACKS } from './subscription-attacks.ts'
import { TLS_ATTACKS } from './tls-attacks.ts'

const webSocket = (socket: Socket, then: () => void) => {
  socket.write(
    'GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n',
  )
  socket.once('data', then)
}

/** A client's frame of binary data, masked with zeroes; `bytes` of `length` follow the head. */
function frame(length: number, bytes: Buffer, last = true): Buffer {
  const head = Buffer.alloc(14)
  head[0] = (last ? 0x80 : 0) | 2
  head[1] = 0x80 | 127
  head.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([head, bytes])
}

function halfPublish(announced: number, sent: number): Buffer {
  const whole = publishPacket(`limb/node/${id()}/register`, Buffer.alloc(announced), 1)
  return whole.subarray(0, sent)
}

/** Very many sessions of the viewer, each of which does something before it rests; those that are ended come again. */
function crowd(count: number, speak: (socket: Socket) => void): Attack {
  return async ({ mqtt, seconds, viewer }) => {
    const end = until(seconds)
    const sockets = new Set<Socket>()
    let opened = 0
    while (performance.now() < end) {
      const more = Array.from({ length: Math.min(50, count - sockets.size) }, async () => {
        const socket = await session(mqtt, id(), VIEWER, viewer)
        sockets.add(socket.once('close', () => sockets.delete(socket)))
        speak(socket)
        opened++
      })
      await Promise.all(more)
      if (more.length === 0) await sleep(20)
    }
    for (const socket of sockets) socket.destroy()
    return opened
  }
}

const largeRequest = publishPacket(
  `limb/principal/${VIEWER}/request/node/list`,
  Buffer.alloc(1_300_000, 0x20),
  1,
)
const smallRequests = Buffer.concat(
  Array.from({ length: 4000 }, () => publishPacket(`limb/principal/${VIEWER}/request/x/y`, '{}', 0)),
)

/** Requests of a principal over some sessions, without end; sessions that read, or that do not. */
function asking(
  verb: string,
  args: object,
  { sessions = 12, burst = 40, reads = true, who = VIEWER }: Partial<Asking> = {},
): Attack {
  return async ({ mqtt, seconds, viewer, agent }) => {
    const password = who === VIEWER ? viewer : agent
    const sockets = await Promise.all(
      Array.from({ length: sessions }, () => session(mqtt, id(), who, password)),
    )
    for (const socket of sockets) {
      socket.write(subscribePacket(`limb/principal/${who}/response/#`, 1, 1))
      if (reads) socket.resume()
      else socket.pause()
    }
    const end = until(seconds)
    let asked = 0
    while (performance.now() < end) {
      for (const socket of sockets) {
        if (socket.destroyed || socket.writableNeedDrain) continue
        for (let i = 0; i < burst / sessions; i++) {
          const request = JSON.stringify({ transaction: asked++, ...args })
          socket.write(publishPacket(`limb/principal/${who}/request/${verb}`, request, (asked % 65_000) + 1))
        }
      }
      await sleep(50)
    }
    for (const socket of sockets) socket.destroy()
    return asked
  }
}

interface Asking {
  readonly sessions: number
  readonly burst: number
  readonly reads: boolean
  readonly who: string
}

/** Sessions of the viewer that subscribe and do not read, and one that makes answers for all of them. */
function notReading(filter: string, verb: string, args: object): Attack {
  return async (target) => {
    const { mqtt, viewer } = target
    const idle = await Promise.all(Array.from({ length: 80 }, () => session(mqtt, id(), VIEWER, viewer)))
    for (const socket of idle) {
      socket.write(subscribePacket(filter, 1, 1))
      socket.pause()
    }
    const asked = await asking(verb, args, { sessions: 1, burst: 20 })(target)
    for (const socket of idle) socket.destroy()
    return asked
  }
}

/** The limb publishes as fast as it is let. */
function limbPublishing(
  message: (n: number) => readonly [leaf: string, payload: string | Buffer],
  pauseMs = 5,
): Attack {
  return async ({ mqtt, limbKey, seconds }) => {
    const end = until(seconds)
    const socket = await session(mqtt, id(), LIMB, limbKey)
    socket.resume()
    let sent = 0
    while (performance.now() < end && !socket.destroyed) {
      if (!socket.writableNeedDrain) {
        const [leaf, payload] = message(sent)
        const packet = publishPacket(`limb/node/${LIMB}/${leaf}`, payload, (sent % 65_000) + 1)
        // RETAIN, for what may be retained.
        packet[0] = (packet[0] ?? 0) | (leaf.startsWith('data/') ? 1 : 0)
        socket.write(packet)
        sent++
      }
      await sleep(pauseMs)
    }
    socket.destroy()
    return sent
  }
}

/** Candidates that each ask to be paired, with a registration of some size. */
function registrations(bytes: number, again: number): Attack {
  return async ({ mqtt, seconds }) => {
    const end = until(seconds)
    let sent = 0
    while (performance.now() < end) {
      const name = `c${id()}`
      const socket = await session(mqtt, name, name, id() + id())
      socket.resume()
      for (let i = 0; i <= again; i++) {
        const registration = {
          displayName: `${name} ${i}`,
          platform: 'x',
          firmware: 'f'.repeat(60),
          capabilities: Array.from({ length: Math.floor(bytes / 120) }, (_, n) => ({
            cap: `cap${n}`,
            commands: [`cap${n}.${'x'.repeat(60)}`],
            authLevel: 'free',
          })),
        }
        socket.write(publishPacket(`limb/node/${name}/register`, JSON.stringify(registration), i + 1))
        sent++
      }
      setTimeout(() => socket.destroy(), 3000)
      await sleep(10)
    }
    return sent
  }
}

/** The limb answers large results to keyed invocations of an agent. */
const keyedAnswers: Attack = async ({ mqtt, agent, limbKey, seconds }) => {
  const end = until(seconds)
  const data = 'x'.repeat(900_000)
  const limb = await session(mqtt, id(), LIMB, limbKey)
  limb.write(subscribePacket(`limb/node/${LIMB}/invoke`, 1, 1))
  let text = ''
  limb.on('data', (chunk: Buffer) => {
    text = (text + chunk.toString('latin1')).slice(-100_000)
    for (const [, invocationId] of text.matchAll(/"invocationId":"([^"]+)"/g))
      limb.write(
        publishPacket(`limb/node/${LIMB}/result`, JSON.stringify({ invocationId, success: true, data }), 2),
      )
    text = text.slice(text.lastIndexOf('}') + 1)
  })
  const asker = await session(mqtt, id(), AGENT, agent)
  asker.write(subscribePacket(`limb/principal/${AGENT}/response/#`, 1, 1))
  asker.resume()
  let asked = 0
  while (performance.now() < end) {
    const request = { transaction: asked, nodeId: LIMB, command: 'x.y', idempotencyKey: id() }
    asker.write(
      publishPacket(
        `limb/principal/${AGENT}/request/invoke`,
        JSON.stringify(request),
        (asked++ % 65_000) + 1,
      ),
    )
    await sleep(50)
  }
  for (const socket of [limb, asker]) socket.destroy()
  return asked
}

/** Connects and leaves, over and over. */
const comingAndGoing: Attack = async ({ mqtt, limbKey, seconds }) => {
  const end = until(seconds)
  let times = 0
  while (performance.now() < end) {
    const socket = await session(mqtt, id(), LIMB, limbKey)
    socket.write(publishPacket(`limb/node/${LIMB}/heartbeat`, '{"status":"online"}', 1))
    await sleep(5)
    socket.destroy()
    times++
  }
  return times
}

const STATUSES = ['online', 'busy', 'degraded']

/** Agent's invocations that wait for limbs that are away, with large params. */
function offlineWaits(more: () => object): Attack {
  return async ({ mqtt, agent, seconds }) => {
    const end = until(seconds)
    const asker = await session(mqtt, id(), AGENT, agent)
    asker.write(subscribePacket(`limb/principal/${AGENT}/response/#`, 1, 1))
    asker.resume()
    let asked = 0
    while (performance.now() < end && !asker.destroyed) {
      if (!asker.writableNeedDrain) {
        const request = {
          transaction: asked,
          nodeId: `node${asked % 300}`,
          command: 'x.y',
          params: { text: 'p'.repeat(200_000) },
          offlineWaitSeconds: 3600,
          ...more(),
        }
        const topic = `limb/principal/${AGENT}/request/invoke`
        asker.write(publishPacket(topic, JSON.stringify(request), (asked++ % 65_000) + 1))
      }
      await sleep(10)
    }
    asker.destroy()
    return asked
  }
}

/** Sessions of the viewer that subscribe everything, and unsubscribe it, over and over: each is sent all that is retained. */
const subscribing: Attack = async ({ mqtt, viewer, seconds }) => {
  const end = until(seconds)
  const sockets = await Promise.all(Array.from({ length: 30 }, () => session(mqtt, id(), VIEWER, viewer)))
  for (const socket of sockets) socket.resume()
  let done = 0
  while (performance.now() < end) {
    for (const socket of sockets) {
      if (socket.destroyed || socket.writableNeedDrain) continue
      socket.write(subscribePacket('#', 1, (done % 65_000) + 1))
      socket.write(unsubscribePacket('#', (done++ % 65_000) + 1))
    }
    await sleep(20)
  }
  for (const socket of sockets) socket.destroy()
  return done
}

/** Sessions of the viewer under ever new names, each with a subscription, that are left behind. */
const leavingSessions: Attack = async ({ mqtt, viewer, seconds }) => {
  const end = until(seconds)
  let done = 0
  while (performance.now() < end) {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = open(mqtt)
        socket.write(connectPacket({ clientId: id(), username: VIEWER, password: viewer, clean: false }))
        await Promise.race([once(socket, 'data'), once(socket, 'close')])
        socket.write(subscribePacket('#', 1, 1))
        await sleep(20)
        socket.destroy()
        done++
      }),
    )
  }
  return done
}

/** Each kind of work that has a time of the event loop's turn of its own, so that all of them meet in one. */
const allKinds = together(
  asking('node/list', { limit: 1000 }),
  notReading('limb/node/+/#', 'bridge/health', {}),
  needed(HTTP_ATTACKS, 'event streams that are not read'),
  needed(HTTP_ATTACKS, 'sixteen requests of each connection at once'),
  needed(MCP_ATTACKS, 'tool calls without end'),
  needed(TLS_ATTACKS, 'first messages at once, of MQTT'),
)

function needed(attacks: Readonly<Record<string, Attack>>, name: string): Attack {
  const attack = attacks[name]
  if (attack === undefined) throw new Error(`there is no attack ${name}`)
  return attack
}

/** By kind: the example of the kind first, then siblings of it. */
export const ATTACKS: Readonly<Record<string, Readonly<Record<string, Attack>>>> = {
  'bytes of strangers': {
    'WebSockets with a frame that is never whole': (target) =>
      hold(target, target.http, 267, (socket) =>
        webSocket(socket, () => {
          socket.write(frame(20, connectPacket({ clientId: id(), username: id() })))
          socket.write(frame(1_309_000, Buffer.alloc(1_300_000)))
        }),
      ),
    'packets over TCP that are never whole': (target) =>
      hold(target, target.mqtt, 300, (socket) => {
        socket.write(connectPacket({ clientId: id(), username: id() }))
        socket.write(halfPublish(278_000, 270_000))
      }),
    'connections that never say CONNECT whole': (target) =>
      hold(target, target.mqtt, 1500, (socket) => {
        socket.write(connectPacket({ clientId: 'x'.repeat(3000), username: id() }).subarray(0, 2900))
      }),
    'HTTP bodies that are never whole': (target) =>
      hold(target, target.http, 400, (socket) => {
        socket.write(
          'POST /api/limb/register HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n',
        )
        socket.write(Buffer.alloc(900_000, 0x20))
      }),
  },
  'requests to be paired': {
    'large registrations of many names': registrations(15_000, 0),
    'registrations that change again and again': registrations(4000, 20),
    'small ones of very many names': registrations(240, 0),
    'registrations beyond the bound': registrations(40_000, 1),
  },
  'sessions that do not read': {
    '80 of a viewer, and one that asks': notReading(`limb/principal/${VIEWER}/response/#`, 'node/list', {
      limit: 1000,
    }),
    'all that a viewer may read': notReading('#', 'invocation/list', { limit: 1000 }),
    'retained topics': notReading('limb/node/+/#', 'bridge/health', {}),
    'very many, while a limb sends small messages': together(
      crowd(1500, (socket) => {
        socket.write(subscribePacket(`limb/node/${LIMB}/#`, 1, 1))
        socket.pause()
      }),
      limbPublishing((n) => [`data/t${n % 20}`, `${n}`], 1),
    ),
    'very many, while a limb sends large ones': together(
      crowd(1500, (socket) => {
        socket.write(subscribePacket(`limb/node/${LIMB}/#`, 1, 1))
        socket.pause()
      }),
      limbPublishing((n) => [`data/t${n % 20}`, Buffer.alloc(1_000_000, n % 256)], 50),
    ),
    'those that ask themselves': asking(
      'node/list',
      { limit: 1000 },
      { sessions: 80, burst: 80, reads: false },
    ),
  },
  'work of one principal': {
    'node/list': asking('node/list', { limit: 1000 }),
    'invocation/list of nobody': asking('invocation/list', { principal: 'nobody' }),
    'policy/list': asking('policy/list', { limit: 1000 }),
    'requests of a megabyte': asking(
      'node/list',
      { pad: 'x'.repeat(1_200_000) },
      { sessions: 80, burst: 80 },
    ),
    'packets over MQTT that are never whole': crowd(400, (socket) =>
      socket.resume().write(largeRequest.subarray(0, 1_290_000)),
    ),
    'parts of packets of very many sessions': crowd(6000, (socket) =>
      socket.resume().write(largeRequest.subarray(0, 60_000)),
    ),
    'very many sessions': crowd(12_000, (socket) => socket.resume()),
    'more messages than allowed of very many sessions': crowd(3000, (socket) =>
      socket.resume().write(smallRequests),
    ),
    'all retained topics over and over': subscribing,
    'sessions that are left behind': leavingSessions,
    'node/history and node/get': asking('node/history', { nodeId: LIMB, limit: 1000 }),
  },
  'a limb that is never at rest': {
    'changes of status': limbPublishing((n) => ['heartbeat', JSON.stringify({ status: STATUSES[n % 3] })], 1),
    'connections that come and go': comingAndGoing,
    'metrics that change': limbPublishing(
      (n) => ['heartbeat', JSON.stringify({ status: 'online', metrics: { n } })],
      1,
    ),
    'registrations that change': limbPublishing(
      (n) => ['register', JSON.stringify({ displayName: `n${n}`, platform: 'x', capabilities: [] })],
      5,
    ),
  },
  'bytes that are kept': {
    'answers for idempotency keys': keyedAnswers,
    'one answer that hundreds ask for': manyForOneAnswer,
    'retained data': limbPublishing((n) => [`data/${n % 300}`, Buffer.alloc(1_200_000, n % 256)], 20),
    'data for who is away': limbPublishing((n) => [`data/same`, Buffer.alloc(200_000, n % 256)], 10),
    'very many small topics': limbPublishing((n) => [`data/t${n}`, 'x'], 1),
  },
  'webhooks to a server that never answers': {
    'requests of strangers and a limb that flaps': together(
      registrations(12_000, 0),
      limbPublishing((n) => ['heartbeat', JSON.stringify({ status: STATUSES[n % 3] })], 2),
    ),
    'requests that change': registrations(4000, 30),
    'refused verbs of a viewer': asking('policy/set', { principal: 'x' }),
    'invocations that fail': asking(
      'invoke',
      { nodeId: 'node1', command: 'x.y' },
      { sessions: 4, who: AGENT },
    ),
  },
  'waits for limbs that are away': {
    'of one agent, with large params': offlineWaits(() => ({})),
    'with idempotency keys': offlineWaits(() => ({ idempotencyKey: id() })),
    'for one limb': offlineWaits(() => ({ nodeId: 'node1' })),
    'asked for again by sessions that go': goingAfterAsking,
    'while that limb comes and goes': together(
      offlineWaits(() => ({ nodeId: LIMB, idempotencyKey: id() })),
      comingAndGoing,
    ),
  },
  'doors of HTTP': HTTP_ATTACKS,
  'MCP over HTTP': MCP_ATTACKS,
  'the console': CONSOLE_ATTACKS,
  'what sessions are owed': OWED_ATTACKS,
  'many small pieces': PIECES_ATTACKS,
  'the server of a limb': LIMB_SERVER_ATTACKS,
  'much at one moment': MOMENT_ATTACKS,
  'very many subscriptions': SUBSCRIPTION_ATTACKS,
  [TLS_KIND]: TLS_ATTACKS,
  [ALL_KIND]: {
    'all kinds of work': allKinds,
    'all kinds of work beside a limb and strangers': together(
      allKinds,
      limbPublishing((n) => ['heartbeat', JSON.stringify({ status: STATUSES[n % 3] })], 1),
      registrations(15_000, 0),
      subscribing,
    ),
  },
}
