import { describe, expect, test } from 'vitest'
import { type Running, start } from '../fixture.ts'
import { PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, packet } from '../wire.ts'
import {
  ack5,
  answer5,
  codes5,
  disconnect5,
  farewell5,
  joined5,
  message5,
  nextMessage,
  open5,
  props,
  publish5,
  subscribe5,
  subscribed,
  unsubscribed,
} from './wire5.ts'

const DISCONNECT = 14
const GRANTS = [{ to: 'viewer', publish: ['t/#', 'w'], subscribe: ['t/#', 'w'] }]
const five = (limits = {}): Promise<Running> =>
  start({ grants: GRANTS, limits: { versions: [3, 4, 5], ...limits } })
const admin = { username: 'admin1' }

describe('CONNACK', () => {
  test('tells the limits of the bridge, and the id that it chose', async () => {
    const { connack } = await open5(await five(), { ...admin, clientId: '' })
    expect(connack).toMatchObject({ code: 0, present: false })
    expect(connack.properties).toMatchObject({ '21': [100], '27': [1310720], '22': [10] })
    expect(connack.properties['12']).toEqual([expect.stringMatching(/^auto-/)])
  })

  test('sets a keepalive in place of one that is too long, or of none', async () => {
    const bridge = await five({ maxKeepaliveSeconds: 100 })
    for (const keepalive of [0, 5000]) {
      const { connack } = await open5(bridge, { ...admin, keepalive })
      expect(connack.properties['13']).toEqual([100])
    }
    expect((await open5(bridge, { ...admin, keepalive: 50 })).connack.properties).not.toHaveProperty('13')
  })

  test('tells who is refused why', async () => {
    const { client, connack } = await open5(await five(), { username: 'admin1', password: 'wrong' })
    expect(connack).toMatchObject({ code: 0x86, properties: { '1f': ['wrong password'] } })
    await client.closed
  })

  test('refuses enhanced authentication', async () => {
    const properties = props().text(0x15, 'SCRAM-SHA-1').bytes()
    const { client, connack } = await open5(await five(), { ...admin, properties })
    expect(connack.code).toBe(0x8c)
    await client.closed
  })

  test('says what response topics a principal has, when it asks', async () => {
    const properties = props().byte(0x19, 1).bytes()
    const { connack } = await open5(await five(), { ...admin, properties })
    expect(connack.properties['1a']).toEqual(['limb/principal/admin1/response'])
  })

  test('is 0x84 where the configuration leaves MQTT 5 out', async () => {
    const { client, connack } = await open5(await start({ limits: { versions: [3, 4] } }), admin)
    expect(connack.code).toBe(0x84)
    await client.closed
  })
})

