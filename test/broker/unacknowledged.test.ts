import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Unacknowledged } from '../../src/broker/unacknowledged.ts'
import { type Running, start, tempFolder } from './fixture.ts'
import {
  connectPacket,
  DISCONNECT,
  dial,
  id,
  PUBACK,
  packet,
  publishPacket,
  type WireClient,
} from './wire.ts'

const LIMB = { username: 'cam1', password: 'key', clientId: 'c', clean: false }
const READER = { username: 'viewer', clientId: 'r', clean: false }
const puback = (messageId: number) => packet(0x40, id(messageId))
const PAIRING = 'limb/node/cam1/pairing'

async function limbOf({ connect, core }: Running) {
  const limb = await connect(LIMB)
  await limb.subscribe({ [PAIRING]: 1, 'limb/node/cam1/invoke': 1 })
  const { session } = await core.until('opened', (event) => event.session.clientId === 'c')
  return { limb, session }
}

async function cut(client: WireClient): Promise<void> {
  client.cut()
  await client.closed
}

describe('what was sent at QoS 1 and not acknowledged is sent again when the session is resumed', () => {
  test('to one session alone: marked DUP, under its packet identifier, and in its order', async () => {
    const running = await start()
    const { limb, session } = await limbOf(running)
    for (const text of ['a', 'b', 'c']) session.send('limb/node/cam1/invoke', Buffer.from(text))
    const [a, b] = [await limb.message(), await limb.message()]
    await limb.message()
    limb.send(puback(b.id))
    await limb.settle()
    await cut(limb)

    const again = await running.connect(LIMB)
    const [first, second] = [await again.message(), await again.message()]
    expect(first).toMatchObject({ text: 'a', dup: true, id: a.id, qos: 1 })
    expect(second).toMatchObject({ text: 'c', dup: true, qos: 1 })
    await again.settle()
    expect(again.messages).toEqual([])
    // And once more, until it is acknowledged.
    again.send(puback(second.id))
    await again.settle()
    await cut(again)
    const third = await running.connect(LIMB)
    expect(await third.message()).toMatchObject({ text: 'a', dup: true, id: a.id })
    third.send(puback(a.id))
    await third.settle()
    await cut(third)
    const fourth = await running.connect(LIMB)
    await fourth.settle()
    expect(fourth.messages).toEqual([])
  })

  test('after a restart too, when it is an invocation, and not when its time is over or it was acknowledged', async () => {
    const file = join(tempFolder(), 'limb.sqlite')
    const first = await start({ file })
    const { limb, session } = await limbOf(first)
    const invoke = (text: string, ms: number) =>
      session.send('limb/node/cam1/invoke', Buffer.from(text), { lifeMs: ms })
    for (const [text, ms] of [
      ['a', 60_000],
      ['over', 300],
      ['b', 60_000],
      ['c', 60_000],
    ] as const)
      invoke(text, ms)
    // A key may be in an answer: it is on no disk.
    session.send(PAIRING, Buffer.from('secret'))
    const sent = [await limb.message(), await limb.message(), await limb.message(), await limb.message()]
    await limb.message(PAIRING)
    limb.send(puback(sent[2]?.id ?? 0))
    await limb.settle()
    await new Promise((resolve) => setTimeout(resolve, 400))
    await first.stop()

    const second = await start({ file })
    const again = await second.connect(LIMB)
    const [a, c] = [await again.message(), await again.message()]
    expect(a).toMatchObject({ text: 'a', dup: true, id: sent[0]?.id, qos: 1 })
    expect(c).toMatchObject({ text: 'c', dup: true, id: sent[3]?.id })
    again.send(puback(a.id), puback(c.id))
    await again.settle()
    expect(again.messages).toEqual([])
    await second.stop()

    const third = await start({ file })
    const last = await third.connect(LIMB)
    await last.settle()
    expect(last.messages).toEqual([])
  })

  test('once only, when the connection and not the bridge has ended', async () => {
    const running = await start()
    const { limb, session } = await limbOf(running)
    for (const text of ['a', 'b'])
      session.send('limb/node/cam1/invoke', Buffer.from(text), { lifeMs: 60_000 })
    const [a] = [await limb.message(), await limb.message()]
    limb.send(puback(a.id))
    await limb.settle()
    await cut(limb)
    const again = await running.connect(LIMB)
    expect(await again.message()).toMatchObject({ text: 'b', dup: true })
    await again.settle()
    expect(again.messages).toEqual([])
  })

  test('that was retained: what the bridge shows, and what limbs have kept', async () => {
    const running = await start()
    running.owned.set('limb/node/cam1/status', 'online')
    const limb = await running.connect({ ...LIMB, clean: true })
    limb.send(publishPacket('limb/node/cam1/data/t', 'kept', { qos: 1, id: 1, retain: true }))
    await limb.ack(PUBACK, 1)
    const reader = await running.connect(READER)
    await reader.subscribe({ 'limb/node/cam1/#': 1 })
    await reader.message()
    await reader.message()
    await cut(reader)
    const again = await running.connect(READER)
    const messages = [await again.message(), await again.message()]
    expect(messages.map(({ topic, dup, retain }) => [topic, dup, retain]).sort()).toEqual([
      ['limb/node/cam1/data/t', true, true],
      ['limb/node/cam1/status', true, true],
    ])
  })

  test('beside what the store keeps: each comes once, and no two under one identifier', async () => {
    const running = await start()
    const reader = await running.connect(READER)
    await reader.subscribe({ 'limb/node/+/state': 1, 'limb/principal/viewer/response/#': 1 })
    const { session } = await running.core.until('opened')
    const publish = (text: string) =>
      running.broker.publisher.publish('limb/node/x/state', Buffer.from(text), { qos: 1, retain: false })
    publish('live')
    session.send('limb/principal/viewer/response/x', Buffer.from('told'))
    await reader.message()
    await reader.message()
    await cut(reader)
    await running.core.until('closed')
    publish('queued')
    await running.broker.settled()
    const again = await running.connect(READER)
    const messages = [await again.message(), await again.message(), await again.message()]
    expect(messages.map(({ text, dup }) => [text, dup]).sort()).toEqual([
      ['live', true],
      ['queued', false],
      ['told', true],
    ])
    expect(new Set(messages.map((message) => message.id)).size).toBe(3)
    await again.settle()
    expect(again.messages).toEqual([])
  })

  test('in the order in which it was sent, whoever keeps it: no old status comes after a newer one', async () => {
    const running = await start()
    running.owned.set('limb/node/x/status', 'online')
    const reader = await running.connect(READER)
    await reader.subscribe({ 'limb/node/+/status': 1, 'limb/principal/viewer/response/#': 1 })
    const { session } = await running.core.until('opened')
    const publish = (text: string) =>
      running.broker.publisher.publish('limb/node/x/status', Buffer.from(text), { qos: 1, retain: false })
    publish('busy')
    await running.broker.settled()
    session.send('limb/principal/viewer/response/x', Buffer.from('told'))
    publish('degraded')
    const order = ['online', 'busy', 'told', 'degraded']
    const first = []
    for (const _ of order) first.push((await reader.message()).text)
    expect(first).toEqual(order)
    await cut(reader)
    await running.core.until('closed')
    publish('offline')
    await running.broker.settled()
    for (const _ of ['once', 'and again']) {
      const again = await running.connect(READER)
      const texts = []
      for (let i = 0; i < 5; i++) texts.push((await again.message()).text)
      expect(texts).toEqual([...order, 'offline'])
      await cut(again)
    }
  })

  test('in its order too, when the newer one had no room in the window', async () => {
    const running = await start({ limits: { maxInflightPerSession: 2 } as never })
    for (const node of ['x', 'y', 'z']) running.owned.set(`limb/node/${node}/status`, `old ${node}`)
    const reader = await running.connect(READER)
    await reader.subscribe({ 'limb/node/+/status': 1 })
    await reader.message()
    await reader.message()
    for (const node of ['x', 'y', 'z'])
      running.broker.publisher.publish(`limb/node/${node}/status`, Buffer.from(`new ${node}`), {
        qos: 1,
        retain: false,
      })
    await running.broker.settled()
    await cut(reader)
    const again = await running.connect(READER)
    const texts: string[] = []
    for (let i = 0; i < 6; i++) {
      const message = await again.message()
      texts.push(message.text)
      again.send(puback(message.id))
    }
    expect(texts.slice(0, 3).toSorted()).toEqual(['old x', 'old y', 'old z'])
    expect(texts.slice(3)).toEqual(['new x', 'new y', 'new z'])
  })

  test('also what had no room in the window before the connection ended', async () => {
    const running = await start({ limits: { maxInflightPerSession: 2 } as never })
    const { limb, session } = await limbOf(running)
    for (const text of ['a', 'b', 'c', 'd']) session.send(PAIRING, Buffer.from(text))
    await limb.message()
    await limb.message()
    await cut(limb)
    const again = await running.connect(LIMB)
    const got: unknown[] = []
    for (let i = 0; i < 4; i++) {
      const message = await again.message()
      got.push([message.text, message.dup])
      again.send(puback(message.id))
    }
    expect(got).toEqual([
      ['a', true],
      ['b', true],
      ['c', false],
      ['d', false],
    ])
  })
})

