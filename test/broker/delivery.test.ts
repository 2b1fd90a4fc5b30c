import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Identity } from '../../src/bridge/ports.ts'
import { patience } from '../support/patience.ts'
import { start, tempFolder, turn } from './fixture.ts'
import {
  connectPacket,
  DISCONNECT,
  dial,
  id,
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  packet,
  publishPacket,
  SUBACK,
  subscribePacket,
  type WireClient,
} from './wire.ts'

const grants = [{ to: 'viewer', publish: ['t/#', 'u'], subscribe: ['t/#', 'u'] }]
const puback = (messageId: number) => packet(0x40, id(messageId))

async function texts(client: WireClient): Promise<string[]> {
  await client.settle()
  return client.messages.map((message) => message.text)
}

describe('order', () => {
  test('messages of one turn arrive in the order of calls, whatever path they take', async () => {
    const { connect, broker } = await start({ grants })
    const reader = await connect({ username: 'viewer' })
    await reader.subscribe({ 't/#': 1 })
    const away = await connect({ username: 'viewer2', clientId: 'away', clean: false })
    await away.subscribe({ 't/#': 1 })
    away.send(DISCONNECT)
    await away.closed
    const expected: string[] = []
    for (let i = 0; i < 50; i++) {
      expected.push(`${i}`)
      broker.publisher.publish('t/x', Buffer.from(`${i}`), { qos: i % 3 === 0 ? 1 : 0, retain: i % 4 === 0 })
    }
    while (reader.messages.length < 50) await turn()
    expect(reader.messages.map((message) => message.text)).toEqual(expected)
    // And the session that was away has those of QoS 1.
    const back = await connect({ username: 'viewer2', clientId: 'away', clean: false })
    while (back.messages.length < 17) await turn()
    expect(await texts(back)).toEqual(expected.filter((_, i) => i % 3 === 0))
  })

  test('what a session is told comes after what was published before', async () => {
    const { connect, broker, core } = await start()
    const away = await connect({ username: 'viewer2', clientId: 'away', clean: false })
    await away.subscribe({ 'limb/node/+/state': 1 })
    away.send(DISCONNECT)
    await away.closed
    const reader = await connect({ username: 'viewer' })
    await reader.subscribe({ 'limb/node/+/state': 1, 'limb/principal/viewer/response/#': 1 })
    const { session } = await core.until('opened', (event) => {
      const { identity } = event.session
      return identity.kind === 'principal' && identity.name === 'viewer'
    })
    broker.publisher.publish('limb/node/cam/state', Buffer.from('state'), { qos: 1, retain: true })
    expect(session.send('limb/principal/viewer/response/x', Buffer.from('response'))).toBe(true)
    while (reader.messages.length < 2) await turn()
    expect(reader.messages.map((message) => message.text)).toEqual(['state', 'response'])
  })
})

