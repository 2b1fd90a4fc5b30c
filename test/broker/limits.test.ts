import { Duplex } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { TokenBuckets } from '../../src/broker/token-buckets.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { spoken } from '../support/spoken.ts'
import { type Start, start, turn } from './fixture.ts'
import {
  connectPacket,
  dial,
  PINGREQ,
  PINGRESP,
  PUBACK,
  PUBCOMP,
  PUBREC,
  publishPacket,
  subscribePacket,
  UNSUBACK,
  unsubscribePacket,
} from './wire.ts'

const LIMB = { username: 'cam1', password: 'key' }

/** A test of what only MQTT 3.1.1 does; mqtt5/basics.test.ts has that of MQTT 5. */
function in311(name: string, body: () => Promise<void>): void {
  if (spoken.version === 4) test(name, body)
}

const heartbeat = (id: number) => publishPacket('limb/node/cam1/heartbeat', '', { qos: 1, id })

function startWith(limits: NonNullable<Start['limits']>) {
  return start({ limits })
}

describe('a budget', () => {
  const rates = { messages: 100, bytes: 10_000 }

  test('allows two seconds of its rate at once, then the rate', () => {
    const clock = new FakeClock()
    const budget = new TokenBuckets(clock, () => rates)
    /** Messages until one must wait; that one is spent too. */
    const spend = () => {
      let spent = 1
      while (budget.take(1, 1) === 0) spent++
      return spent
    }
    expect(spend()).toBe(201)
    clock.advance(500)
    expect(spend()).toBe(50)
    clock.advance(3_600_000)
    // One was left to pay for, and was looked at when the bucket was filled.
    expect(spend()).toBe(202)
  })

  test('says how long to wait for a large message', () => {
    const budget = new TokenBuckets(new FakeClock(), () => rates)
    expect(budget.take(1, 50_000)).toBe(3000)
    expect(budget.exhausted).toBe('bytes')
  })

  test('obeys a rate that changes', () => {
    const clock = new FakeClock()
    let own = { messages: 1, bytes: 1000 }
    const budget = new TokenBuckets(clock, () => own)
    for (let i = 0; i < 3; i++) budget.take(1, 1)
    own = rates
    clock.advance(1000)
    expect(budget.take(1, 1)).toBe(0)
  })
})

describe('a session that sends too much', () => {
  test('is read more slowly: nothing is lost, the order stays, and others are not concerned', async () => {
    const clock = new FakeClock()
    const { core, connect, broker, log } = await start({ clock, limits: { maxMessagesPerSecond: 50 } })
    const loud = await connect(LIMB)
    const quiet = await connect({ username: 'cam2', password: 'key' })
    loud.send(...Array.from({ length: 200 }, (_, i) => heartbeat(i + 1)))
    await loud.ack(PUBACK, 100)
    await quiet.settle()
    // 100 at once and one that waits, then 50 in a second.
    expect(core.heartbeats).toBeLessThanOrEqual(101)
    for (const atMost of [151, 201]) {
      clock.advance(1000)
      while (core.heartbeats < atMost - 1) await turn()
      for (let i = 0; i < 50; i++) await turn()
      expect(core.heartbeats).toBeLessThanOrEqual(atMost)
    }
    await loud.ack(PUBACK, 200)
    expect(core.heartbeats).toBe(200)
    expect(broker.counters.limits.messages).toBeGreaterThan(0)
    const told = log.lines.filter(({ fields }) => fields.limit === 'messages')
    expect(told.length).toBeGreaterThan(0)
    expect(told.length).toBeLessThanOrEqual(5)
    expect(told[0]).toMatchObject({ level: 'info', fields: { clientId: expect.any(String), perSecond: 50 } })
  })

  test('is held back by its bytes too', async () => {
    const { connect, core, broker } = await startWith({ maxBytesPerSecond: 20_000 })
    const loud = await connect(LIMB)
    const began = performance.now()
    const result = (id: number) =>
      publishPacket('limb/node/cam1/result', Buffer.alloc(20_000), { qos: 1, id })
    loud.send(...[1, 2, 3, 4].map(result))
    await loud.ack(PUBACK, 4)
    expect(performance.now() - began).toBeGreaterThan(900)
    expect(core.all('message').length).toBe(4)
    expect(broker.counters.limits.bytes).toBeGreaterThan(0)
  })

  test('a session that is read more slowly keeps few of the single bytes that it is sent', async () => {
    const clock = new FakeClock()
    const { connect, core, broker } = await start({ clock, limits: { maxMessagesPerSecond: 10 } })
    const loud = await connect(LIMB)
    const { conn } = (await core.until('opened')).session as unknown as { conn: Duplex }
    loud.socket.setNoDelay(true)
    loud.send(...Array.from({ length: 40 }, (_, i) => heartbeat(i + 1)))
    while (broker.counters.limits.messages === 0) await turn()
    for (let i = 0; i < 2000; i++) {
      loud.socket.write(PINGREQ.subarray(i % 2, (i % 2) + 1))
      await turn()
    }
    expect(conn.readableLength).toBeLessThan(1000)
    // None of them is lost.
    while (loud.packets.filter(({ type }) => type === PINGRESP).length < 1000) {
      clock.advance(1000)
      await turn()
    }
  })

  test('is not read at all meanwhile: what it sends waits in its own socket', async () => {
    const { connect, broker } = await startWith({ maxMessagesPerSecond: 10 })
    const loud = await connect(LIMB)
    const flood = Buffer.concat(
      Array.from({ length: 2000 }, () => publishPacket('limb/node/cam1/result', Buffer.alloc(10_000))),
    )
    const before = process.memoryUsage()
    loud.socket.write(flood)
    while (broker.counters.limits.messages === 0) await turn()
    for (let i = 0; i < 50; i++) await turn()
    expect(loud.socket.writableLength).toBeGreaterThan(flood.length / 2)
    expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(8 * 1024 * 1024)
  })

  test('as a candidate may send a handful of messages, and as much as any limb once it is one', async () => {
    const { core, connect } = await startWith({ maxCandidateMessagesPerSecond: 2 })
    const client = await connect({ username: 'new1' })
    const { session } = await core.until('opened')
    const register = (id: number) => publishPacket('limb/node/new1/register', '{}', { qos: 1, id })
    client.send(...Array.from({ length: 20 }, (_, i) => register(i + 1)))
    await client.ack(PUBACK, 4)
    expect(core.all('message').length).toBeLessThan(10)
    session.identity = { kind: 'limb', nodeId: 'new1' }
    await client.ack(PUBACK, 20)
    client.send(...Array.from({ length: 90 }, (_, i) => register(100 + i)))
    await client.ack(PUBACK, 189)
  })

  test('may acknowledge eight times as much as it may send', async () => {
    const { connect, broker } = await startWith({ maxMessagesPerSecond: 50 })
    const reader = await connect(LIMB)
    // Nobody waits for these; each costs an eighth.
    reader.send(...Array.from({ length: 700 }, (_, i) => Buffer.from([0x40, 2, (i + 1) >> 8, (i + 1) & 255])))
    await reader.settle()
    expect(broker.counters.limits.messages).toBe(0)
  })
})