describe('what was not acknowledged is not sent again', () => {
  test('after its time', async () => {
    const running = await start()
    const { limb, session } = await limbOf(running)
    session.send('limb/node/cam1/invoke', Buffer.from('late'), { lifeMs: 50 })
    session.send('limb/node/cam1/invoke', Buffer.from('in time'), { lifeMs: 60_000 })
    await limb.message()
    await limb.message()
    await cut(limb)
    const until = Date.now() + 60
    while (Date.now() <= until) await new Promise((resolve) => setTimeout(resolve, 5))
    const again = await running.connect(LIMB)
    expect((await again.message()).text).toBe('in time')
    await again.settle()
    expect(again.messages).toEqual([])
  })

  test('to a session that began anew, or was forgotten, or is of somebody else', async () => {
    const running = await start()
    const { limb, session } = await limbOf(running)
    session.send(PAIRING, Buffer.from('a key'))
    await limb.message()
    await cut(limb)
    const clean = await running.connect({ ...LIMB, clean: true })
    await clean.settle()
    expect(clean.messages).toEqual([])
    clean.send(DISCONNECT)
    await clean.closed
    const kept = await running.connect(LIMB)
    await kept.subscribe({ [PAIRING]: 1 })
    await kept.settle()
    expect(kept.messages).toEqual([])
    const opened = running.core.all('opened').at(-1)
    opened?.session.send(PAIRING, Buffer.from('another key'))
    await kept.message()
    await cut(kept)
    await running.persistence.sessions.forget('cam1')
    const other = await dial({ port: running.port })
    other.send(connectPacket({ ...LIMB, username: 'cam2' }))
    await other.connack()
    await other.settle()
    expect(other.messages).toEqual([])
    other.cut()
  })

  test('after a restart: nothing told is stored, because a key must not lie in a queue', async () => {
    const file = join(tempFolder(), 'limb.sqlite')
    const first = await start({ file })
    const { limb, session } = await limbOf(first)
    session.send(PAIRING, Buffer.from('the new key'))
    await limb.message()
    await cut(limb)
    await first.stop()
    const second = await start({ file })
    const again = await second.connect(LIMB)
    await again.settle()
    expect(again.messages).toEqual([])
  })
})