describe('subscriptions', () => {
  test('that overlap get one copy, at the highest QoS granted', async () => {
    const { connect } = await start({ grants })
    const reader = await connect({ username: 'viewer' })
    await reader.subscribe({ 't/#': 0, 't/+': 2, 't/x': 1 })
    const writer = await connect({ username: 'viewer1' })
    writer.send(publishPacket('t/x', 'a', { qos: 2, id: 1 }), publishPacket('t/y', 'b', { qos: 0 }))
    writer.send(publishPacket('t/x/y', 'c', { qos: 1, id: 2 }))
    await writer.ack(PUBREC, 1)
    await writer.ack(PUBACK, 2)
    await reader.settle()
    expect(reader.messages.map(({ text, qos }) => [text, qos]).sort()).toEqual([
      ['a', 2],
      ['b', 0],
      ['c', 0],
    ])
  })

  test.each([0, 1, 2] as const)(
    'a wildcard at QoS %i lowers the QoS of messages, live and retained',
    async (granted) => {
      const { connect } = await start({ grants })
      const writer = await connect({ username: 'viewer1' })
      for (const qos of [0, 1, 2] as const) {
        writer.send(publishPacket(`t/r${qos}`, 'r', { qos, id: qos + 1, retain: true }))
      }
      await writer.ack(PUBREC, 3)
      const reader = await connect({ username: 'viewer' })
      await reader.subscribe({ 't/#': granted })
      while (reader.messages.length < 3) await turn()
      for (const qos of [0, 1, 2] as const)
        writer.send(publishPacket(`t/l${qos}`, 'l', { qos, id: qos + 10 }))
      await writer.ack(PUBREC, 12)
      while (reader.messages.length < 6) await turn()
      for (const message of reader.messages) {
        expect(message.qos).toBe(Math.min(granted, Number(message.topic.slice(-1))))
        expect(message.retain).toBe(message.topic.startsWith('t/r'))
        expect(message.dup).toBe(false)
      }
    },
  )

  test("the publisher's DUP stays with the publisher", async () => {
    const { connect } = await start({ grants })
    const reader = await connect({ username: 'viewer' })
    await reader.subscribe({ 't/#': 2 })
    const writer = await connect({ username: 'viewer1' })
    writer.send(publishPacket('t/x', 'a', { qos: 1, id: 1, dup: true }))
    expect((await reader.message()).dup).toBe(false)
  })

  test('an ended subscription gets nothing more', async () => {
    const { connect, broker } = await start({ grants })
    const reader = await connect({ username: 'viewer' })
    await reader.subscribe({ 't/#': 1, 't/x': 1 })
    reader.send(packet(0xa2, id(4), Buffer.from([0, 3]), Buffer.from('t/#')))
    await reader.ack(11, 4)
    await turn()
    broker.publisher.publish('t/y', Buffer.from('no'), { qos: 1, retain: false })
    broker.publisher.publish('t/x', Buffer.from('yes'), { qos: 1, retain: false })
    expect((await reader.message()).text).toBe('yes')
    expect(await texts(reader)).toEqual([])
  })

  test('are bounded per session', async () => {
    const { connect } = await start({ grants, limits: { maxSubscriptionsPerPrincipal: 3 } })
    const reader = await connect({ username: 'viewer' })
    expect(await reader.subscribe({ 't/1': 0, 't/2': 0, 't/3': 0 })).toEqual([0, 0, 0])
    expect(await reader.subscribe({ 't/3': 1, 't/4': 0 })).toEqual([1, 128])
  })
})

