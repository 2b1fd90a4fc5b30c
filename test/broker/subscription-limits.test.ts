import { describe, expect, onTestFinished, test } from 'vitest'
import { subscriptionsOfPrincipal, weightOf } from '../../src/broker/subscription-limit.ts'
import { start, turn } from './fixture.ts'
import { open, persistenceOn } from './persistence-fixture.ts'
import { grantedIn, publishPacket, SUBACK, subscribePacket, UNSUBACK, unsubscribePacket } from './wire.ts'

const LIMB = { username: 'cam1', password: 'key', clientId: 'cam1' }
const grants = [{ to: 'limb', subscribe: ['t/#'] }]
const filters = (from: number, count: number, qos = 0) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`t/${from + i}`, qos]))
const states = (from: number, count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`limb/node/n${from + i}/state`, 0]))

describe('a session that is never above its limit is never refused', () => {
  test('when it ends and makes subscriptions in one write', async () => {
    const { connect } = await start({ grants, limits: { maxSubscriptionsPerSession: 4 } as never })
    const limb = await connect(LIMB)
    await limb.subscribe(filters(0, 4))
    for (let round = 1; round <= 20; round++) {
      limb.send(
        Buffer.concat([
          unsubscribePacket(Object.keys(filters((round - 1) * 4, 4)), 1),
          subscribePacket(filters(round * 4, 4), 2),
        ]),
      )
      expect(grantedIn(await limb.ack(SUBACK, 2))).toEqual([0, 0, 0, 0])
    }
    expect(await limb.subscribe(filters(1000, 1))).toEqual([128])
  })

  test('when it subscribes again what it has, at its limit', async () => {
    const { connect } = await start({ grants, limits: { maxSubscriptionsPerSession: 4 } as never })
    const limb = await connect(LIMB)
    expect(await limb.subscribe(filters(0, 4))).toEqual([0, 0, 0, 0])
    expect(await limb.subscribe(filters(0, 4, 1))).toEqual([1, 1, 1, 1])
    expect(await limb.subscribe({ ...filters(0, 1), ...filters(9, 1) })).toEqual([0, 128])
  })
})

describe('principals', () => {
  test('have by default enough for a fleet of maxConnections, in one session', async () => {
    const { connect } = await start({
      limits: { maxConnections: 300, maxConnectionsPerAddress: 300 } as never,
    })
    const dashboard = await connect({ username: 'viewer1' })
    for (let from = 0; from < 1800; from += 300) {
      expect(new Set(await dashboard.subscribe(states(from, 300)))).toEqual(new Set([0]))
    }
  })

  test('have a limit of all their sessions together, which ends with the session, and a warning names it', async () => {
    const { connect, broker, core, log } = await start({
      limits: { maxSubscriptionsPerPrincipal: 10 } as never,
    })
    const [one, two] = [await connect({ username: 'viewer1' }), await connect({ username: 'viewer1' })]
    const other = await connect({ username: 'viewer2' })
    await one.subscribe(states(0, 8))
    expect(await two.subscribe(states(0, 3))).toEqual([0, 0, 128])
    expect(await other.subscribe(states(0, 10))).toEqual(Array.from({ length: 10 }, () => 0))
    expect(broker.counters.limits.principal_subscriptions).toBe(1)
    expect(log.of('warn').map(({ message }) => message)).toEqual([
      'too many subscriptions; the limit is mqtt.maxSubscriptionsPerPrincipal',
    ])
    one.cut()
    await core.until('closed')
    expect(await two.subscribe(states(100, 8))).toEqual(Array.from({ length: 8 }, () => 0))
  })
})

describe('what a filter counts as', () => {
  test('grows with its length, its wildcards, and who shares it', () => {
    expect(weightOf('limb/node/cam1/state')).toBe(1)
    expect(weightOf('limb/node/+/state')).toBe(3)
    expect(weightOf('#')).toBe(3)
    expect(weightOf(`a/${'x'.repeat(1000)}`)).toBe(8)
    expect(weightOf('$share/g/limb/node/cam1/state')).toBe(16)
  })

  test('is sixteen for each approved limb, and a thousand, up to what all connections may need', () => {
    const limits = { maxConnections: 20_000, maxSubscriptionsPerPrincipal: null }
    expect(subscriptionsOfPrincipal(limits)).toBe(61_000)
    expect(subscriptionsOfPrincipal(limits, 0)).toBe(1000)
    expect(subscriptionsOfPrincipal(limits, 300)).toBe(5800)
    expect(subscriptionsOfPrincipal(limits, 100_000)).toBe(61_000)
    expect(subscriptionsOfPrincipal({ ...limits, maxSubscriptionsPerPrincipal: 7 }, 300)).toBe(7)
  })

  test('counts for a principal, whose fleet allows it by default', async () => {
    const limbs = { count: 0 }
    const { connect } = await start({ limbs: () => limbs.count })
    const dashboard = await connect({ username: 'viewer1' })
    const shared = Object.fromEntries(Array.from({ length: 340 }, (_, i) => [`limb/node/+/data/${i}`, 0]))
    const granted = await dashboard.subscribe(shared)
    expect(granted.filter((code) => code === 0)).toHaveLength(333)
    limbs.count = 1
    expect(await dashboard.subscribe({ 'limb/node/+/data/x': 0 })).toEqual([0])
  })
})

