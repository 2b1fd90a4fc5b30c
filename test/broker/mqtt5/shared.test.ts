import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Running, type Start, start, tempFolder, turn } from '../fixture.ts'
import { PINGREQ, PINGRESP, PUBACK, PUBLISH, PUBREC, text, type WireClient } from '../wire.ts'
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
  unsubscribe5,
} from './wire5.ts'

/** Subscriptions that sessions share (MQTT 5, section 4.8.2). */

const GRANTS = [
  { to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] },
  { to: 'admin', publish: ['t/#', 'secret/#'], subscribe: ['t/#', 'secret/#'] },
]
const five = (options: Start = {}): Promise<Running> => start({ grants: GRANTS, ...options })
const expiry = (seconds: number) => props().uint32(0x11, seconds).bytes()
const SHARED = '$share/workers/t/#'

/** A session of `viewer1`, to whom all members of a group belong. */
async function member(bridge: Running, clientId: string, options: object = {}): Promise<WireClient> {
  const client = await joined5(bridge, { username: 'viewer1', clientId, ...options })
  await subscribed(client, [[SHARED, 1]])
  return client
}

/** What a client has been sent so far, without waiting for more. */
async function textsOf(client: WireClient): Promise<string[]> {
  client.send(PINGREQ)
  await client.of(PINGRESP)
  return client.packets.filter(({ type }) => type === PUBLISH).map((packet) => message5(packet).text)
}

async function send(client: WireClient, texts: readonly string[], topic = 't/x'): Promise<void> {
  for (const [i, text] of texts.entries()) {
    client.send(publish5(topic, text, { qos: 1, id: i + 1 }))
    await client.of(PUBACK)
  }
}

async function gone(bridge: Running, client: WireClient, goodbye?: Buffer): Promise<void> {
  const before = bridge.core.all('closed').length
  if (goodbye === undefined) client.cut()
  else client.send(goodbye)
  while (bridge.core.all('closed').length === before) await turn()
  await turn()
}