describe('a session that is stored', () => {
  async function away(filters: Record<string, number>) {
    const running = await start({ grants })
    const client = await running.connect({ username: 'viewer', clientId: 'x', clean: false })
    await client.subscribe(filters)
    client.send(DISCONNECT)
    await client.closed
    const back = async () => {
      const client = await dial({ port: running.port })
      client.send(connectPacket({ username: 'viewer', clientId: 'x', clean: false }))
      expect(await client.connack()).toEqual({ code: 0, present: true })
      return client
    }
    const publish = (text: string, qos: 0 | 1 = 1) =>
      running.broker.publisher.publish('t/x', Buffer.from(text), { qos, retain: false })
    return { ...running, back, publish }
  }

  test('finds what it missed, once, then goes on live, in order', async () => {
    const { back, publish } = await away({ 't/+': 1, 't/x': 1 })
    for (let i = 0; i < 40; i++) publish(`${i}`)
    const client = await back()
    for (let i = 40; i < 80; i++) {
      publish(`${i}`)
      if (i % 4 === 0) await turn()
    }
    while (client.messages.length < 80) await turn()
    expect(await texts(client)).toEqual(Array.from({ length: 80 }, (_, i) => `${i}`))
    expect(new Set(client.messages.map((message) => message.id)).size).toBe(80)
  })

  test('finds each message once, in order, of those that come at any moment of its return', async () => {
    const { publish, port } = await away({ 't/x': 1 })
    publish('0')
    const client = await dial({ port })
    client.send(connectPacket({ username: 'viewer', clientId: 'x', clean: false }))
    let sent = 1
    while (sent < 60 && client.messages.length < 20) {
      publish(`${sent++}`)
      await (sent % 2 ? turn() : Promise.resolve())
    }
    while (client.messages.length < sent) await turn()
    expect(await texts(client)).toEqual(Array.from({ length: sent }, (_, i) => `${i}`))
  })

  test('gets an unacknowledged message again, with DUP and the same identifier', async () => {
    const { back, publish } = await away({ 't/x': 1 })
    publish('a')
    publish('b')
    const first = await back()
    const a = await first.message()
    const b = await first.message()
    expect([a.dup, b.dup]).toEqual([false, false])
    first.send(puback(a.id))
    await first.settle()
    first.cut()
    await first.closed
    const second = await back()
    expect(await second.message()).toEqual({ ...b, dup: true })
    second.send(puback(b.id))
    await second.settle()
    second.send(DISCONNECT)
    await second.closed
    const third = await back()
    expect(await texts(third)).toEqual([])
  })

  test('is present although it has no subscription', async () => {
    const { port } = await start()
    for (const present of [false, true, true]) {
      const client = await dial({ port })
      client.send(connectPacket({ username: 'viewer', clientId: 'x', clean: false }))
      expect(await client.connack()).toEqual({ code: 0, present })
      client.send(DISCONNECT)
      await client.closed
    }
  })

  test('ends with a clean CONNECT', async () => {
    const { connect, publish, port } = await away({ 't/x': 1 })
    publish('a')
    const clean = await connect({ username: 'viewer', clientId: 'x' })
    publish('b')
    expect(await texts(clean)).toEqual([])
    clean.send(DISCONNECT)
    await clean.closed
    const client = await dial({ port })
    client.send(connectPacket({ username: 'viewer', clientId: 'x', clean: false }))
    expect(await client.connack()).toEqual({ code: 0, present: false })
    expect(await texts(client)).toEqual([])
  })

  test('does not keep a denied filter of a SUBSCRIBE that was granted in part', async () => {
    const { connect, port, core, broker, persistence } = await start({ grants })
    const first = await connect({ username: 'viewer', clientId: 'x', clean: false })
    expect(await first.subscribe({ 't/x': 1, 'limb/node/cam/invoke': 1, 'secret/#': 1 })).toEqual([
      1, 128, 128,
    ])
    expect(await persistence.subscriptionsByClient({ id: 'viewer x' })).toMatchObject([{ topic: 't/x' }])
    first.send(DISCONNECT)
    await first.closed
    broker.publisher.publish('limb/node/cam/invoke', Buffer.from('secret'), { qos: 1, retain: false })
    broker.publisher.publish('t/x', Buffer.from('fine'), { qos: 1, retain: false })
    const second = await dial({ port })
    second.send(connectPacket({ username: 'viewer', clientId: 'x', clean: false }))
    await second.message('t/x')
    broker.publisher.publish('limb/node/cam/invoke', Buffer.from('secret'), { qos: 1, retain: false })
    expect(await texts(second)).toEqual([])
    const resumed = core.all('opened').at(-1)?.session
    expect(resumed?.subscribedTo('limb/node/cam/invoke')).toBe(false)
    expect(resumed?.subscribedTo('t/x')).toBe(true)
    expect(await second.subscribe({ 't/x': 1 })).toEqual([1])
    expect(await texts(second)).toEqual([])
  })

  test('survives the process, and is told the present view when it comes back', async () => {
    const file = join(tempFolder(), 'db.sqlite')
    const before = await start({ file })
    const client = await before.connect({ username: 'viewer', clientId: 'x', clean: false })
    await client.subscribe({ 'limb/node/+/status': 1, 'limb/node/cam1/status': 0, 'limb/node/+/state': 0 })
    client.cut()
    await client.closed
    await turn()
    before.broker.publisher.publish('limb/node/cam1/status', Buffer.from('online'), { qos: 1, retain: true })
    await turn()
    await before.stop()

    const after = await start({ file })
    after.owned.set('limb/node/cam1/status', 'offline').set('limb/node/cam2/status', 'offline')
    after.owned.set('limb/node/cam1/state', '{}').set('limb/bridge/status', 'online')
    const again = await dial({ port: after.port })
    again.send(connectPacket({ username: 'viewer', clientId: 'x', clean: false }))
    expect((await again.connack()).present).toBe(true)
    while (again.messages.length < 4) await turn()
    await again.settle()
    const told = again.messages.map(({ topic, text, qos, retain }) => `${topic} ${text} ${qos} ${retain}`)
    // First the queue, then the view.
    expect(told[0]).toBe('limb/node/cam1/status online 1 false')
    expect(told.slice(1).sort()).toEqual([
      'limb/node/cam1/state {} 0 false',
      'limb/node/cam1/status offline 1 false',
      'limb/node/cam2/status offline 1 false',
    ])
    // A new message is not taken for the one of the last life that had the same number.
    after.broker.publisher.publish('limb/node/cam1/status', Buffer.from('online'), { qos: 1, retain: true })
    while (again.messages.length < 5) await turn()
    for (const message of again.messages.slice(1)) if (message.qos > 0) again.send(puback(message.id))
    await again.settle()
    again.send(DISCONNECT)
    await again.closed
    const third = await dial({ port: after.port })
    third.send(connectPacket({ username: 'viewer', clientId: 'x', clean: false }))
    // What was not acknowledged of the queue comes again; the view does not.
    expect((await third.message()).dup).toBe(true)
    expect(await texts(third)).toEqual([])
  })

  test('is forgotten with its identity', async () => {
    const { broker, port } = await away({ 't/x': 1 })
    await broker.sessions.forget('viewer')
    const client = await dial({ port })
    client.send(connectPacket({ username: 'viewer', clientId: 'x', clean: false }))
    expect(await client.connack()).toEqual({ code: 0, present: false })
  })

  test('takes part in a QoS 2 handshake that a lost connection cut', async () => {
    const { connect, back, publish } = await away({ 't/x': 2 })
    publish('warm up', 0)
    const writer = await connect({ username: 'viewer1' })
    writer.send(publishPacket('t/x', 'once', { qos: 2, id: 3 }))
    await writer.ack(PUBREC, 3)
    const first = await back()
    const message = await first.message()
    expect(message).toMatchObject({ text: 'once', qos: 2 })
    first.send(packet(0x50, id(message.id)))
    await first.ack(PUBREL, message.id)
    first.cut()
    await first.closed
    const second = await back()
    await second.ack(PUBREL, message.id)
    second.send(packet(0x70, id(message.id)))
    expect(await texts(second)).toEqual([])
    expect(PUBCOMP).toBe(7)
  })
})