describe('messages', () => {
  test('go from MQTT 5 to 3.1.1 and back, at every QoS', async () => {
    const bridge = await five()
    const old = await bridge.connect({ username: 'viewer1' })
    const young = await joined5(bridge, { username: 'viewer2' })
    expect(await old.subscribe({ 't/#': 2 })).toEqual([2])
    expect(await subscribed(young, [['t/#', 2]])).toEqual([2])
    for (const qos of [0, 1, 2] as const) {
      young.send(publish5(`t/${qos}`, 'hi', { qos, id: 7 }))
      expect(await old.message()).toMatchObject({ topic: `t/${qos}`, text: 'hi', qos })
      const copy = await nextMessage(young)
      expect(copy).toMatchObject({ topic: `t/${qos}`, text: 'hi', qos, properties: {} })
      if (qos === 1) {
        expect(answer5(await young.of(PUBACK))).toMatchObject({ id: 7, code: 0 })
        young.send(ack5(0x40, copy.id))
      }
      if (qos === 2) {
        expect(answer5(await young.of(PUBREC))).toMatchObject({ id: 7, code: 0 })
        young.send(ack5(0x62, 7), ack5(0x50, copy.id))
        expect(answer5(await young.of(PUBCOMP))).toMatchObject({ id: 7, code: 0 })
        expect(answer5(await young.of(PUBREL))).toMatchObject({ id: copy.id, code: 0 })
        young.send(ack5(0x70, copy.id))
      }
    }
    young.send(PINGREQ)
    await young.of(PINGRESP)
    expect(bridge.log.of('error')).toEqual([])
  })

  test('keep their properties, in their order', async () => {
    const bridge = await five()
    const client = await joined5(bridge, { username: 'viewer1' })
    await subscribed(client, [['t/#', 0]])
    const user = (name: string, value: string) =>
      Buffer.concat([
        props().text(0x26, name).bytes().subarray(1),
        props().text(0, value).bytes().subarray(2),
      ])
    const properties = props()
      .raw(user('z', '1'))
      .byte(0x01, 1)
      .text(0x03, 'text/plain')
      .raw(user('a', '2'))
      .text(0x08, 't/answer')
      .text(0x09, 'corr')
      .raw(user('z', '3'))
      .bytes()
    client.send(publish5('t/x', 'hi', { properties }))
    expect((await nextMessage(client)).properties).toEqual({
      '26': ['z=1', 'a=2', 'z=3'],
      '1': [1],
      '3': ['text/plain'],
      '8': ['t/answer'],
      '9': ['corr'],
    })
  })

  test('nobody is subscribed to are acknowledged with 0x10', async () => {
    const client = await joined5(await five(), { username: 'viewer1' })
    client.send(publish5('t/x', '', { qos: 1, id: 1 }), publish5('t/x', '', { qos: 2, id: 2 }))
    expect(answer5(await client.of(PUBACK)).code).toBe(0x10)
    expect(answer5(await client.of(PUBREC)).code).toBe(0x10)
  })

  test('that are denied are acknowledged with 0x87 and the reason, and the connection stays', async () => {
    const client = await joined5(await five(), { username: 'viewer1' })
    client.send(
      publish5('limb/node/x/state', '', { qos: 1, id: 1 }),
      publish5('other', '', { qos: 2, id: 2 }),
    )
    const puback = answer5(await client.of(PUBACK))
    expect(puback).toMatchObject({ id: 1, code: 0x87 })
    expect(puback.properties['1f']).toEqual([expect.stringContaining('mqtt.grants')])
    expect(answer5(await client.of(PUBREC))).toMatchObject({ id: 2, code: 0x87 })
    // The refused message has no second half: its identifier is free.
    client.send(publish5('t/x', '', { qos: 2, id: 2 }))
    expect(answer5(await client.of(PUBREC))).toMatchObject({ id: 2, code: 0x10 })
  })

  test('have no reason string where the client wants none', async () => {
    const properties = props().byte(0x17, 0).bytes()
    const client = await joined5(await five(), { username: 'viewer1', properties })
    client.send(publish5('other', '', { qos: 1, id: 1 }))
    expect(answer5(await client.of(PUBACK))).toEqual({ id: 1, code: 0x87, properties: {} })
  })

  test('come by an alias once the topic had one', async () => {
    const client = await joined5(await five(), { username: 'viewer1' })
    await subscribed(client, [['t/#', 0]])
    const properties = props().uint16(0x23, 5).bytes()
    client.send(publish5('t/x', '1', { properties }), publish5('', '2', { properties }))
    expect(await nextMessage(client)).toMatchObject({ topic: 't/x', text: '1', properties: {} })
    expect(await nextMessage(client)).toMatchObject({ topic: 't/x', text: '2', properties: {} })
  })

  test('go out by an alias to who takes aliases', async () => {
    const bridge = await five()
    const properties = props().uint16(0x22, 1).bytes()
    const client = await joined5(bridge, { username: 'viewer1', properties })
    await subscribed(client, [['t/#', 0]])
    client.send(publish5('t/x', '1'), publish5('t/x', '2'), publish5('t/y', '3'))
    expect(await nextMessage(client)).toMatchObject({ topic: 't/x', text: '1', properties: { '23': [1] } })
    expect(await nextMessage(client)).toMatchObject({ topic: '', text: '2', properties: { '23': [1] } })
    expect(await nextMessage(client)).toMatchObject({ topic: 't/y', text: '3', properties: {} })
  })

  test('larger than the client takes are left out, and the next ones come', async () => {
    const bridge = await five()
    const properties = props().uint32(0x27, 60).bytes()
    const client = await joined5(bridge, { username: 'viewer1', properties })
    await subscribed(client, [['t/#', 1]])
    const other = await joined5(bridge, { username: 'viewer2' })
    other.send(
      publish5('t/x', 'x'.repeat(100), { qos: 1, id: 1 }),
      publish5('t/x', 'small', { qos: 1, id: 2 }),
    )
    expect((await nextMessage(client)).text).toBe('small')
    expect(bridge.broker.counters.undelivered).toBe(1)
  })

  test('wait when the client has as many under way as it takes', async () => {
    const bridge = await five()
    const properties = props().uint16(0x21, 2).bytes()
    const client = await joined5(bridge, { username: 'viewer1', properties })
    await subscribed(client, [['t/#', 1]])
    const other = await joined5(bridge, { username: 'viewer2' })
    for (let i = 1; i <= 4; i++) other.send(publish5('t/x', `${i}`, { qos: 1, id: i }))
    for (let i = 1; i <= 4; i++) await other.of(PUBACK)
    const first = await nextMessage(client)
    await nextMessage(client)
    client.send(PINGREQ)
    await client.of(PINGRESP)
    expect(client.packets.filter(({ type }) => type === PUBLISH)).toEqual([])
    client.send(ack5(0x40, first.id))
    expect((await nextMessage(client)).text).toBe('3')
  })

  test('beyond the receive maximum of the bridge end the connection with 0x93', async () => {
    const bridge = await five({ maxInflightPerSession: 2 })
    const client = await joined5(bridge, { username: 'viewer1' })
    for (let i = 1; i <= 3; i++) client.send(publish5('t/x', '', { qos: 2, id: i }))
    expect(farewell5(await client.of(DISCONNECT)).code).toBe(0x93)
    await client.closed
    expect(bridge.broker.counters).toMatchObject({ violations: 0, limits: { inflight: 1 } })
  })

  test('of a candidate may be as many as CONNACK says, which is told when there are more', async () => {
    const bridge = await five({ maxCandidateInflight: 2 })
    const { client, connack } = await open5(bridge, { username: 'new1' })
    expect(connack.properties['21']).toEqual([2])
    for (let i = 1; i <= 3; i++) client.send(publish5('limb/node/new1/register', '', { qos: 2, id: i }))
    expect(farewell5(await client.of(DISCONNECT)).code).toBe(0x93)
    await client.closed
    expect(bridge.broker.counters.limits.inflight).toBe(1)
  })
})