describe('topics and subscriptions', () => {
  test('that are too deep are denied, and too long ones end the connection; both are counted and logged', async () => {
    const { connect, broker, log } = await startWith({ maxTopicBytes: 60, maxTopicLevels: 6 })
    const limb = await connect(LIMB)
    limb.send(publishPacket('limb/node/cam1/data/a/b/c', 'x', { qos: 1, id: 1 }))
    await limb.ack(PUBACK, 1)
    const viewer = await connect({ username: 'viewer', password: 'x' })
    expect(await viewer.subscribe({ 'limb/bridge/a/b/c/d/e': 0 })).toEqual([128])
    expect(broker.counters.limits.topic).toBe(2)
    limb.send(publishPacket(`limb/node/cam1/data/${'é'.repeat(30)}`))
    viewer.send(subscribePacket({ [`limb/bridge/${'x'.repeat(60)}`]: 0 }))
    await Promise.all([limb.closed, viewer.closed])
    expect(broker.counters.limits.topic).toBe(4)
    expect(broker.counters).toMatchObject({ violations: 0, denied: { publish: 1, subscribe: 1 } })
    expect(log.lines.find(({ fields }) => fields.limit === 'topic')?.level).toBe('info')
  })

  test('beyond their number are denied, and there is room again after UNSUBSCRIBE', async () => {
    const { connect, broker, log } = await startWith({ maxSubscriptionsPerPrincipal: 2 })
    const viewer = await connect({ username: 'viewer', password: 'x' })
    expect(await viewer.subscribe({ 'limb/bridge/a': 0, 'limb/bridge/b': 0, 'limb/bridge/c': 0 })).toEqual([
      0, 0, 128,
    ])
    // The same filter again is none more.
    expect(await viewer.subscribe({ 'limb/bridge/a': 1 })).toEqual([1])
    expect(broker.counters.limits.principal_subscriptions).toBe(1)
    expect(log.lines.find(({ fields }) => fields.limit === 'principal_subscriptions')?.message).toBe(
      'too many subscriptions; the limit is mqtt.maxSubscriptionsPerPrincipal',
    )
    viewer.send(unsubscribePacket(['limb/bridge/a'], 5))
    await viewer.ack(UNSUBACK, 5)
    expect(await viewer.subscribe({ 'limb/bridge/c': 0 })).toEqual([0])
  })
})