describe('telling one session', () => {
  const cam: Identity = { kind: 'limb', nodeId: 'cam1' }

  test('works only while it is subscribed, at QoS 1 at most', async () => {
    const { connect, core } = await start()
    const limb = await connect({ username: 'cam1', password: 'key' })
    const { session } = await core.until('opened')
    expect(session.identity).toEqual(cam)
    expect(session.send('limb/node/cam1/pairing', Buffer.from('x'))).toBe(false)
    await limb.subscribe({ 'limb/node/cam1/pairing': 2, 'limb/node/cam1/invoke': 0 })
    expect(session.send('limb/node/cam1/pairing', Buffer.from('p'))).toBe(true)
    expect(session.send('limb/node/cam1/invoke', Buffer.from('i'))).toBe(true)
    expect(session.send('limb/node/cam2/invoke', Buffer.from('i'))).toBe(false)
    expect(await limb.message()).toMatchObject({ text: 'p', qos: 1, retain: false })
    expect(await limb.message()).toMatchObject({ text: 'i', qos: 0 })
  })

  test('is possible as soon as SUBACK is out, and comes after it', async () => {
    const { connect, core } = await start()
    core.onSubscribed = (session) => void session.send('limb/node/cam1/pairing', Buffer.from('owed'))
    const limb = await connect({ username: 'cam1' })
    limb.send(subscribePacket({ 'limb/node/cam1/pairing': 1 }, 5))
    await limb.message()
    const order = limb.packets.map((each) => each.type)
    expect(order).toEqual([SUBACK])
  })

  test('is not told of a SUBSCRIBE that was denied', async () => {
    const { connect, core } = await start()
    const limb = await connect({ username: 'cam1' })
    await limb.subscribe({ 'limb/node/cam1/state': 1 })
    await limb.settle()
    expect(core.all('subscribed')).toEqual([])
  })

  test('an end after the flush lets everything out that was told', async () => {
    const { connect, core } = await start({ limits: { flushTimeoutMs: patience(5000) } })
    const limb = await connect({ username: 'cam1' })
    await limb.subscribe({ 'limb/node/cam1/pairing': 1 })
    const { session } = await core.until('opened')
    session.send('limb/node/cam1/pairing', Buffer.alloc(300_000, 0x61))
    session.send('limb/node/cam1/pairing', Buffer.from('rejected'))
    session.end('refused', true)
    expect(session.alive).toBe(false)
    expect(session.send('limb/node/cam1/pairing', Buffer.from('late'))).toBe(false)
    await limb.closed
    expect(limb.messages.map((message) => message.text.length)).toEqual([300_000, 8])
    expect((await core.until('closed')).why).toBe('refused')
  })

  test('an end after the flush does not wait for a reader that does not read', async () => {
    const { connect, core } = await start({ limits: { flushTimeoutMs: 100 } })
    const limb = await connect({ username: 'cam1' })
    await limb.subscribe({ 'limb/node/cam1/pairing': 1 })
    limb.socket.pause()
    const { session } = await core.until('opened')
    for (let i = 0; i < 6; i++) session.send('limb/node/cam1/pairing', Buffer.alloc(1_000_000))
    session.end('refused', true)
    expect((await core.until('closed')).why).toBe('refused')
    limb.socket.resume()
  })
})