describe('subscriptions', () => {
  test('that are denied have 0x87 each, the others stand', async () => {
    const client = await joined5(await five(), { username: 'viewer1' })
    client.send(
      subscribe5(
        [
          ['t/a', 1],
          ['other/#', 1],
          ['t/a', 2],
        ],
        3,
      ),
    )
    const { codes, properties } = codes5(await client.of(9))
    expect(codes).toEqual([2, 0x87, 2])
    expect(properties['1f']).toEqual([expect.stringContaining('mqtt.grants')])
  })

  test('have identifiers, all of which come with one copy', async () => {
    const client = await joined5(await five(), { username: 'viewer1' })
    await subscribed(client, [['t/#', 1]], props().varint(0x0b, 7).bytes())
    await subscribed(client, [['t/x', 0]], props().varint(0x0b, 300).bytes())
    client.send(publish5('t/x', 'hi', { qos: 1, id: 1 }))
    const copy = await nextMessage(client)
    expect(copy).toMatchObject({ qos: 1, text: 'hi' })
    expect((copy.properties.b as number[]).toSorted()).toEqual([300, 7].toSorted())
    client.send(PINGREQ)
    await client.of(PINGRESP)
    expect(client.packets.filter(({ type }) => type === PUBLISH)).toEqual([])
  })

  test('may leave out what the client itself publishes', async () => {
    const bridge = await five()
    const client = await joined5(bridge, { username: 'viewer1' })
    const other = await joined5(bridge, { username: 'viewer2' })
    await subscribed(client, [['t/#', 4]])
    client.send(publish5('t/x', 'own'))
    other.send(publish5('t/x', 'foreign'))
    expect((await nextMessage(client)).text).toBe('foreign')
  })

  test('keep the retain flag where they ask for it', async () => {
    const client = await joined5(await five(), { username: 'viewer1' })
    await subscribed(client, [['t/#', 8]])
    client.send(publish5('t/x', 'a', { retain: true }), publish5('t/x', 'b'))
    expect(await nextMessage(client)).toMatchObject({ text: 'a', retain: true })
    expect(await nextMessage(client)).toMatchObject({ text: 'b', retain: false })
  })

  test('get what is retained always, when they are new, or never', async () => {
    const bridge = await five()
    const client = await joined5(bridge, { username: 'viewer1' })
    client.send(
      publish5('t/x', 'kept', { qos: 1, id: 1, retain: true, properties: props().text(3, 'j').bytes() }),
    )
    await client.of(PUBACK)
    const got = async (options: number) => {
      await subscribed(client, [['t/x', options]])
      client.send(publish5('t/end', ''), PINGREQ)
      await client.of(PINGRESP)
      await new Promise((resolve) => setImmediate(resolve))
      client.send(PINGREQ)
      await client.of(PINGRESP)
      return client.packets
        .splice(0)
        .filter(({ type }) => type === PUBLISH)
        .map(message5)
    }
    expect(await got(0x20)).toEqual([])
    expect(await got(0x10)).toEqual([])
    expect(await got(0x00)).toMatchObject([{ text: 'kept', retain: true, properties: { '3': ['j'] } }])
    expect(await unsubscribed(client, ['t/x', 't/none'])).toEqual([0, 0x11])
    expect(await got(0x10)).toMatchObject([{ text: 'kept', retain: true }])
  })
})

