import { describe, expect, test } from 'vitest'
import { start, turn } from './fixture.ts'
import {
  CONNACK,
  connectPacket,
  DISCONNECT,
  dial,
  id,
  PINGREQ,
  PUBACK,
  packet,
  publishPacket,
  subscribePacket,
  text,
} from './wire.ts'

const violations: [string, Buffer][] = [
  ['a topic with NUL', publishPacket('limb/node/cam1/data/\0')],
  ['a topic that is not UTF-8', publishPacket(Buffer.from([0x61, 0xff]))],
  ['a topic with a wildcard', publishPacket('limb/+')],
  ['packet identifier 0', publishPacket('a', '', { qos: 1, id: 0 })],
  ['the filter a+', subscribePacket({ 'a+': 0 })],
  ['the filter a#', subscribePacket({ 'a#': 0 })],
  ['a second CONNECT', connectPacket()],
  ['a CONNACK', packet(0x20, id(0))],
  ['a length of five bytes', Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01])],
]

describe('a violation ends that connection and nothing else', () => {
  test.each(violations)('%s', async (_, bytes) => {
    const { connect, broker, core } = await start()
    const healthy = await connect({ username: 'cam2', password: 'key' })
    const broken = await connect({ username: 'cam1', password: 'key' })
    broken.send(bytes)
    await broken.closed
    const { why } = await core.until('closed')
    expect(why).toBe('lost')
    healthy.send(publishPacket('limb/node/cam2/heartbeat', '', { qos: 1, id: 7 }))
    await healthy.ack(PUBACK, 7)
    expect(broker.counters.violations).toBe(1)
  })
})

describe('before CONNACK', () => {
  test.each([
    ['anything but CONNECT', PINGREQ],
    ['a PUBLISH', publishPacket('a')],
    // One of MQTT 5 has an answer: see mqtt5/farewells.test.ts.
    [
      'a CONNECT of more than 4 KiB',
      connectPacket({ will: { topic: 'a', payload: 'x'.repeat(5000) }, level: 4 }),
    ],
    ['a header that promises too much', Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f])],
    ['a body of 200 MiB', Buffer.from([0x30, 0x80, 0x80, 0x80, 0x64, 0, 1])],
  ])('%s ends the connection without an answer', async (_, bytes) => {
    const { port, core } = await start()
    const client = await dial({ port })
    client.send(bytes)
    await client.closed
    expect(client.packets).toEqual([])
    expect(core.admitted).toEqual([])
  })

  test.each([
    [2, 'MQTT', '20020001'],
    [4, 'MQIsdp', '20020001'],
    [6, 'MQTT', '2003008400'],
  ])(
    'level %i of %s is refused in the form that its client understands',
    async (level, protocol, connack) => {
      const { port, broker, log } = await start()
      const client = await dial({ port })
      const bytes: Buffer[] = []
      client.socket.on('data', (chunk) => bytes.push(chunk))
      client.send(connectPacket({ level, protocol }))
      await client.closed
      expect(Buffer.concat(bytes).toString('hex')).toBe(connack)
      expect(broker.counters.refused.protocol_version).toBe(1)
      expect(log.of('warn')).toMatchObject([
        { fields: { protocolVersion: level }, message: expect.stringContaining('MQTT 3.1.1') },
      ])
    },
  )

  test('MQTT 3.1 may set the bits that it leaves unused', async () => {
    const { port } = await start()
    const client = await dial({ port })
    const bytes = connectPacket({ clientId: 'viewer', level: 3, protocol: 'MQIsdp' })
    bytes[0] = 0x1f
    bytes[2 + 2 + 'MQIsdp'.length + 1] = 0x03
    client.send(bytes)
    expect(await client.connack()).toEqual({ code: 0, present: false })
  })

  test('a client that says nothing is closed after the connect timeout', async () => {
    const { port } = await start({ limits: { connectSeconds: 0.05 } })
    const silent = await dial({ port })
    const slow = await dial({ port })
    slow.send(connectPacket().subarray(0, 9))
    await Promise.all([silent.closed, slow.closed])
  })

  test('what a client sends with its CONNECT waits for CONNACK, and is handled in order', async () => {
    const { port, core } = await start()
    let decide = () => {}
    const decided = new Promise<void>((resolve) => {
      decide = resolve
    })
    core.onAdmit = async () => {
      await decided
      return undefined
    }
    const client = await dial({ port })
    const beats = Array.from({ length: 60 }, (_, i) =>
      publishPacket('limb/node/cam1/heartbeat', `${i}`, { qos: 1, id: i + 1 }),
    )
    client.send(connectPacket({ username: 'cam1', password: 'key' }), ...beats.slice(0, 30))
    await turn()
    client.send(...beats.slice(30))
    await turn()
    expect(core.heartbeats).toBe(0)
    expect(client.packets).toEqual([])
    decide()
    await client.ack(PUBACK, 60)
    expect(client.packets[0]?.type).toBe(CONNACK)
    expect(core.events[0]?.kind).toBe('opened')
    expect(core.all('heartbeat').map((event) => event.payload)).toEqual(beats.map((_, i) => `${i}`))
  })

  test('a refused client gets nothing done of what it sent along', async () => {
    const { port, core } = await start()
    const client = await dial({ port })
    client.send(
      connectPacket({ username: 'cam1', password: 'wrong' }),
      publishPacket('limb/node/cam1/register', '{}'),
    )
    expect((await client.connack()).code).toBe(4)
    await client.closed
    expect(core.all('message')).toEqual([])
    expect(core.all('opened')).toEqual([])
  })
})

