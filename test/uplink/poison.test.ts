import { describe, expect, it } from 'vitest'
import type { Config } from '../../src/host/config/config.ts'
import { startApp } from '../support/app.ts'
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts'
import { patience } from '../support/patience.ts'

type Settings = Config['uplinks'][number]
type App = Awaited<ReturnType<typeof startApp>>

const LIMIT = 20_000
const limited = () => startMosquitto({ config: ['allow_anonymous true', `max_packet_size ${LIMIT}`] })
const uplink = (broker: Mosquitto, more: Partial<Settings> = {}) => ({
  uplinks: [
    {
      name: 'home',
      url: `mqtt://127.0.0.1:${broker.port}`,
      prefix: 'site1',
      data: ['node/+/data/#'],
      // It has no words for what it does not take; MQTT 5 has.
      protocolVersion: 4 as const,
      ...more,
    },
  ],
  http: { enabled: true, port: 0 },
})
const lines = (app: App, text: string) => app.logLines.filter((line) => String(line.msg).includes(text))
const LARGE = 'x'.repeat(LIMIT + 1000)

async function metric(app: App, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${app.bridge.http?.port}/metrics`)).text()
  return Number(new RegExp(`^limb_uplink_${name}\\{uplink="home"\\} (\\d+)$`, 'm').exec(text)?.[1])
}

describe('a message that the other broker does not take', () => {
  it('is not sent at all when MQTT 5 says how large one may be', async () => {
    await using broker = await limited()
    await using app = await startApp(uplink(broker, { protocolVersion: 5 }))
    const limb = await app.limb('cam1')
    const there = await broker.client()
    await there.subscribe('site1/node/+/data/#')
    await limb.publish('limb/node/cam1/data/picture', LARGE, { qos: 1, retain: true })
    await limb.publish('limb/node/cam1/data/small', 'after', { qos: 1 })
    expect((await there.next(() => true)).topic).toBe('site1/node/cam1/data/small')
    expect(lines(app, 'is set aside')).toMatchObject([
      { topic: 'site1/node/cam1/data/picture', announced: LIMIT, level: 'warn' },
    ])
    expect(lines(app, 'uplink lost')).toEqual([])
    expect(await metric(app, 'set_aside_topics')).toBe(1)
    expect(await metric(app, 'dropped_total')).toBeGreaterThanOrEqual(1)
    // The same topic goes on with what fits.
    await limb.publish('limb/node/cam1/data/picture', 'fits', { qos: 1, retain: true })
    expect((await there.next(() => true)).text).toBe('fits')
  })

  it.each([
    ['of QoS 1', { qos: 1 as const }],
    ['of QoS 1 that is retained', { qos: 1 as const, retain: true }],
    ['of QoS 0', { qos: 0 as const }],
  ])(
    '%s ends the connection some times, is set aside by its topic, and all else arrives',
    async (_, options) => {
      await using broker = await limited()
      await using app = await startApp(uplink(broker))
      const limb = await app.limb('cam1')
      const there = await broker.client()
      await there.subscribe('site1/node/+/data/#')
      const isAside = () => lines(app, 'is set aside').length > 0
      for (let i = 0; !isAside(); i++) {
        await limb.publish('limb/node/cam1/data/small', `${i}`, { qos: 1 })
        // Of QoS 0 nothing waits for the next connection: the device says it again.
        if (i === 0 || options.qos === 0) await limb.publish('limb/node/cam1/data/picture', LARGE, options)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      expect(lines(app, 'is set aside')).toMatchObject([
        { uplink: 'home', topic: 'site1/node/cam1/data/picture' },
      ])
      expect(lines(app, 'uplink lost').length).toBeLessThanOrEqual(5)
      await limb.publish('limb/node/cam1/data/small', 'last', { qos: 1 })
      await there.next(({ text }) => text === 'last', patience(20_000))
      const lost = lines(app, 'uplink lost').length
      await limb.publish('limb/node/cam1/data/picture', LARGE, options)
      // Another topic with as much is not even tried: the limit is known now.
      await limb.publish('limb/node/cam1/data/picture2', LARGE, { qos: 1, retain: true })
      await limb.publish('limb/node/cam1/data/small', 'end', { qos: 1 })
      await there.next(({ text }) => text === 'end')
      expect(lines(app, 'uplink lost')).toHaveLength(lost)
      expect(await metric(app, 'set_aside_topics')).toBe(2)
      await limb.publish('limb/node/cam1/data/picture', 'small again', { qos: 1, retain: true })
      await there.next(({ text }) => text === 'small again')
    },
    patience(60_000),
  )
})

it(
  'attempts come ever more seldom while no visit is whole',
  async () => {
    await using broker = await limited()
    const app = await startApp({
      ...uplink(broker),
      store: { path: ':memory:' },
    })
    await using _ = app
    const limb = await app.limb('cam1')
    await limb.publish('limb/node/cam1/data/picture', LARGE, { qos: 1, retain: true })
    await expect.poll(() => lines(app, 'is set aside').length, { timeout: patience(15_000) }).toBe(1)
    const waits = lines(app, 'uplink lost').map((line) => Number(line.retryMs))
    expect(waits.length).toBeGreaterThanOrEqual(2)
    for (const [i, wait] of waits.slice(1).entries()) expect(wait).toBeGreaterThan((waits[i] ?? 0) * 0.99)
  },
  patience(30_000),
)