describe('a message above the maximum packet size', () => {
  test('is read over at QoS 1 and 2, and its answer says that it was dropped; its alias counts', async () => {
    const bridge = await five({ maxPacketBytes: 10_000 })
    const client = await joined5(bridge, { username: 'viewer1' })
    await subscribed(client, [['t/#', 0]])
    const alias = props().uint16(0x23, 4).bytes()
    const large = 'x'.repeat(200_000)
    client.send(
      publish5('t/a', 'a', { qos: 1, id: 1 }),
      publish5('t/b', large, { qos: 1, id: 2, properties: alias }),
      publish5('t/c', large, { qos: 2, id: 3, properties: props().text(3, 'text/plain').bytes() }),
      publish5('', 'b', { qos: 1, id: 4, properties: alias }),
    )
    const answers = [await client.of(PUBACK), await client.of(PUBACK), await client.of(PUBREC)].map(answer5)
    expect(answers.map(({ id, code }) => [id, code])).toEqual([
      [1, 0],
      [2, 0x97],
      [3, 0x97],
    ])
    for (const { properties } of answers.slice(1)) {
      expect(properties['1f']).toEqual([
        expect.stringMatching(/^the packet is too large and was dropped: 2000\d\d bytes, at most 10000$/),
      ])
    }
    expect(answer5(await client.of(PUBACK))).toMatchObject({ id: 4, code: 0 })
    expect(await nextMessage(client)).toMatchObject({ topic: 't/a', text: 'a' })
    expect(await nextMessage(client)).toMatchObject({ topic: 't/b', text: 'b' })
    // PUBREC of a failure ends the handshake: the identifier is free.
    client.send(publish5('t/c', 'c', { qos: 2, id: 3 }))
    expect(answer5(await client.of(PUBREC))).toMatchObject({ id: 3, code: 0 })
    expect(bridge.broker.counters.limits.packet).toBe(2)
    expect(bridge.broker.counters.violations).toBe(0)
  })

  test.each([
    ['at QoS 0, which has no other answer', { qos: 0 as const }, 0x95],
    [
      'with properties that nobody reads to their end',
      { qos: 1 as const, properties: props().text(3, 'x'.repeat(65_000)).text(8, 'y'.repeat(9000)).bytes() },
      0x95,
    ],
    [
      'with an alias above the maximum',
      { qos: 1 as const, properties: props().uint16(0x23, 11).bytes() },
      0x94,
    ],
  ])('ends the session %s', async (_what, options, code) => {
    const bridge = await five({ maxPacketBytes: 10_000 })
    const client = await joined5(bridge, { username: 'viewer1' })
    client.send(publish5('t/a', 'x'.repeat(200_000), options))
    expect(farewell5(await client.of(DISCONNECT)).code).toBe(code)
    await client.closed
  })
})