test('of all sessions together have a bound in bytes: the oldest of who holds most are given up, and their sessions look again', () => {
  const dropped: string[] = []
  const unacknowledged = new Unacknowledged((clientId) => dropped.push(clientId))
  const payload = Buffer.alloc(4 * 1024 * 1024 - 2048)
  const sessionOf = (id: string) => {
    const message = { qos: 1, packet: { topic: 't', payload } }
    const outbox = { leftBehind: [{ messageId: 1, message, released: false }] }
    const identity = { kind: 'limb', nodeId: id }
    return { client: { id }, identity, storedBefore: true, delivery: { close() {}, outbox } } as never
  }
  const ids = Array.from({ length: 10 }, (_, i) => `c${i}`)
  const ownerOf = (id: string) => (Number(id.slice(1)) % 2 === 0 || id === 'c9' ? 'greedy' : id)
  for (const id of ids) unacknowledged.keep(sessionOf(id), ownerOf(id))
  expect(dropped).toEqual(['c0', 'c2'])
  for (const id of ids.filter((each) => ownerOf(each) !== 'greedy'))
    expect(unacknowledged.take(sessionOf(id)), id).toHaveLength(1)
})

test('of sessions that are kept no more cost no other session what it is owed', async () => {
  const running = await start()
  const { limb, session } = await limbOf(running)
  session.send('limb/node/cam1/invoke', Buffer.from('owed'))
  await limb.message()
  await cut(limb)
  // A principal keeps twelve sessions; what the others left would be more than all may have.
  running.owned.set('limb/bridge/large', 'x'.repeat(1_000_000))
  for (let i = 0; i < 40; i++) {
    const reader = await running.connect({ ...READER, clientId: `r${i}` })
    await reader.subscribe({ 'limb/bridge/large': 1 })
    await reader.message()
    await cut(reader)
  }
  const again = await running.connect(LIMB)
  expect(await again.message()).toMatchObject({ text: 'owed', dup: true })
})
