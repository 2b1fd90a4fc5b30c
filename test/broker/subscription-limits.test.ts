import { describe, expect, test } from 'vitest'
import { start } from './fixture.ts'
import { grantedIn, SUBACK, subscribePacket, unsubscribePacket } from './wire.ts'

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