describe('the end of a connection', () => {
  test.each([
    ['a malformed packet', packet(0x82, Buffer.from([0, 1, 0])), 0x82],
    ['a second CONNECT', packet(0x10, Buffer.from([0])), 0x82],
    ['AUTH', Buffer.from([0xf0, 0]), 0x82],
    ['a packet that only a server sends', Buffer.from([0xd0, 0]), 0x81],
    [
      'an alias above the maximum',
      publish5('t/x', '', { properties: props().uint16(0x23, 11).bytes() }),
      0x94,
    ],
    ['an alias that nobody gave', publish5('', '', { properties: props().uint16(0x23, 3).bytes() }), 0x82],
    ['a length of five bytes', Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 1]), 0x81],
    ['a packet that is too large', Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]), 0x95],
  ])('comes with a reason after %s', async (_what, bytes, code) => {
    const bridge = await five()
    const client = await joined5(bridge, { username: 'viewer1' })
    client.send(bytes)
    const { code: found, properties } = farewell5(await client.of(DISCONNECT))
    expect(found).toBe(code)
    expect(properties['1f']).toEqual([expect.any(String)])
    await client.closed
    expect(bridge.log.of('error')).toEqual([])
  })

  test('says that a newer session took over', async () => {
    const bridge = await five()
    const older = await joined5(bridge, { username: 'viewer1', clientId: 'one' })
    await joined5(bridge, { username: 'viewer1', clientId: 'one' })
    expect(farewell5(await older.of(DISCONNECT)).code).toBe(0x8e)
  })

  test('says that the bridge stops', async () => {
    const bridge = await five()
    const client = await joined5(bridge, { username: 'viewer1' })
    await bridge.stop()
    expect(farewell5(await client.of(DISCONNECT)).code).toBe(0x8b)
  })

  test('sends the will after any code but 0, with its properties', async () => {
    const bridge = await five()
    const watcher = await joined5(bridge, { username: 'viewer2' })
    await subscribed(watcher, [['w', 1]])
    const will = { topic: 'w', payload: 'gone', qos: 1, properties: props().text(3, 'text/plain').bytes() }
    const normal = await joined5(bridge, { username: 'viewer1', will: { ...will, payload: 'never' } })
    normal.send(disconnect5(0))
    await normal.closed
    const other = await joined5(bridge, { username: 'viewer1', will })
    other.send(disconnect5(4))
    expect(await nextMessage(watcher)).toMatchObject({ text: 'gone', properties: { '3': ['text/plain'] } })
  })
})