describe('a shared subscription', () => {
  test('is announced to principals, and to nobody else', async () => {
    const bridge = await five()
    expect((await open5(bridge, { username: 'viewer1' })).connack.properties).not.toHaveProperty('2a')
    const limb = await open5(bridge, { username: 'cam1', password: 'key', clientId: 'cam1' })
    expect(limb.connack.properties['2a']).toEqual([0])
    expect(await subscribed(limb.client, [['$share/g/limb/node/cam1/invoke', 1]])).toEqual([0x9e])
  })

  test('gives each message to one member of each group', async () => {
    const bridge = await five()
    const one = await member(bridge, 'one')
    const two = await member(bridge, 'two')
    const other = await joined5(bridge, { username: 'viewer3' })
    await subscribed(other, [['$share/others/t/x', 0]])
    const sender = await joined5(bridge, { username: 'viewer4' })
    await send(sender, ['a', 'b', 'c', 'd'])
    const [first, second] = [await textsOf(one), await textsOf(two)]
    expect([...first, ...second].toSorted()).toEqual(['a', 'b', 'c', 'd'])
    expect(first).toHaveLength(2)
    expect(await textsOf(other)).toEqual(['a', 'b', 'c', 'd'])
  })

  test('is shared by the sessions of one principal: a group of that name of another takes nothing out of it', async () => {
    const bridge = await five({ file: join(tempFolder(), 'bridge.sqlite') })
    const mine = await member(bridge, 'one')
    const other = await joined5(bridge, { username: 'viewer2', properties: expiry(1000) })
    await subscribed(other, [[SHARED, 1]])
    const sender = await joined5(bridge, { username: 'viewer3' })
    await send(sender, ['a', 'b'])
    expect(await textsOf(mine)).toEqual(['a', 'b'])
    expect(await textsOf(other)).toEqual(['a', 'b'])
    // Nor does it get what the other has not acknowledged, or what waits for a session that is away.
    await gone(bridge, other)
    await send(sender, ['c'])
    expect(await textsOf(mine)).toEqual(['a', 'b', 'c'])
  })

  test('prefers the member that has the least to do', async () => {
    const bridge = await five()
    const one = await member(bridge, 'one')
    const two = await member(bridge, 'two')
    const sender = await joined5(bridge, { username: 'viewer3' })
    await send(sender, ['held'])
    // One of them never acknowledges: all that follows goes to the other, which does.
    const worker = (await textsOf(one)).length > 0 ? two : one
    for (const text of ['1', '2', '3']) {
      await send(sender, [text])
      const copy = await nextMessage(worker)
      expect(copy.text).toBe(text)
      worker.send(ack5(0x40, copy.id))
      await textsOf(worker)
    }
  })

  test('keeps no retained message for who subscribes, and forbids no local', async () => {
    const bridge = await five()
    const sender = await joined5(bridge, { username: 'viewer1' })
    sender.send(publish5('t/x', 'old', { qos: 1, id: 1, retain: true }))
    await sender.of(PUBACK)
    const client = await member(bridge, 'two')
    expect(await textsOf(client)).toEqual([])
    client.send(subscribe5([[SHARED, 5]], 2))
    expect(farewell5(await client.of(14)).code).toBe(0x82)
  })

  test.each(['$share/g', '$share//t/x', '$share/g+/t/x', '$share/#/t/x', '$share/g/', '$share'])(
    'of another form is refused: %s',
    async (filter) => {
      const client = await joined5(await five(), { username: 'viewer1' })
      client.send(subscribe5([[filter, 1]], 1))
      const answer = await client.next(({ type }) => type === 9 || type === 14)
      // What is no filter at all ends the connection.
      if (answer.type === 9) expect(codes5(answer).codes).toEqual([0x8f])
      else expect(answer.type).toBe(14)
    },
  )

  test('has its own copy, its identifier and its retain flag', async () => {
    const bridge = await five()
    const client = await joined5(bridge, { username: 'viewer1' })
    await subscribed(client, [['t/x', 1]])
    await subscribed(client, [[SHARED, 8 | 1]], props().varint(0x0b, 9).bytes())
    client.send(publish5('t/x', 'both', { qos: 1, id: 5, retain: true }))
    const copies = [await nextMessage(client), await nextMessage(client)]
    expect(copies.map(({ retain }) => retain).toSorted()).toEqual([false, true])
    expect(copies.map(({ properties }) => properties.b)).toContainEqual([9])
  })

  test('is counted as long as its member acknowledges nothing, also what waited for it in the store', async () => {
    const bridge = await five()
    const lasting = { cleanStart: false, properties: expiry(60) }
    const away = await member(bridge, 'away', lasting)
    await gone(bridge, away)
    const sender = await joined5(bridge, { username: 'viewer2' })
    const texts = Array.from({ length: 60 }, (_, i) => String(i).padEnd(5000))
    await send(sender, texts)
    expect(bridge.broker.unsentBytes).toBe(0)
    const back = await joined5(bridge, { username: 'viewer1', clientId: 'away', ...lasting })
    while ((await textsOf(back)).length < texts.length) await turn()
    expect(bridge.broker.unsentBytes).toBeGreaterThan(60 * 5000)
    for (const packet of back.packets.filter(({ type }) => type === PUBLISH))
      back.send(ack5(0x40, message5(packet).id))
    await textsOf(back)
    expect(bridge.broker.unsentBytes).toBe(0)
  })

  test('gives only what its member may read', async () => {
    const bridge = await five()
    const viewer = await joined5(bridge, { username: 'viewer1' })
    const admin = await joined5(bridge, { username: 'admin1' })
    expect(await subscribed(viewer, [['$share/g/#', 1]])).toEqual([1])
    expect(await subscribed(viewer, [['$share/g/secret/x', 1]])).toEqual([0x87])
    await subscribed(admin, [['$share/g/#', 1]])
    await send(admin, ['s1', 's2', 's3'], 'secret/x')
    expect(await textsOf(viewer)).toEqual([])
    expect(await textsOf(admin)).toEqual(['s1', 's2', 's3'])
  })

  test('ends with UNSUBSCRIBE', async () => {
    const bridge = await five()
    const client = await member(bridge, 'one')
    client.send(unsubscribe5([SHARED, SHARED], 7))
    await client.of(11)
    const sender = await joined5(bridge, { username: 'viewer2' })
    sender.send(publish5('t/x', 'late', { qos: 1, id: 1 }))
    expect(answer5(await sender.of(PUBACK)).code).toBe(0x10)
    expect(await textsOf(client)).toEqual([])
  })
})