describe('stored sessions of a principal', () => {
  test('that are away count too, until they are forgotten', async () => {
    const limits = { maxSubscriptionsPerPrincipal: 10 } as never
    const { connect, core, persistence } = await start({ limits })
    const one = await connect({ username: 'viewer1', clientId: 'one', clean: false })
    expect(new Set(await one.subscribe(states(0, 8)))).toEqual(new Set([0]))
    one.cut()
    await core.until('closed')
    while (persistence.sessions.awaySubscriptions('viewer1') === 0) await turn()
    const two = await connect({ username: 'viewer1', clientId: 'two' })
    expect(await two.subscribe(states(0, 3))).toEqual([0, 0, 128])
    const again = await connect({ username: 'viewer1', clientId: 'one', clean: false })
    await again.settle()
    expect(persistence.sessions.awaySubscriptions('viewer1')).toBe(0)
    expect(await two.subscribe(states(20, 1))).toEqual([128])
    await persistence.sessions.forget('viewer1')
    expect(persistence.sessions.awaySubscriptions('viewer1')).toBe(0)
  })

  test('count after a restart, of which all are away', async () => {
    const database = open()
    onTestFinished(() => database.close())
    const before = persistenceOn(database)
    await before.load()
    await before.sessions.put('viewer1 one', 'viewer1')
    await before.addSubscriptions({ id: 'viewer1 one' }, [
      { topic: 'limb/node/cam1/state', qos: 1 },
      { topic: 'limb/node/+/status', qos: 0 },
    ])
    const after = persistenceOn(database)
    await after.load()
    expect(after.sessions.awaySubscriptions('viewer1')).toBe(4)
  })

  test('keep nothing of what was refused', async () => {
    const limits = { maxSubscriptionsPerPrincipal: 4 } as never
    const { connect, persistence } = await start({ limits })
    const one = await connect({ username: 'viewer1', clientId: 'one', clean: false })
    expect(await one.subscribe(states(0, 6), 1)).toEqual([0, 0, 0, 0, 128, 128])
    expect(await one.subscribe(states(10, 6), 2)).toEqual(Array.from({ length: 6 }, () => 128))
    const kept = await persistence.subscriptionsByClient({ id: 'viewer1 one' })
    expect(kept.map(({ topic }) => topic)).toEqual(Object.keys(states(0, 4)))
  })
})

test('a list of two thousand filters is taken, and a longer one ends the session before it is worked on', async () => {
  const { connect, broker, log } = await start({})
  const one = await connect({ username: 'viewer1' })
  expect(await one.subscribe(states(0, 2000))).toHaveLength(2000)
  one.send(subscribePacket(states(0, 2001), 7))
  await one.closed
  const two = await connect({ username: 'viewer1' })
  two.send(unsubscribePacket(Object.keys(states(0, 2001)), 8))
  await two.closed
  expect(broker.counters.limits.filters).toBe(2)
  expect(log.lines.map(({ message }) => message)).toContain(
    'too many filters in one packet: connection closed; the limit is a fixed one, 2000 in one SUBSCRIBE or UNSUBSCRIBE',
  )
})

test('a message that matches many filters of a session comes once, as long as one of them is left', async () => {
  const { connect, broker } = await start({
    grants: [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }],
  })
  const levels = 't/a/b/c/d/e/f/g'.split('/')
  const all = Array.from({ length: 128 }, (_, bits) =>
    levels.map((level, i) => (i > 0 && (bits >> (i - 1)) & 1 ? '+' : level)).join('/'),
  )
  const reader = await connect({ username: 'viewer1' })
  await reader.subscribe(Object.fromEntries(all.map((filter) => [filter, 0])))
  const publisher = await connect({ username: 'viewer2' })
  publisher.send(publishPacket(levels.join('/'), 'x'), publishPacket('t/a', 'y'))
  await publisher.settle()
  await reader.settle()
  expect(reader.messages.map(({ topic }) => topic)).toEqual([levels.join('/')])
  // It ends with each of them.
  reader.send(unsubscribePacket(all.slice(1), 3))
  await reader.ack(UNSUBACK, 3)
  publisher.send(publishPacket(levels.join('/'), 'z'))
  await publisher.settle()
  await reader.settle()
  expect(reader.messages).toHaveLength(2)
  reader.send(unsubscribePacket(all.slice(0, 1), 4))
  await reader.ack(UNSUBACK, 4)
  publisher.send(publishPacket(levels.join('/'), 'w'))
  await publisher.settle()
  await reader.settle()
  expect(reader.messages).toHaveLength(2)
  expect(broker.waiting).toBe(0)
})
