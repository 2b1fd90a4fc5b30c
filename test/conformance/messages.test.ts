import { describe, expect, test } from 'vitest'
import {
  id,
  PUBACK,
  PUBCOMP,
  PUBREC,
  packet,
  publishPacket,
  SUBACK,
  subscribePacket,
  text,
  UNSUBACK,
  unsubscribePacket,
} from '../broker/wire.ts'
import { bridge, ROOT, unique } from './fixture.ts'

const { connect } = bridge()

type Qos = 0 | 1 | 2

describe('QoS', () => {
  const pairs = ([0, 1, 2] as const).flatMap((sent) =>
    ([0, 1, 2] as const).map((granted) => [sent, granted] as const),
  )

  test.each(pairs)(
    '[MQTT-3.8.4-6] sent at %i and granted %i, a message has the lower one',
    async (sent, granted) => {
      const client = await connect()
      const topic = `t/${unique()}`
      expect(await client.subscribe({ [topic]: granted })).toEqual([granted])
      client.send(publishPacket(topic, 'x', { qos: sent, id: 3 }))
      if (sent === 1) await client.ack(PUBACK, 3)
      if (sent === 2) {
        await client.ack(PUBREC, 3)
        client.send(packet(0x62, id(3)))
        await client.ack(PUBCOMP, 3)
      }
      const message = await client.message(topic)
      expect(message).toMatchObject({ qos: Math.min(sent, granted), dup: false, retain: false, text: 'x' })
    },
  )

  test('[MQTT-4.3.3-2] QoS 2 is delivered once, however often it is sent before PUBREL', async () => {
    const client = await connect()
    await client.subscribe({ 't/dup': 2 })
    const copy = (dup: boolean) => publishPacket('t/dup', 'x', { qos: 2, id: 4, dup })
    client.send(copy(false), copy(true), copy(true))
    for (let i = 0; i < 3; i++) await client.ack(PUBREC, 4)
    client.send(packet(0x62, id(4)))
    await client.ack(PUBCOMP, 4)
    await client.message()
    await client.settle()
    expect(client.messages).toEqual([])
    // After PUBCOMP the identifier is free again.
    client.send(copy(false))
    expect((await client.message()).text).toBe('x')
  })

  test('[MQTT-4.3.3-2] PUBREL of an unknown identifier gets PUBCOMP', async () => {
    const client = await connect()
    client.send(packet(0x62, id(77)), packet(0x62, id(77)))
    await client.ack(PUBCOMP, 77)
    await client.ack(PUBCOMP, 77)
  })

  test('[MQTT-3.3.1-3] DUP of the publisher goes no further', async () => {
    const client = await connect()
    await client.subscribe({ 't/flag': 1 })
    client.send(publishPacket('t/flag', 'x', { qos: 1, id: 1, dup: true }))
    expect((await client.message()).dup).toBe(false)
  })

  test('[MQTT-4.6.0-2, MQTT-4.6.0-5] messages and acknowledgements keep their order', async () => {
    const client = await connect()
    await client.subscribe({ 't/order': 1 })
    const ids = Array.from({ length: 50 }, (_, i) => i + 1)
    client.send(...ids.map((n) => publishPacket('t/order', `${n}`, { qos: 1, id: n })))
    for (const n of ids) expect((await client.message()).text).toBe(`${n}`)
    const acked: number[] = []
    for (const _ of ids) acked.push((await client.of(PUBACK)).body.readUInt16BE(0))
    expect(acked).toEqual(ids)
  })

  test('[MQTT-3.3.5-2] a message that is not allowed is acknowledged and goes nowhere', async () => {
    const client = await connect()
    client.send(publishPacket(`${ROOT}/bridge/status`, 'x', { qos: 1, id: 1, retain: true }))
    client.send(publishPacket('$SYS/broker/x', 'x', { qos: 2, id: 2 }))
    await client.ack(PUBACK, 1)
    await client.ack(PUBREC, 2)
    expect(await client.subscribe({ [`${ROOT}/bridge/status`]: 0 })).toEqual([0])
    expect((await client.message()).text).toBe('online')
  })
})