describe('after CONNACK', () => {
  test('a packet larger than the limit that is not read over ends the connection at its header', async () => {
    const { connect } = await start({ limits: { maxPacketBytes: 1000, maxCandidatePacketBytes: 500 } })
    const limb = await connect({ username: 'cam1', password: 'key' })
    limb.send(publishPacket('limb/node/cam1/data/x', Buffer.alloc(900), { qos: 1, id: 1 }))
    await limb.ack(PUBACK, 1)
    // SUBSCRIBE; a message is read over.
    limb.send(Buffer.from([0x82, 0xe9, 0x07]))
    await limb.closed
    const candidate = await connect({ username: 'cam2' })
    candidate.send(Buffer.from([0x30, 0xf5, 0x03]))
    await candidate.closed
  })

  test('a packet may come byte by byte', async () => {
    const { connect, core } = await start()
    const limb = await connect({ username: 'cam1', password: 'key' })
    for (const byte of publishPacket('limb/node/cam1/heartbeat', 'x', { qos: 1, id: 3 })) {
      limb.send(Buffer.from([byte]))
      await turn()
    }
    await limb.ack(PUBACK, 3)
    expect(core.heartbeats).toBe(1)
  })

  test('DISCONNECT is told from a lost connection', async () => {
    const { connect, core } = await start()
    const polite = await connect({ username: 'cam1', password: 'key' })
    polite.send(publishPacket('limb/node/cam1/heartbeat'), DISCONNECT)
    await polite.closed
    const cut = await connect({ username: 'cam2', password: 'key' })
    cut.cut()
    await core.until('closed', (event) => event.session.identity.kind === 'limb' && event.why === 'lost')
    expect(core.all('closed').map((event) => event.why)).toEqual(['disconnect', 'lost'])
    expect(core.heartbeats).toBe(1)
  })
})

test('connections that send much before they sign in cost no memory', async () => {
  const { port, broker } = await start()
  const before = process.memoryUsage().rss
  const header = Buffer.from([0x10, 0x80, 0x80, 0x80, 0x64])
  const body = Buffer.concat([text('MQTT'), Buffer.alloc(256 * 1024)])
  const clients = await Promise.all(Array.from({ length: 50 }, () => dial({ port })))
  for (const client of clients) {
    client.send(header)
    for (let i = 0; i < 20 && !client.isClosed; i++) client.socket.write(body)
  }
  await Promise.all(clients.map((client) => client.closed))
  while (broker.counters.connections.tcp > 0) await turn()
  expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024)
})

test.each([
  ['v1', Buffer.from('PROXY TCP4 10.0.0.7 10.0.0.1 4711 1883\r\n')],
  ['v2', Buffer.from('0d0a0d0a000d0a515549540a2111000c0a0000070a000001126707 5b'.replace(' ', ''), 'hex')],
])(
  'a header of the PROXY protocol (%s) that nobody asked for is named in the log',
  async (version, header) => {
    const { port, log } = await start()
    const client = await dial({ port })
    client.send(header, connectPacket())
    await client.closed
    expect(log.lines.map(({ fields }) => fields.fault)).toContain(
      `a header of the PROXY protocol (${version}), which this listener does not take from there: turn it off in the proxy, or name the proxy in proxyNetworks`,
    )
  },
)
