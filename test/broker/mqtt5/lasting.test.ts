import { copyFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { FakeClock } from '../../support/fake-clock.ts'
import { type Running, type Start, start, tempFolder, turn } from '../fixture.ts'
import { PUBACK, PUBLISH, PUBREL, type WireClient } from '../wire.ts'
import {
  ack5,
  answer5,
  disconnect5,
  joined5,
  message5,
  nextMessage,
  open5,
  props,
  publish5,
  subscribe5,
  subscribed,
} from './wire5.ts'

/** What MQTT 5 promises beyond a connection, and beyond the life of the bridge. */

const GRANTS = [{ to: 'viewer', publish: ['t/#', 'w'], subscribe: ['t/#', 'w'] }]
const five = (options: Start = {}): Promise<Running> => start({ grants: GRANTS, ...options })
const expiry = (seconds: number) => props().uint32(0x11, seconds).bytes()

/** The database as it is on disk now, which is what is left after a kill. */
function crashImage(file: string): string {
  const copy = join(tempFolder(), 'copy.sqlite')
  for (const end of ['', '-wal']) {
    if (existsSync(file + end)) copyFileSync(file + end, copy + end)
  }
  return copy
}

/** Ends a connection, with a goodbye or without, and waits until the bridge has seen it. */
async function gone(bridge: Running, client: WireClient, goodbye?: Buffer): Promise<void> {
  const before = bridge.core.all('closed').length
  if (goodbye === undefined) client.cut()
  else client.send(goodbye)
  while (bridge.core.all('closed').length === before) await turn()
  await turn()
}

const databaseFile = () => join(tempFolder(), 'bridge.sqlite')

describe('a message with an expiry', () => {
  test('counts down while it is retained and while it waits, and is gone when its time is up', async () => {
    const clock = new FakeClock()
    const bridge = await five({ clock })
    const away = await joined5(bridge, { username: 'viewer1', clientId: 'away', properties: expiry(1000) })
    await subscribed(away, [['t/#', 1]])
    await gone(bridge, away, disconnect5(0))
    const sender = await joined5(bridge, { username: 'viewer2' })
    const lives = (seconds: number) => props().uint32(0x02, seconds).bytes()
    sender.send(publish5('t/long', 'long', { qos: 1, id: 1, retain: true, properties: lives(100) }))
    sender.send(publish5('t/short', 'short', { qos: 1, id: 2, retain: true, properties: lives(10) }))
    await sender.of(PUBACK)
    await sender.of(PUBACK)
    clock.advance(40_000)
    const back = await joined5(bridge, {
      username: 'viewer1',
      clientId: 'away',
      cleanStart: false,
      properties: expiry(1000),
    })
    expect(await nextMessage(back)).toMatchObject({ text: 'long', properties: { '2': [60] } })
    const fresh = await joined5(bridge, { username: 'viewer3' })
    await subscribed(fresh, [['t/#', 0]])
    expect(await nextMessage(fresh)).toMatchObject({ text: 'long', retain: true, properties: { '2': [60] } })
    sender.send(publish5('t/end', 'end'))
    expect((await nextMessage(fresh)).text).toBe('end')
    expect((await nextMessage(back)).text).toBe('end')
  })

  test('is told to no uplink and no stream of events when its time is up, though the sweep has not come', async () => {
    const clock = new FakeClock()
    const bridge = await five({ clock })
    const sender = await joined5(bridge, { username: 'viewer2' })
    const properties = props().uint32(0x02, 10).bytes()
    sender.send(publish5('t/short', 'short', { qos: 1, id: 1, retain: true, properties }))
    sender.send(publish5('t/ever', 'ever', { qos: 1, id: 2, retain: true }))
    await sender.of(PUBACK)
    await sender.of(PUBACK)
    const topics = async () => {
      const found: string[] = []
      for await (const { topic } of bridge.broker.feed.retained('t/#')) found.push(topic)
      return found.toSorted()
    }
    expect(await topics()).toEqual(['t/ever', 't/short'])
    clock.advance(10_000)
    expect(await topics()).toEqual(['t/ever'])
  })

  test('keeps properties, order and what is left of its life over a kill', async () => {
    const file = databaseFile()
    const clock = new FakeClock()
    const bridge = await five({ file, clock })
    const away = await joined5(bridge, { username: 'viewer1', clientId: 'away', properties: expiry(1000) })
    await subscribed(away, [['t/#', 1]], props().varint(0x0b, 4).bytes())
    await gone(bridge, away)
    const sender = await joined5(bridge, { username: 'viewer2' })
    for (const [i, seconds] of [100, 10, 50].entries()) {
      const properties = props().text(3, `type ${i}`).uint32(0x02, seconds).bytes()
      sender.send(publish5('t/x', `${i}`, { qos: 1, id: i + 1, retain: true, properties }))
    }
    for (let i = 0; i < 3; i++) await sender.of(PUBACK)
    const copy = crashImage(file)
    await bridge.stop()
    clock.advance(20_000)
    const next = await five({ file: copy, clock })
    const { client, connack } = await open5(next, {
      username: 'viewer1',
      clientId: 'away',
      cleanStart: false,
      properties: expiry(1000),
    })
    expect(connack.present).toBe(true)
    expect(await nextMessage(client)).toMatchObject({
      text: '0',
      properties: { '3': ['type 0'], '2': [80], b: [4] },
    })
    expect(await nextMessage(client)).toMatchObject({ text: '2', properties: { '3': ['type 2'], '2': [30] } })
    const fresh = await joined5(next, { username: 'viewer3' })
    await subscribed(fresh, [['t/x', 0]])
    expect(await nextMessage(fresh)).toMatchObject({ text: '2', retain: true, properties: { '2': [30] } })
  })
})

describe('a stored session', () => {
  test('ends by its own time, by its own clock, also over a kill', async () => {
    const file = databaseFile()
    const clock = new FakeClock()
    const bridge = await five({ file, clock })
    const lasting = { username: 'viewer1', cleanStart: false }
    const short = await joined5(bridge, { ...lasting, clientId: 'short', properties: expiry(60) })
    await subscribed(short, [['t/#', 1]])
    // Connected for longer than it may be away: its time has not begun.
    clock.advance(50_000)
    const copy = crashImage(file)
    await bridge.stop()
    clock.advance(50_000)
    const next = await five({ file: copy, clock })
    clock.advance(30_000)
    const back = await open5(next, { ...lasting, clientId: 'short', properties: expiry(60) })
    expect(back.connack.present).toBe(true)
    await gone(next, back.client, disconnect5(0))
    clock.advance(61_000)
    const late = await open5(next, { ...lasting, clientId: 'short', properties: expiry(60) })
    expect(late.connack.present).toBe(false)
  })

  test('is swept when its time is up', async () => {
    const clock = new FakeClock()
    const bridge = await five({ clock })
    const client = await joined5(bridge, { username: 'viewer1', clientId: 'p', properties: expiry(60) })
    await gone(bridge, client, disconnect5(0))
    const { sessions } = bridge.persistence as unknown as {
      sessions: { sweep(ms: number): Promise<string[]> }
    }
    expect(await sessions.sweep(1_000_000)).toEqual([])
    clock.advance(60_000)
    expect(await sessions.sweep(1_000_000)).toEqual(['viewer1 p'])
  })

  test('stores the options of all filters of one SUBSCRIBE', async () => {
    const bridge = await five()
    const one = { username: 'viewer1', clientId: 'p', cleanStart: false, properties: expiry(60) }
    const first = await joined5(bridge, one)
    first.send(
      subscribe5(
        [
          ['t/a', 1],
          ['t/b', 1 | 4],
        ],
        1,
        props().varint(0x0b, 9).bytes(),
      ),
    )
    await first.of(9)
    await gone(bridge, first)
    const second = await joined5(bridge, one)
    second.send(publish5('t/b', 'own'), publish5('t/a', 'mine'))
    expect(await nextMessage(second)).toMatchObject({ text: 'mine', properties: { b: [9] } })
  })

  test('sends again what was not acknowledged, as a repetition, and no more at once than the client takes', async () => {
    const bridge = await five()
    const one = { username: 'viewer1', clientId: 'p', cleanStart: false }
    const two = Buffer.concat([props().uint32(0x11, 60).uint16(0x21, 2).bytes()])
    const first = await joined5(bridge, { ...one, properties: two })
    await subscribed(first, [['t/#', 1]])
    const sender = await joined5(bridge, { username: 'viewer2' })
    for (let i = 1; i <= 4; i++) sender.send(publish5('t/x', `${i}`, { qos: 1, id: i }))
    for (let i = 1; i <= 4; i++) await sender.of(PUBACK)
    await nextMessage(first)
    await nextMessage(first)
    await gone(bridge, first)
    const second = await joined5(bridge, { ...one, properties: two })
    const again = await nextMessage(second)
    expect(again).toMatchObject({ text: '1', dup: true })
    expect(await nextMessage(second)).toMatchObject({ text: '2', dup: true })
    second.send(publish5('t/none', '', { qos: 1, id: 50 }))
    expect(answer5(await second.of(PUBACK)).id).toBe(50)
    expect(second.packets.filter(({ type }) => type === PUBLISH).map((each) => message5(each).text)).toEqual(
      [],
    )
    second.send(ack5(0x40, again.id))
    expect(await nextMessage(second)).toMatchObject({ text: '3', dup: false })
  })
})

describe('a session that takes one message at a time', () => {
  const READER = { username: 'viewer1', clientId: 'one by one', cleanStart: false }
  const one = () => props().uint32(0x11, 1000).uint16(0x21, 1).bytes()
  const take = async (client: WireClient) => {
    const message = await nextMessage(client)
    client.send(ack5(0x40, message.id))
    return message.text
  }

  test('gets all that an earlier connection left unacknowledged, which was more than one', async () => {
    const bridge = await five()
    const first = await joined5(bridge, { ...READER, properties: expiry(1000) })
    await subscribed(first, [['limb/principal/viewer1/response/#', 1]])
    const { session } = await bridge.core.until('opened')
    const told = ['a', 'b', 'c']
    for (const text of told) session.send('limb/principal/viewer1/response/x', Buffer.from(text))
    for (const _ of told) await nextMessage(first)
    await gone(bridge, first)
    const back = await joined5(bridge, { ...READER, properties: one() })
    for (const text of told) expect(await take(back)).toBe(text)
    bridge.core.all('opened').at(-1)?.session.send('limb/principal/viewer1/response/x', Buffer.from('live'))
    expect(await take(back)).toBe('live')
  })

  test('loses nothing, and no order, when it is cut again and again before it has all', async () => {
    const bridge = await five()
    bridge.owned.set('limb/node/x/status', 'online')
    const first = await joined5(bridge, {
      ...READER,
      properties: props().uint32(0x11, 1000).uint16(0x21, 3).bytes(),
    })
    await subscribed(first, [
      ['limb/node/+/status', 1],
      ['limb/principal/viewer1/response/#', 1],
    ])
    const { session } = await bridge.core.until('opened')
    const publish = (text: string) =>
      bridge.broker.publisher.publish('limb/node/x/status', Buffer.from(text), { qos: 1, retain: false })
    publish('busy')
    await bridge.broker.settled()
    for (const text of ['told', 'told too', 'and this'])
      session.send('limb/principal/viewer1/response/x', Buffer.from(text))
    publish('degraded')
    await bridge.broker.settled()
    for (let i = 0; i < 3; i++) await nextMessage(first)
    await gone(bridge, first)
    publish('offline')
    await bridge.broker.settled()
    for (let i = 0; i < 3; i++) {
      const cut = await joined5(bridge, { ...READER, properties: one() })
      expect((await nextMessage(cut)).text).toBe('online')
      await gone(bridge, cut)
    }
    const back = await joined5(bridge, { ...READER, properties: one() })
    const texts = []
    for (let i = 0; i < 7; i++) texts.push(await take(back))
    expect(texts).toEqual(['online', 'busy', 'told', 'told too', 'and this', 'degraded', 'offline'])
  })
})

test('a message of QoS 2 that was sent before its time was up is brought to its end [MQTT-4.3.3-7]', async () => {
  const clock = new FakeClock()
  const bridge = await five({ clock })
  const one = { username: 'viewer1', clientId: 'two', cleanStart: false, properties: expiry(1000) }
  const first = await joined5(bridge, one)
  await subscribed(first, [['t/#', 2]])
  const sender = await joined5(bridge, { username: 'viewer2' })
  const lives = props().uint32(0x02, 10).bytes()
  for (const qos of [1, 2] as const) {
    sender.send(publish5(`t/${qos}`, `${qos}`, { qos, id: qos, properties: lives }))
    await nextMessage(first)
  }
  await bridge.broker.settled()
  await gone(bridge, first)
  clock.advance(20_000)
  const again = await joined5(bridge, one)
  const { id: messageId, ...message } = await nextMessage(again)
  expect(message).toMatchObject({ text: '2', qos: 2, dup: true })
  again.send(ack5(0x50, messageId))
  await again.of(PUBREL)
  again.send(ack5(0x70, messageId))
  await again.settle()
  expect(again.messages).toEqual([])
})

describe('a will with a delay', () => {
  const will = (seconds: number) => ({
    topic: 'w',
    payload: 'gone',
    qos: 1,
    properties: props().uint32(0x18, seconds).text(3, 'text/plain').bytes(),
  })
  const options = { username: 'viewer1', clientId: 'p', cleanStart: false, properties: expiry(100) }

  test('is sent when its delay is over, and not when the client is back before', async () => {
    const clock = new FakeClock()
    const bridge = await five({ clock })
    const watcher = await joined5(bridge, { username: 'viewer2' })
    await subscribed(watcher, [['w', 1]])
    const first = await joined5(bridge, { ...options, will: will(30) })
    await gone(bridge, first)
    clock.advance(29_000)
    const second = await joined5(bridge, { ...options, will: { ...will(30), payload: 'second' } })
    clock.advance(60_000)
    await gone(bridge, second)
    clock.advance(30_000)
    expect(await nextMessage(watcher)).toMatchObject({ text: 'second', properties: { '3': ['text/plain'] } })
  })

  test('is sent when the session ends before its delay does', async () => {
    const clock = new FakeClock()
    const bridge = await five({ clock })
    const watcher = await joined5(bridge, { username: 'viewer2' })
    await subscribed(watcher, [['w', 1]])
    const first = await joined5(bridge, { ...options, will: will(3000) })
    await gone(bridge, first)
    // The session lasts 100 s.
    clock.advance(100_000)
    expect((await nextMessage(watcher)).text).toBe('gone')
    const second = await joined5(bridge, { ...options, will: will(3000) })
    await gone(bridge, second)
    await joined5(bridge, { ...options, cleanStart: true })
    expect((await nextMessage(watcher)).text).toBe('gone')
  })

  test('is not sent when who wrote it is no more, whether it was connected or away', async () => {
    const clock = new FakeClock()
    const bridge = await five({ clock })
    const watcher = await joined5(bridge, { username: 'viewer2' })
    await subscribed(watcher, [['w', 1]])
    await gone(bridge, await joined5(bridge, { ...options, will: will(30) }))
    const connected = await joined5(bridge, { ...options, clientId: 'q', will: will(30) })
    await bridge.broker.sessions.forget('viewer1')
    await gone(bridge, connected)
    clock.advance(200_000)
    await watcher.settle()
    expect(watcher.messages).toEqual([])
  })

  test('is sent when its session is pushed out by newer ones, so that one identity has no more wills than sessions', async () => {
    const clock = new FakeClock()
    const bridge = await five({ clock })
    const watcher = await joined5(bridge, { username: 'viewer2' })
    await subscribed(watcher, [['w', 1]])
    for (let i = 0; i < 14; i++) {
      const payload = `will ${i}`
      const client = await joined5(bridge, { ...options, clientId: `c${i}`, will: { ...will(90), payload } })
      await gone(bridge, client)
    }
    expect([(await nextMessage(watcher)).text, (await nextMessage(watcher)).text]).toEqual([
      'will 0',
      'will 1',
    ])
    await watcher.settle()
    expect(watcher.messages).toEqual([])
  })

  test('is sent after a kill of the bridge, when its client does not come back', async () => {
    const file = databaseFile()
    const clock = new FakeClock()
    const bridge = await five({ file, clock })
    const away = await joined5(bridge, { ...options, will: will(30) })
    const connected = await joined5(bridge, {
      ...options,
      clientId: 'q',
      will: { ...will(50), payload: 'q' },
    })
    await gone(bridge, away)
    // What nobody waits for shares a commit with this, or comes before it.
    await bridge.persistence.sessions.put('other', 'viewer9')
    expect(connected.isClosed).toBe(false)
    const copy = crashImage(file)
    await bridge.stop()
    clock.advance(10_000)
    const next = await five({ file: copy, clock })
    const watcher = await joined5(next, { username: 'viewer2' })
    await subscribed(watcher, [['w', 1]])
    // No time passes for a will while no bridge runs.
    clock.advance(30_000)
    expect((await nextMessage(watcher)).text).toBe('gone')
    clock.advance(30_000)
    expect((await nextMessage(watcher)).text).toBe('q')
  })
})

test('a session that looks again after a restart is told the subscription that each message is for', async () => {
  const file = databaseFile()
  const lasting = { username: 'viewer1', clientId: 'kept', cleanStart: false, properties: expiry(60) }
  const bridge = await five({ file })
  const client = await joined5(bridge, lasting)
  await subscribed(client, [['limb/node/+/status', 1]], props().varint(0x0b, 7).bytes())
  await bridge.stop()
  const next = await five({ file })
  next.owned.set('limb/node/a/status', 'online')
  const back = await joined5(next, lasting)
  expect(await nextMessage(back)).toMatchObject({ text: 'online', properties: { b: [7] } })
})
