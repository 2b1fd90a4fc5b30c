import { describe, expect, test } from 'vitest'
import type { Broker } from '../../src/broker/broker.ts'
import { type Stranger, Strangers } from '../../src/broker/strangers.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { patience } from '../support/patience.ts'
import { start } from './fixture.ts'
import { connectPacket, dial, id, PUBACK, PUBREC, packet, publishPacket, subscribePacket } from './wire.ts'

const KIB = 1024
const LIMB = { username: 'cam1', password: 'key' }
const heartbeat = (id: number) => publishPacket('limb/node/cam1/heartbeat', '', { qos: 1, id })

class Fake implements Stranger {
  readonly baseBytes = 10
  mayGo = true
  evicted = false
  bytes: number

  constructor(bytes: number) {
    this.bytes = bytes
  }

  cost(): number {
    return this.bytes
  }

  evict(): void {
    this.evicted = true
  }
}

describe('the budget of those who have shown no secret', () => {
  function make(maxBytes = 100) {
    const clock = new FakeClock()
    const spent: number[] = []
    const strangers = new Strangers({ clock, maxBytes: () => maxBytes, spent: (bytes) => spent.push(bytes) })
    const enter = (bytes: number, mayGo = true) => {
      const one = new Fake(bytes)
      one.mayGo = mayGo
      strangers.enter(one)
      return one
    }
    return { clock, spent, strangers, enter }
  }

  test('ends the oldest first, and no more of them than it must', () => {
    const { enter, strangers, spent } = make()
    const all = [40, 40, 40].map((bytes) => enter(bytes))
    expect(all.map(({ evicted }) => evicted)).toEqual([true, false, false])
    expect(strangers.bytes).toBe(80)
    expect(spent).toEqual([120])
  })

  test('never ends who waits for an answer of ours, nor who has just come and holds nothing', () => {
    const { enter, clock } = make()
    const waiting = enter(60, false)
    const fresh = enter(10)
    const holding = enter(40)
    expect([waiting, fresh, holding].map(({ evicted }) => evicted)).toEqual([false, false, true])
    clock.advance(10_000)
    enter(35)
    expect(waiting.evicted).toBe(false)
    expect(fresh.evicted).toBe(true)
  })

  test('is measured anew before anybody is ended', () => {
    const { enter, strangers } = make()
    const first = enter(90)
    first.bytes = 10
    const second = enter(50)
    expect([first.evicted, second.evicted]).toEqual([false, false])
    expect(strangers.bytes).toBe(60)
    strangers.leave(first)
    expect(strangers.bytes).toBe(50)
  })

  test('says once that it is spent, and again when it was not for a minute', () => {
    const { enter, clock, spent } = make()
    for (let i = 0; i < 50; i++) enter(30)
    expect(spent).toHaveLength(1)
    clock.advance(61_000)
    for (let i = 0; i < 50; i++) enter(30)
    expect(spent).toHaveLength(2)
  })
})

/** A candidate that has announced a packet of `size` bytes and sent all of it but the last few. */
async function halfSent(port: number, name: string, size: number, missing = 1) {
  const client = await dial({ port })
  client.send(connectPacket({ username: name, password: 'unknown' }))
  await client.connack()
  const whole = publishPacket(`limb/node/${name}/register`, Buffer.alloc(size, 0x20), { qos: 1, id: 1 })
  client.send(whole.subarray(0, -missing))
  return client
}

/** What was ended lingers until its client has closed the connection too. */
async function noneLeft(broker: Broker): Promise<void> {
  await expect.poll(() => broker.strangerBytes, { timeout: patience(5000) }).toBe(0)
}