describe('a session', () => {
  const lasting = props().uint32(0x11, 100).bytes()

  test('lasts as long as it asks, with its options, queue and properties', async () => {
    const bridge = await five()
    const first = await joined5(bridge, { username: 'viewer1', clientId: 'p', properties: lasting })
    await subscribed(first, [['t/#', 1]], props().varint(0x0b, 5).bytes())
    first.send(disconnect5(0))
    await first.closed
    const other = await joined5(bridge, { username: 'viewer2' })
    other.send(publish5('t/x', 'queued', { qos: 1, id: 1, properties: props().text(3, 'j').bytes() }))
    expect(answer5(await other.of(PUBACK)).code).toBe(0)
    const { client, connack } = await open5(bridge, {
      username: 'viewer1',
      clientId: 'p',
      cleanStart: false,
      properties: lasting,
    })
    expect(connack.present).toBe(true)
    expect(await nextMessage(client)).toMatchObject({ text: 'queued', properties: { '3': ['j'], b: [5] } })
  })

  test('ends with clean start, and is there no more', async () => {
    const bridge = await five()
    const first = await joined5(bridge, { username: 'viewer1', clientId: 'p', properties: lasting })
    await subscribed(first, [['t/#', 1]])
    first.cut()
    await first.closed
    const second = await open5(bridge, { username: 'viewer1', clientId: 'p', properties: lasting })
    expect(second.connack.present).toBe(false)
    second.client.send(publish5('t/x', '', { qos: 1, id: 1 }))
    expect(answer5(await second.client.of(PUBACK)).code).toBe(0x10)
  })

  test('is told when it may not last as long as it asks', async () => {
    const bridge = await five({ sessionExpirySeconds: 50 })
    const { connack } = await open5(bridge, { username: 'viewer1', properties: lasting })
    expect(connack.properties['11']).toEqual([50])
  })

  test('that is resumed without an expiry ends with its connection', async () => {
    const bridge = await five()
    const first = await joined5(bridge, { username: 'viewer1', clientId: 'p', properties: lasting })
    first.send(disconnect5(0))
    await first.closed
    const second = await open5(bridge, { username: 'viewer1', clientId: 'p', cleanStart: false })
    expect(second.connack.present).toBe(true)
    second.client.send(disconnect5(0))
    await second.client.closed
    const third = await open5(bridge, { username: 'viewer1', clientId: 'p', cleanStart: false })
    expect(third.connack.present).toBe(false)
  })

  test('ends by DISCONNECT with an expiry of 0, and gets none where it had none', async () => {
    const bridge = await five()
    const first = await joined5(bridge, { username: 'viewer1', clientId: 'p', properties: lasting })
    first.send(disconnect5(0, props().uint32(0x11, 0).bytes()))
    await first.closed
    const second = await open5(bridge, { username: 'viewer1', clientId: 'p', cleanStart: false })
    expect(second.connack.present).toBe(false)
    second.client.send(disconnect5(0, props().uint32(0x11, 9).bytes()))
    expect(farewell5(await second.client.of(DISCONNECT)).code).toBe(0x82)
  })
})

test('messages of QoS 0 before one of QoS 1 take no place of the receive maximum', async () => {
  const bridge = await start({ grants: GRANTS, limits: { versions: [3, 4, 5], maxInflightPerSession: 10 } })
  const client = await joined5(bridge, { username: 'viewer1' })
  const retained = Array.from({ length: 60 }, (_, i) => publish5(`t/${i}`, 'x', { retain: true }))
  const acknowledged = Array.from({ length: 10 }, (_, i) => publish5('t/x', 'y', { qos: 1, id: i + 1 }))
  client.send(Buffer.concat([...retained, ...acknowledged]))
  for (const _ of acknowledged) await client.of(PUBACK)
  client.send(PINGREQ)
  await client.of(PINGRESP)
})