describe('retained messages', () => {
  test('[MQTT-3.3.1-6, MQTT-3.3.1-8, MQTT-3.3.1-9] come with RETAIN to a new subscription, without it to an old one', async () => {
    const client = await connect()
    const topic = `t/${unique()}/r`
    await client.subscribe({ [topic]: 1 })
    client.send(publishPacket(topic, 'kept', { qos: 1, id: 1, retain: true }))
    expect(await client.message()).toMatchObject({ text: 'kept', retain: false })
    const later = await connect()
    await later.subscribe({ [topic]: 1 })
    expect(await later.message()).toMatchObject({ text: 'kept', retain: true, qos: 1 })
  })

  test.each([0, 1, 2] as const)(
    '[MQTT-3.3.1-9] one that is published right behind SUBSCRIBE, at QoS %i, comes once',
    async (qos) => {
      const client = await connect()
      const base = `t/${unique()}`
      client.send(publishPacket(`${base}/z`, 'last', { qos: 1, id: 1, retain: true }))
      await client.ack(PUBACK, 1)
      client.send(
        subscribePacket({ [`${base}/#`]: 1 }, 2),
        publishPacket(`${base}/a`, 'new', { qos, id: 3, retain: true }),
      )
      const got: { topic: string; retain: boolean }[] = []
      while (!(got.some(({ retain }) => !retain) && got.some(({ topic }) => topic === `${base}/z`))) {
        const { topic, retain } = await client.message()
        got.push({ topic, retain })
      }
      expect(got.filter(({ topic }) => topic === `${base}/a`)).toEqual([
        { topic: `${base}/a`, retain: false },
      ])
      const later = await connect()
      await later.subscribe({ [`${base}/a`]: 0 })
      expect(await later.message()).toMatchObject({ text: 'new', retain: true })
    },
  )

  test('[MQTT-3.3.1-9] one that came live comes with RETAIN to a SUBSCRIBE that follows it', async () => {
    const client = await connect()
    const topic = `t/${unique()}`
    await client.subscribe({ [topic]: 1 })
    client.send(publishPacket(topic, 'new', { qos: 1, id: 3, retain: true }))
    expect(await client.message()).toMatchObject({ text: 'new', retain: false })
    client.send(subscribePacket({ [topic]: 1 }, 4), subscribePacket({ [topic]: 1 }, 5))
    for (let i = 0; i < 2; i++) {
      expect(await client.message()).toMatchObject({ text: 'new', retain: true })
    }
  })

  test('[MQTT-3.8.4-3] come again when a subscription is repeated', async () => {
    const client = await connect()
    const topic = `t/${unique()}`
    client.send(publishPacket(topic, 'kept', { qos: 1, id: 1, retain: true }))
    await client.ack(PUBACK, 1)
    for (const qos of [0, 1, 0]) {
      await client.subscribe({ [topic]: qos })
      expect(await client.message()).toMatchObject({ text: 'kept', retain: true, qos })
    }
  })

  test('[MQTT-3.3.1-7, MQTT-3.3.1-10, MQTT-3.3.1-11] an empty one deletes, is delivered, and is not kept', async () => {
    const client = await connect()
    const topic = `t/${unique()}`
    await client.subscribe({ [topic]: 1 })
    client.send(publishPacket(topic, 'kept', { retain: true }), publishPacket(topic, '', { retain: true }))
    expect([(await client.message()).text, (await client.message()).text]).toEqual(['kept', ''])
    const later = await connect()
    await later.subscribe({ [topic]: 1 })
    await later.settle()
    expect(later.messages).toEqual([])
  })

  test('[MQTT-3.3.1-12] a message without RETAIN changes nothing', async () => {
    const client = await connect()
    const topic = `t/${unique()}`
    client.send(publishPacket(topic, 'kept', { retain: true }), publishPacket(topic, 'passing'))
    await client.subscribe({ [topic]: 0 })
    expect((await client.message()).text).toBe('kept')
  })

  test('are found by wildcards', async () => {
    const client = await connect()
    const base = `t/${unique()}`
    for (const leaf of ['', '/a', '/a/b', '/']) {
      client.send(publishPacket(`${base}${leaf}`, `is ${leaf}`, { qos: 1, id: 1, retain: true }))
      await client.ack(PUBACK, 1)
    }
    await client.subscribe({ [`${base}/+`]: 2 })
    expect([(await client.message()).text, (await client.message()).text].sort()).toEqual(['is /', 'is /a'])
    await client.subscribe({ [`${base}/#`]: 0 })
    const all = new Set<string>()
    while (all.size < 4) all.add((await client.message()).text)
    expect([...all].sort()).toEqual(['is ', 'is /', 'is /a', 'is /a/b'])
  })
})