describe('when a member goes', () => {
  test.each([
    ['that ends with it', {}],
    ['that is stored', { properties: expiry(1000) }],
  ])('another gets what it has not acknowledged, of a session %s', async (_, options) => {
    const bridge = await five({ file: join(tempFolder(), 'bridge.sqlite') })
    const first = await member(bridge, 'first', options)
    const sender = await joined5(bridge, { username: 'viewer3' })
    await send(sender, ['a', 'b', 'c'])
    const a = await nextMessage(first)
    first.send(ack5(0x40, a.id))
    await nextMessage(first)
    const second = await member(bridge, 'second', options)
    await gone(bridge, first)
    expect([(await nextMessage(second)).text, (await nextMessage(second)).text]).toEqual(['b', 'c'])
    const back = await open5(bridge, {
      username: 'viewer1',
      clientId: 'first',
      cleanStart: false,
      ...options,
    })
    expect(await textsOf(back.client)).toEqual([])
  })

  test('what another acknowledged after it was passed on does not come to it again', async () => {
    const bridge = await five({ file: join(tempFolder(), 'bridge.sqlite') })
    const kept = { properties: expiry(1000) }
    const first = await member(bridge, 'first', kept)
    const sender = await joined5(bridge, { username: 'viewer3' })
    await send(sender, ['a', 'b'])
    await nextMessage(first)
    await nextMessage(first)
    const second = await member(bridge, 'second', kept)
    await gone(bridge, first)
    for (const text of ['a', 'b']) {
      const message = await nextMessage(second)
      expect(message.text).toBe(text)
      second.send(ack5(0x40, message.id))
    }
    await textsOf(second)
    await gone(bridge, second)
    const back = await open5(bridge, { username: 'viewer1', clientId: 'second', cleanStart: false, ...kept })
    expect(await textsOf(back.client)).toEqual([])
  })

  test('a QoS 2 message that it was sent stays its own', async () => {
    const bridge = await five()
    const first = await joined5(bridge, { username: 'viewer1' })
    await subscribed(first, [[SHARED, 2]])
    const sender = await joined5(bridge, { username: 'viewer3' })
    sender.send(publish5('t/x', 'once', { qos: 2, id: 1 }))
    await sender.of(PUBREC)
    sender.send(ack5(0x62, 1))
    await nextMessage(first)
    const second = await joined5(bridge, { username: 'viewer1', clientId: 'second' })
    await subscribed(second, [[SHARED, 2]])
    await gone(bridge, first)
    expect(await textsOf(second)).toEqual([])
  })

  test('and nobody is left, a stored session keeps the messages, over a restart too', async () => {
    const file = join(tempFolder(), 'bridge.sqlite')
    const bridge = await five({ file })
    const options = { username: 'viewer1', clientId: 'kept', properties: expiry(1000) }
    const first = await joined5(bridge, options)
    await subscribed(first, [[SHARED, 1]], props().varint(0x0b, 4).bytes())
    await gone(bridge, first, disconnect5(0))
    const sender = await joined5(bridge, { username: 'viewer3' })
    const pair = props().raw(Buffer.concat([Buffer.from([0x26]), text('k'), text('v')]))
    sender.send(publish5('t/x', 'kept', { qos: 1, id: 1, properties: pair.bytes() }))
    expect(answer5(await sender.of(PUBACK)).code).toBe(0)
    await bridge.stop()
    const again = await five({ file })
    const back = await joined5(again, { ...options, cleanStart: false })
    const copy = await nextMessage(back)
    expect(copy).toMatchObject({ text: 'kept', qos: 1, properties: { b: [4], '26': ['k=v'] } })
    back.send(ack5(0x40, copy.id))
    const more = await joined5(again, { username: 'viewer3' })
    await send(more, ['live'])
    expect((await nextMessage(back)).text).toBe('live')
  })
})

describe('SUBSCRIBE after UNSUBSCRIBE of the same filter, in one write', () => {
  test.each([
    ['that ends with it', {}],
    ['that is stored', { properties: expiry(1000) }],
  ])('leaves the subscription, of a session %s', async (_, options) => {
    const bridge = await five({ file: join(tempFolder(), 'bridge.sqlite') })
    const client = await joined5(bridge, { username: 'viewer1', clientId: 'both', ...options })
    await subscribed(client, [['t/x', 1]])
    client.send(Buffer.concat([unsubscribe5(['t/x'], 2), subscribe5([['t/x', 1]], 3), PINGREQ]))
    await client.of(9)
    client.send(publish5('t/x', 'here', { qos: 1, id: 4 }))
    expect((await nextMessage(client)).text).toBe('here')
    client.send(Buffer.concat([subscribe5([['t/y', 1]], 5), unsubscribe5(['t/y'], 6), PINGREQ]))
    await client.of(11)
    await client.of(11)
    client.send(publish5('t/y', 'gone', { qos: 1, id: 7 }))
    expect(answer5(await client.of(PUBACK)).code).toBe(0)
    expect(answer5(await client.of(PUBACK)).code).toBe(0x10)
  })
})