describe('connections', () => {
  test('that say nothing are ended after the time to sign in, counted and logged', async () => {
    const { port, broker, log } = await startWith({ connectSeconds: 0.05 })
    const silent = await dial({ port })
    await silent.closed
    expect(broker.counters.limits.connect_time).toBe(1)
    expect(log.lines.find(({ fields }) => fields.limit === 'connect_time')).toBeDefined()
  })

  test('that send one byte of CONNECT after the other are ended no later', async () => {
    const { port, broker } = await startWith({ connectSeconds: 0.2 })
    const drip = await dial({ port })
    const bytes = connectPacket({ clientId: 'x'.repeat(100) })
    let at = 0
    const timer = setInterval(() => {
      if (at < bytes.length - 1) drip.send(bytes.subarray(at, ++at))
    }, 5)
    await drip.closed
    clearInterval(timer)
    expect(broker.counters.limits.connect_time).toBe(1)
  })

  test('with too large a packet are ended at its header, before and after sign-in, each counted', async () => {
    const { port, connect, broker } = await startWith({ maxPacketBytes: 10_000 })
    const stranger = await dial({ port })
    stranger.send(Buffer.from([0x10, 0xff, 0x7f]))
    await stranger.closed
    const limb = await connect(LIMB)
    // SUBSCRIBE; a message is read over.
    limb.send(Buffer.from([0x82, 0xff, 0x7f]))
    await limb.closed
    expect(broker.counters.limits).toMatchObject({ sign_in_bytes: 1, packet: 1 })
    expect(broker.counters.violations).toBe(0)
  })

  // In MQTT 5 the one of QoS 0 ends the connection, and the others are answered 0x97.
  in311(
    'with too large a message go on: it is dropped, acknowledged in its order, counted, and told with its topic',
    async () => {
      const { connect, broker, log } = await startWith({ maxPacketBytes: 10_000 })
      const limb = await connect(LIMB)
      const viewer = await connect({ username: 'viewer' })
      await viewer.subscribe({ 'limb/node/cam1/data/#': 0 })
      const data = (topic: string, size: number, id: number) =>
        publishPacket(`limb/node/cam1/data/${topic}`, Buffer.alloc(size, 97), { qos: 1, id })
      const packets = [
        data('a', 5, 1),
        data('picture', 300_000, 2),
        data('b', 5, 3),
        data('c', 20_000, 4),
        data('d', 1, 5),
      ]
      limb.send(publishPacket('limb/node/cam1/data/z', Buffer.alloc(50_000)), ...packets)
      const acks: number[] = []
      while (acks.length < 5) acks.push((await limb.of(PUBACK)).body.readUInt16BE(0))
      expect(acks).toEqual([1, 2, 3, 4, 5])
      const got = [await viewer.message(), await viewer.message(), await viewer.message()]
      expect(got.map(({ topic }) => topic.at(-1))).toEqual(['a', 'b', 'd'])
      expect(broker.counters.limits.packet).toBe(3)
      expect(log.lines.map(({ fields }) => fields.topic)).toContain('limb/node/cam1/data/picture')
      // Beyond what anybody sends by a slip, the connection ends at the header.
      limb.send(Buffer.from([0x32, 0xff, 0xff, 0xff, 0x7f]))
      await limb.closed
    },
  )

  in311(
    'with too large a message of QoS 2 end its handshake in its order, once, however it is sent again',
    async () => {
      const { connect, broker, core } = await startWith({ maxPacketBytes: 10_000 })
      const limb = await connect({ ...LIMB, clean: false, clientId: 'kept' })
      const viewer = await connect({ username: 'viewer' })
      await viewer.subscribe({ 'limb/node/cam1/data/#': 0 })
      const data = (leaf: string, size: number, id: number, dup = false) =>
        publishPacket(`limb/node/cam1/data/${leaf}`, Buffer.alloc(size, 97), { qos: 2, id, dup })
      limb.send(data('a', 5, 1), data('b', 50_000, 2), data('b', 50_000, 2, true), data('c', 5, 3))
      const received: number[] = []
      while (received.length < 4) received.push((await limb.of(PUBREC)).body.readUInt16BE(0))
      expect(received).toEqual([1, 2, 2, 3])
      limb.send(...[1, 2, 3].map((id) => Buffer.from([0x62, 2, 0, id])))
      for (const id of [1, 2, 3]) expect((await limb.of(PUBCOMP)).body.readUInt16BE(0)).toBe(id)
      // The identifier is free again, and says nothing of what comes next.
      limb.send(data('d', 5, 2))
      await limb.ack(PUBREC, 2)
      const got = [await viewer.message(), await viewer.message(), await viewer.message()]
      expect(got.map(({ topic }) => topic.at(-1))).toEqual(['a', 'c', 'd'])
      expect(broker.counters.limits.packet).toBe(2)
      expect(broker.counters.denied.publish).toBe(0)
      // Nothing that is read over gets past the rules for a topic.
      limb.send(data('+', 50_000, 9))
      await limb.closed
      expect(broker.counters.violations).toBe(1)
      expect(core.all('message')).toEqual([])
    },
  )

  test('with more open QoS 2 messages than allowed are ended and counted', async () => {
    const { connect, broker } = await startWith({ maxInflightPerSession: 3 })
    const limb = await connect(LIMB)
    limb.send(...[1, 2, 3, 4].map((id) => publishPacket('limb/node/cam1/data/x', 'x', { qos: 2, id })))
    await limb.closed
    expect(broker.counters.limits.inflight).toBe(1)
  })

  test('are bounded in all and per address, an IPv6 network being one; loopback is many', async () => {
    const { broker, log } = await startWith({ maxConnections: 8, maxConnectionsPerAddress: 2 })
    const attach = (address: string) => {
      const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
      broker.attach(stream, { address, local: false, transport: 'tcp' })
      return !stream.destroyed
    }
    expect(['10.0.0.1', '10.0.0.1', '10.0.0.1'].map(attach)).toEqual([true, true, false])
    expect(['2001:db8::1', '2001:db8::2', '2001:db8::3', '2001:db8:0:1::1'].map(attach)).toEqual([
      true,
      true,
      false,
      true,
    ])
    expect(['127.0.0.1', '127.0.0.1', '127.0.0.1', '127.0.0.1'].map(attach)).toEqual([
      true,
      true,
      true,
      false,
    ])
    expect(broker.counters.refused).toMatchObject({ connections: 1, connections_per_address: 2 })
    expect(log.of('warn').map(({ message }) => message)).toContain('too many connections')
  })

  // MQTT 5 sets another one instead.
  in311(
    'without a keepalive, or with too long a one, are refused, counted and told to the core',
    async () => {
      const { port, broker, core } = await startWith({ maxKeepaliveSeconds: 100 })
      for (const keepalive of [0, 101]) {
        const client = await dial({ port })
        client.send(connectPacket({ ...LIMB, keepalive }))
        expect((await client.connack()).code).toBe(2)
      }
      expect(broker.counters.refused.keepalive).toBe(2)
      expect(core.refusals.map(({ why }) => why)).toEqual(['keepalive', 'keepalive'])
    },
  )
})