test('a promoted candidate has the rights of a limb at once, and keeps its subscription', async () => {
  const { connect, core } = await start()
  const limb = await connect({ username: 'cam1' })
  expect(await limb.subscribe({ 'limb/node/cam1/pairing': 1, 'limb/node/cam1/invoke': 1 })).toEqual([1, 1])
  limb.send(publishPacket('limb/node/cam1/heartbeat', '', { qos: 1, id: 1 }))
  await limb.ack(PUBACK, 1)
  expect(core.heartbeats).toBe(0)
  const { session } = await core.until('opened')
  session.identity = { kind: 'limb', nodeId: 'cam1' }
  session.send('limb/node/cam1/pairing', Buffer.from('approved'))
  await limb.message()
  limb.send(publishPacket('limb/node/cam1/heartbeat', '', { qos: 1, id: 2 }))
  await limb.ack(PUBACK, 2)
  expect(core.heartbeats).toBe(1)
  expect(session.subscribedTo('limb/node/cam1/invoke')).toBe(true)
  expect(session.send('limb/node/cam1/invoke', Buffer.from('{}'))).toBe(true)
  expect((await limb.message()).topic).toBe('limb/node/cam1/invoke')
})

test('a session that is no longer granted a topic gets no more of it', async () => {
  const { connect, core, broker } = await start()
  const viewer = await connect({ username: 'viewer' })
  await viewer.subscribe({ 'limb/node/+/status': 1 })
  const { session } = await core.until('opened')
  session.identity = { kind: 'limb', nodeId: 'cam1' }
  broker.publisher.publish('limb/node/cam1/status', Buffer.from('online'), { qos: 1, retain: true })
  expect(await texts(viewer)).toEqual([])
  expect(broker.counters.denied.forward).toBe(1)
})

test('clearing retained messages deletes them and tells those who are subscribed', async () => {
  const { connect, broker } = await start()
  const limb = await connect({ username: 'cam1', password: 'key' })
  for (const [i, path] of ['a', 'b/c'].entries()) {
    limb.send(publishPacket(`limb/node/cam1/data/${path}`, 'x', { qos: 1, id: i + 1, retain: true }))
    await limb.ack(PUBACK, i + 1)
  }
  const viewer = await connect({ username: 'viewer' })
  await viewer.subscribe({ 'limb/node/+/data/#': 1 })
  expect((await viewer.message('limb/node/cam1/data/a')).retain).toBe(true)
  await viewer.message('limb/node/cam1/data/b/c')
  await broker.publisher.clearRetainedOf('cam1')
  expect((await viewer.message('limb/node/cam1/data/a')).text).toBe('')
  expect((await viewer.message('limb/node/cam1/data/b/c')).text).toBe('')
  const later = await connect({ username: 'viewer1' })
  await later.subscribe({ 'limb/node/+/data/#': 1 })
  expect(await texts(later)).toEqual([])
})