describe('candidates', () => {
  test('that hold too much together go, the oldest first, and a limb and a principal notice nothing', async () => {
    const { port, broker, connect, log, core } = await start({ limits: { maxStrangerBytes: 600 * KIB } })
    const limb = await connect(LIMB)
    const viewer = await connect({ username: 'viewer1' })
    expect(broker.strangerBytes).toBe(0)
    const all = []
    for (let i = 0; i < 30; i++) all.push(await halfSent(port, `new${i}`, 28 * KIB))
    await all[0]?.closed
    await core.until('closed')
    limb.send(heartbeat(1))
    await limb.ack(PUBACK, 1)
    await viewer.settle()
    expect(broker.strangerBytes).toBeLessThanOrEqual(600 * KIB)
    expect(all.at(-1)?.isClosed).toBe(false)
    expect(broker.counters.limits.strangers).toBeGreaterThan(5)
    const said = log.of('warn').filter(({ message }) => message.includes('mqtt.maxStrangerBytes'))
    expect(said).toHaveLength(1)
  })

  test('send no packet above their own small limit, before and after a limb may send a larger one', async () => {
    const { port, connect, broker } = await start()
    const large = await halfSent(port, 'new1', 40 * KIB)
    await large.closed
    expect(broker.counters.limits.packet).toBe(1)
    const limb = await connect(LIMB)
    limb.send(publishPacket('limb/node/cam1/register', Buffer.alloc(200 * KIB, 0x20), { qos: 1, id: 3 }))
    await limb.ack(PUBACK, 3)
  })

  test.each([
    ['stands still', 0],
    ['comes byte by byte', 1],
  ])('whose packet %s end after a while', async (_, bytes) => {
    const { port, broker, log, core } = await start({ limits: { partialPacketMs: 200 } })
    const client = await halfSent(port, 'new1', 4 * KIB, 1000)
    const dribble = setInterval(() => client.send(Buffer.alloc(bytes)), 50)
    await client.closed
    clearInterval(dribble)
    await core.until('closed')
    expect(broker.counters.limits.packet_time).toBe(1)
    expect(log.of('info').at(-1)?.message).toContain('not whole in time')
    await noneLeft(broker)
  })

  test('are strangers until they are approved, and are measured again when they are candidates once more', async () => {
    const { connect, core, broker } = await start()
    const device = await connect({ username: 'new1', password: 'unknown' })
    const { session } = await core.until('opened')
    expect(broker.strangerBytes).toBeGreaterThan(0)
    session.identity = { kind: 'limb', nodeId: 'new1' }
    expect(broker.strangerBytes).toBe(0)
    session.identity = { kind: 'candidate', nodeId: 'new1', key: 'unknown' }
    expect(broker.strangerBytes).toBeGreaterThan(0)
    device.socket.destroy()
    await core.until('closed')
    expect(broker.strangerBytes).toBe(0)
  })

  test('are owed one answer: the newest, when they acknowledge none', async () => {
    const { connect, core } = await start()
    const device = await connect({ username: 'new1', password: 'unknown' })
    device.send(subscribePacket({ 'limb/node/new1/pairing': 1 }))
    const { session } = await core.until('subscribed')
    for (let i = 0; i < 50; i++) session.send('limb/node/new1/pairing', Buffer.from(`${i}`))
    const first = await device.message()
    expect(first.text).toBe('0')
    device.send(packet(0x40, id(first.id)))
    expect((await device.message()).text).toBe('49')
  })

  test('that is approved while it owes an acknowledgement gets what comes then', async () => {
    const { connect, core } = await start()
    const device = await connect({ username: 'new1', password: 'unknown' })
    device.send(subscribePacket({ 'limb/node/new1/pairing': 1 }))
    const { session } = await core.until('subscribed')
    for (const text of ['pending', 'still pending']) session.send('limb/node/new1/pairing', Buffer.from(text))
    session.identity = { kind: 'limb', nodeId: 'new1' }
    session.send('limb/node/new1/pairing', Buffer.from('approved'))
    const texts = [await device.message(), await device.message(), await device.message()].map(
      ({ text }) => text,
    )
    expect(texts).toEqual(['pending', 'still pending', 'approved'])
  })

  test('open few QoS 2 handshakes', async () => {
    const { connect, broker } = await start({ limits: { maxCandidateInflight: 2 } })
    const device = await connect({ username: 'new1', password: 'unknown' })
    for (const n of [1, 2]) {
      device.send(publishPacket('limb/node/new1/register', '{}', { qos: 2, id: n }))
      await device.ack(PUBREC, n)
    }
    device.send(publishPacket('limb/node/new1/register', '{}', { qos: 2, id: 3 }))
    await device.closed
    expect(broker.counters.limits.inflight).toBe(1)
  })

  test('that do not read what they ask for are ended', async () => {
    const { connect, broker, core } = await start({ limits: { maxCandidateUnsentBytes: 64 } })
    const device = await connect({ username: 'new1', password: 'unknown' })
    const { session } = await core.until('opened')
    // A socket that takes nothing.
    const { conn } = session as unknown as { conn: { cork(): void } }
    conn.cork()
    for (let n = 1; n <= 20; n++) device.send(publishPacket('limb/node/new1/x', '', { qos: 1, id: n }))
    await device.closed
    await noneLeft(broker)
  })
})