test('an address that does wrong again and again gets five lines of a kind in ten seconds, then the newest and a count', async () => {
  const clock = new FakeClock()
  const { connect, broker, log } = await start({ clock })
  const denied = () => log.lines.filter(({ message }) => message.includes('denied'))
  const flood = async (times: number) => {
    for (let i = 0; i < times; i++) {
      const viewer = await connect({ username: 'viewer', password: 'x' })
      viewer.send(publishPacket('limb/node/cam1/heartbeat'), publishPacket('limb/node/cam1/heartbeat'))
      await viewer.settle()
      viewer.socket.destroy()
    }
  }
  await flood(8)
  // A session says it once, an address five times.
  expect(denied().length).toBe(5)
  clock.advance(10_000)
  await flood(8)
  expect(denied().length).toBe(10)
  // Three were held back: the newest was told when the ten seconds were over.
  expect(denied()[5]?.fields.suppressed).toBe(2)
  expect(broker.counters.denied.publish).toBe(32)
})

test('a denial says what was denied to whom, and from where', async () => {
  const { connect, log } = await start()
  const viewer = await connect({ username: 'viewer', password: 'x' })
  viewer.send(publishPacket('limb/node/cam1/heartbeat'))
  await viewer.settle()
  const limb = await connect(LIMB)
  await limb.subscribe({ 'limb/#': 0 })
  const stranger = await connect({ username: 'nobody' })
  stranger.send(publishPacket('x'))
  await stranger.settle()
  await connect({
    username: 'viewer',
    password: 'x',
    clientId: 'v',
    will: { topic: 'limb/node/cam1/status', payload: '' },
  })
  expect(log.lines.filter(({ message }) => message.includes('denied'))).toMatchObject([
    {
      message: 'publish to limb/node/cam1/heartbeat denied: viewer (viewer) from 127.0.0.1',
      fields: { principal: 'viewer', who: 'principal', what: 'publish' },
    },
    { message: 'subscribe to limb/# denied: cam1 (limb) from 127.0.0.1', fields: { nodeId: 'cam1' } },
    { message: 'publish to x denied: nobody (candidate) from 127.0.0.1', fields: { nodeId: 'nobody' } },
    { message: 'will to limb/node/cam1/status denied: viewer (viewer) from 127.0.0.1' },
  ])
})
