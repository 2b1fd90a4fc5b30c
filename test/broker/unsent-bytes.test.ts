import { describe, expect, test } from 'vitest'
import { UnsentBytes } from '../../src/broker/unsent-bytes.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { patience } from '../support/patience.ts'
import { start, turn } from './fixture.ts'
import { PUBACK, PUBLISH, publishPacket, subscribePacket } from './wire.ts'

const KIB = 1024
const LARGE = 100 * KIB

/** A reader whose bytes the test says. */
function reader(owner: string, ended: string[], name = owner) {
  const own = {
    owner,
    ownBytes: 0,
    heldBytes: 0,
    isCounted: false,
    end: () => void ended.push(name),
  }
  return own
}

function world(maxBytesPerIdentity: number, maxBytes = 100 * maxBytesPerIdentity) {
  const ended: string[] = []
  const unsent = new UnsentBytes({ maxBytesPerIdentity: () => maxBytesPerIdentity, maxBytes: () => maxBytes })
  const sent = (each: ReturnType<typeof reader>, bytes: number) => {
    each.ownBytes = bytes
    each.heldBytes = bytes
    unsent.sent(each)
  }
  return { ended, unsent, sent }
}

describe('bytes that sessions have not taken', () => {
  test('have a bound for all sessions of an identity: the one with most of them ends, others of it and of others stay', () => {
    const { ended, unsent, sent } = world(1000 * KIB)
    const small = reader('dash', ended, 'small')
    const most = reader('dash', ended, 'most')
    const last = reader('dash', ended, 'last')
    const other = reader('ops', ended, 'other')
    sent(small, 100 * KIB)
    sent(most, 600 * KIB)
    sent(other, 900 * KIB)
    expect(ended).toEqual([])
    sent(last, 400 * KIB)
    expect(ended).toEqual(['most'])
    expect(unsent.bytes).toBe(1400 * KIB)
  })

  test('have a bound for all identities: whoever has most loses a session', () => {
    const { ended, sent } = world(1000 * KIB, 1500 * KIB)
    sent(reader('dash', ended), 900 * KIB)
    sent(reader('ops', ended), 500 * KIB)
    sent(reader('bot', ended), 200 * KIB)
    expect(ended).toEqual(['dash'])
  })

  test('are counted anew before anybody ends: who has read meanwhile has none', () => {
    const { ended, sent } = world(1000 * KIB)
    const first = reader('dash', ended, 'first')
    sent(first, 800 * KIB)
    first.ownBytes = 0
    first.heldBytes = 0
    sent(reader('dash', ended, 'second'), 800 * KIB)
    expect(ended).toEqual([])
  })

  test('count a large payload once, however many sessions of an identity wait for it', () => {
    const { ended, unsent } = world(1000 * KIB)
    const payload = Buffer.alloc(800 * KIB)
    const readers = Array.from({ length: 50 }, (_, i) => ({
      ...reader('dash', ended, `${i}`),
      heldBytes: payload.length,
    }))
    for (const each of readers) unsent.hold(each, payload)
    expect(unsent.bytes).toBe(payload.length)
    expect(ended).toEqual([])
    for (const each of readers.slice(1)) unsent.release(each, payload)
    expect(unsent.bytes).toBe(payload.length)
    unsent.release(readers[0] as (typeof readers)[0], payload)
    expect(unsent.bytes).toBe(0)
  })

  test('of half of the bound let those wait that need not be sent now, one after the other when there is room', () => {
    const { ended, unsent } = world(1000 * KIB)
    const payload = Buffer.alloc(600 * KIB)
    const holder = { ...reader('dash', ended), heldBytes: payload.length }
    expect(unsent.hasRoom('dash')).toBe(true)
    unsent.hold(holder, payload)
    expect(unsent.hasRoom('dash')).toBe(false)
    expect(unsent.hasRoom('ops')).toBe(true)
    const gone: string[] = []
    unsent.whenRoom('dash', () => gone.push('first'))
    unsent.whenRoom('dash', () => gone.push('taken back'))()
    unsent.whenRoom('dash', () => gone.push('second'))
    unsent.release(holder, payload)
    expect(gone).toEqual(['first'])
    unsent.leave(holder)
    expect(gone).toEqual(['first', 'second'])
    unsent.whenRoom('dash', () => gone.push('third'))
    unsent.next('dash')
    expect(gone).toEqual(['first', 'second', 'third'])
  })

  test('of an identity without a session that could end hide no other identity from the bound of all', () => {
    const { ended, unsent, sent } = world(10_000 * KIB, 1000 * KIB)
    const payloads = Array.from({ length: 30 }, () => Buffer.alloc(30 * KIB))
    // Each has so little that it is not counted by itself.
    for (const payload of payloads) unsent.hold({ ...reader('dash', ended), heldBytes: 30 * KIB }, payload)
    expect(unsent.bytes).toBe(900 * KIB)
    sent(reader('ops', ended), 500 * KIB)
    expect(ended).toEqual(['ops'])
  })

  test('let those go on who wait for room when others have read, and not when something is sent again only', () => {
    const { ended, unsent, sent } = world(1000 * KIB)
    const each = reader('dash', ended)
    const payload = Buffer.alloc(30 * KIB)
    const other = { ...reader('dash', ended, 'other'), heldBytes: payload.length }
    sent(each, 800 * KIB)
    unsent.hold(other, payload)
    let isGone = false
    unsent.whenRoom('dash', () => {
      isGone = true
    })
    each.ownBytes = 0
    each.heldBytes = 0
    unsent.release(other, payload)
    expect(isGone).toBe(true)
  })

  test('are counted anew for those who wait for room: readers that have read leave some', () => {
    const { ended, unsent, sent } = world(1000 * KIB)
    const each = reader('dash', ended)
    sent(each, 800 * KIB)
    expect(unsent.hasRoom('dash')).toBe(false)
    each.ownBytes = 0
    each.heldBytes = 0
    expect(unsent.hasRoom('dash')).toBe(true)
  })
})