describe('subscriptions', () => {
  test('[MQTT-3.8.4-5, MQTT-3.9.3-1] are answered in their order, one code for each filter', async () => {
    const client = await connect()
    const codes = await client.subscribe({
      't/a': 2,
      [`${ROOT}/node/+/invoke`]: 1,
      't/b': 0,
      [`${ROOT}/node/x/pairing`]: 1,
      't/c': 1,
    })
    expect(codes).toEqual([2, 128, 0, 128, 1])
  })

  test('[MQTT-3.3.5-1] that overlap get one message, at the highest QoS', async () => {
    const client = await connect()
    await client.subscribe({ 't/over/#': 2, 't/over/+': 1, 't/over/x': 0 })
    client.send(publishPacket('t/over/x', 'x', { qos: 2, id: 1 }))
    expect((await client.message()).qos).toBe(2)
    await client.settle()
    expect(client.messages).toEqual([])
  })

  test('[MQTT-3.8.4-3] are replaced by one with the same filter', async () => {
    const client = await connect()
    await client.subscribe({ 't/same': 2 })
    await client.subscribe({ 't/same': 0 })
    client.send(publishPacket('t/same', 'x', { qos: 1, id: 1 }))
    expect((await client.message()).qos).toBe(0)
    await client.settle()
    expect(client.messages).toEqual([])
  })

  test('[MQTT-3.10.4-1, MQTT-3.10.4-5] end by the very filter, and UNSUBACK comes for others too', async () => {
    const client = await connect()
    await client.subscribe({ 't/end/#': 0 })
    client.send(unsubscribePacket(['t/end/x', 'nothing'], 6))
    await client.ack(UNSUBACK, 6)
    client.send(publishPacket('t/end/x', 'still'))
    expect((await client.message()).text).toBe('still')
    client.send(unsubscribePacket(['t/end/#'], 7))
    await client.ack(UNSUBACK, 7)
    client.send(publishPacket('t/end/x', 'over'))
    await client.settle()
    expect(client.messages).toEqual([])
  })
})

const MATCHES: [filter: string, topic: string, matches: boolean][] = [
  ['t/sport/#', 't/sport', true],
  ['t/sport/#', 't/sport/a/b', true],
  ['t/sport/+', 't/sport/', true],
  ['t/sport/+', 't/sport', false],
  ['t/sport/+', 't/sport/a/b', false],
  ['t/+/x', 't//x', true],
  ['+/+', '/t', true],
  ['/+', '/t', true],
  ['+', '/t', false],
  ['+', 't', true],
  ['+', '$t', false],
  ['+/+', '$t/x', false],
  ['t/case', 't/Case', false],
  ['t/a b', 't/a b', true],
  ['ünï/+', 'ünï/çødé', true],
  ['t/e\u0301', 't/\u00e9', false],
]

describe('[MQTT-4.7.1, MQTT-4.7.2, MQTT-4.7.3] topics and filters', () => {
  test.each(MATCHES)('%s and %s: %s', async (filter, topic, matches) => {
    const client = await connect()
    expect(await client.subscribe({ [filter]: 0 })).toEqual([0])
    client.send(publishPacket(topic, 'x'))
    await client.settle()
    const live = client.messages.filter(({ retain }) => !retain)
    expect(live.map((message) => message.topic)).toEqual(matches ? [topic] : [])
  })

  test('$SYS/# is granted to principals, and empty', async () => {
    const client = await connect()
    expect(await client.subscribe({ '$SYS/#': 0, '$SYS/broker/uptime': 1 })).toEqual([0, 1])
    await client.settle()
    expect(client.messages).toEqual([])
  })

  test.each(['$share/g/t', '$t/#'])('nobody may subscribe to %s', async (filter) => {
    const client = await connect()
    expect(await client.subscribe({ [filter]: 0 })).toEqual([128])
  })

  test('a SUBSCRIBE may be as long as its packet', async () => {
    const client = await connect()
    const filters = Array.from({ length: 60 }, (_, i) => [`t/${'long'.repeat(40)}/${i}`, i % 3] as const)
    client.send(subscribePacket(Object.fromEntries(filters), 500))
    const { body } = await client.ack(SUBACK, 500)
    expect([...body.subarray(2)]).toEqual(filters.map(([, qos]) => qos as Qos))
  })

  test('a payload may be any bytes', async () => {
    const client = await connect()
    await client.subscribe({ 't/bytes': 0 })
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
    client.send(packet(0x30, text('t/bytes'), bytes))
    const { body } = await client.next(({ type }) => type === 3)
    expect(body.subarray(2 + 't/bytes'.length)).toEqual(bytes)
  })
})