const grants = [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }]

describe('sessions of one principal that do not read', () => {
  test('end, those with most first, before all of them hold more than their bound, and others lose nothing', async () => {
    const limits = {
      maxUnsentBytesPerIdentity: 2_000_000,
      maxUnsentBytes: 100_000_000,
      maxBytesPerSecond: 1_000_000_000,
      drainTimeoutMs: patience(60_000),
    }
    const { connect, broker, core, log } = await start({ grants, limits })
    const stuck = await Promise.all(
      Array.from({ length: 3 }, (_, i) => connect({ username: 'viewer1', clientId: `s${i}` })),
    )
    for (const [i, each] of stuck.entries()) {
      await each.subscribe({ [`t/${i}`]: 1 })
      each.socket.pause()
    }
    const honest = await connect({ username: 'viewer2' })
    await honest.subscribe({ 't/last': 1 })
    const writer = await connect({ username: 'viewer3' })
    // Beyond what the kernel takes of each, some megabytes.
    for (let i = 1; broker.counters.limits.unsent === 0 && i < 300; i++) {
      writer.send(publishPacket(`t/${i % 3}`, Buffer.alloc(200_000, i), { qos: 1, id: i }))
      await writer.ack(PUBACK, i)
    }
    writer.send(publishPacket('t/last', 'told'))
    expect((await honest.message()).text).toBe('told')
    expect(broker.counters.limits.unsent).toBeGreaterThan(0)
    expect(broker.unsentBytes).toBeLessThanOrEqual(2_000_000)
    const { session } = await core.until('closed')
    expect(session.identity).toMatchObject({ name: 'viewer1' })
    expect(log.lines.map(({ message }) => message)).toContainEqual(
      expect.stringContaining('too much waits for sessions that do not read'),
    )
  })

  test('and read again let what is retained go to the others at once', async () => {
    const clock = new FakeClock()
    const limits = { maxUnsentBytesPerIdentity: 400_000, maxInflightPerSession: 10 }
    const { connect, broker } = await start({ grants, limits, clock })
    const writer = await connect({ username: 'viewer2' })
    writer.send(publishPacket('t/kept', 'kept', { qos: 1, retain: true }))
    await writer.ack(PUBACK, 1)
    const slow = await connect({ username: 'viewer1', clientId: 'slow' })
    await slow.subscribe({ 't/many': 1 })
    for (let i = 1; i <= 60; i++) {
      writer.send(publishPacket('t/many', Buffer.alloc(5000), { qos: 1, id: i }))
    }
    await writer.ack(PUBACK, 60)
    expect(broker.unsentBytes).toBeGreaterThan(200_000)
    const other = await connect({ username: 'viewer1', clientId: 'other' })
    other.send(subscribePacket({ 't/kept': 0 }))
    await other.settle()
    expect(other.messages).toEqual([])
    for (let i = 0; i < 60; i++) {
      const { id } = await slow.message()
      slow.send(Buffer.from([0x40, 2, id >> 8, id & 255]))
    }
    await slow.settle()
    // Far less than what it waits for readers that take nothing.
    for (let i = 0; i < 20 && other.messages.length === 0; i++) {
      clock.advance(50)
      await turn()
    }
    expect(other.messages.map(({ text }) => text)).toEqual(['kept'])
  })

  test('keep what is retained from the others for ten seconds, and not for ten seconds of each message', async () => {
    const clock = new FakeClock()
    const limits = { maxUnsentBytesPerIdentity: 400_000, maxInflightPerSession: 10 }
    const { connect, broker } = await start({ grants, limits, clock })
    const writer = await connect({ username: 'viewer2' })
    const stuck = await connect({ username: 'viewer1', clientId: 'stuck' })
    await stuck.subscribe({ 't/many': 1 })
    for (let i = 1; i <= 60; i++) {
      writer.send(publishPacket('t/many', Buffer.alloc(5000), { qos: 1, id: i }))
    }
    for (let i = 61; i <= 80; i++) {
      writer.send(publishPacket(`t/kept/${i}`, 'kept', { qos: 1, id: i, retain: true }))
    }
    await writer.ack(PUBACK, 80)
    expect(broker.unsentBytes).toBeGreaterThan(200_000)
    const other = await connect({ username: 'viewer1', clientId: 'other' })
    await other.subscribe({ 't/kept/#': 0 })
    for (let i = 0; i < 90; i++) {
      clock.advance(100)
      await turn()
    }
    expect(other.messages).toEqual([])
    for (let i = 0; i < 20; i++) {
      clock.advance(100)
      for (let j = 0; j < 10; j++) await turn()
    }
    await other.settle()
    expect(other.messages).toHaveLength(20)
  })

  test('and hold much themselves wait so long for each message', async () => {
    const clock = new FakeClock()
    const limits = { maxUnsentBytesPerIdentity: 2_000_000 }
    const { connect } = await start({ grants, limits, clock })
    const writer = await connect({ username: 'viewer2' })
    for (let i = 1; i <= 4; i++) {
      writer.send(publishPacket(`t/kept/${i}`, Buffer.alloc(600_000), { qos: 1, id: i, retain: true }))
    }
    await writer.ack(PUBACK, 4)
    const kept = await connect({ username: 'viewer1', clientId: 'kept', clean: false })
    await kept.subscribe({ 't/kept/#': 1 })
    for (let i = 0; i < 120; i++) {
      clock.advance(100)
      for (let j = 0; j < 3; j++) await turn()
    }
    await kept.settle()
    expect(kept.messages).toHaveLength(3)
    expect(kept.isClosed).toBe(false)
  })

  test('and read without acknowledging end too, when what is kept for them until then is too much', async () => {
    const limits = { maxUnsentBytesPerIdentity: 2_000_000, maxUnsentBytes: 100_000_000 }
    const { connect, broker, core } = await start({ limits })
    const client = await connect({ username: 'viewer1', clean: false, clientId: 'kept' })
    await client.subscribe({ 'limb/bridge/#': 1 })
    const { session } = await core.until('opened')
    // No store keeps what the bridge sends to one session alone.
    for (let i = 0; i < 60 && session.alive; i++) {
      session.send('limb/bridge/event/x', Buffer.alloc(LARGE, i))
      await client.next(({ type }) => type === PUBLISH || client.isClosed).catch(() => undefined)
    }
    await client.closed
    expect(broker.counters.limits.unsent).toBe(1)
    expect(broker.unsentBytes).toBe(0)
  })
})
