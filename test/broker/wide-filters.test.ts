import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { patience } from '../support/patience.ts'
import { start, tempFolder, turn } from './fixture.ts'
import { DISCONNECT, type Message, PUBACK, publishPacket, type WireClient } from './wire.ts'

const LIMB = { username: 'cam1', password: 'key', clientId: 'cam1' }
const grants = [
  { to: 'viewer2', publish: ['secret/#'], subscribe: ['secret/#'] },
  { to: 'limb', publish: ['tele/#'] },
]

const topicsOf = (messages: readonly Message[]) => messages.map(({ topic }) => topic).sort()

/** Topics of all that has come after the first `skip`, once there are `count`. */
async function received(client: WireClient, count: number, skip = 0): Promise<string[]> {
  while (client.messages.length < count) await turn()
  await client.settle()
  return topicsOf(client.messages.slice(skip))
}

describe('a filter of a principal that is wider than what it may read', () => {
  test.each(['#', '+/#', 'limb/#', 'limb/+/#', 'limb/node/#'])(
    '%s is granted, and delivers what it may read, retained and live, once',
    async (filter) => {
      const { connect, broker, owned } = await start({ grants })
      owned.set('limb/node/cam1/status', 'online')
      owned.set('limb/node/cam1/state', '{}')
      const limb = await connect(LIMB)
      const other = await connect({ username: 'viewer2' })
      limb.send(publishPacket('limb/node/cam1/data/t', 'retained', { qos: 1, id: 1, retain: true }))
      other.send(publishPacket('secret/x', 'retained', { qos: 1, id: 1, retain: true }))
      await limb.ack(PUBACK, 1)
      await other.ack(PUBACK, 1)
      const reader = await connect({ username: 'viewer' })
      expect(await reader.subscribe({ [filter]: 1 })).toEqual([1])
      expect(await received(reader, 3)).toEqual([
        'limb/node/cam1/data/t',
        'limb/node/cam1/state',
        'limb/node/cam1/status',
      ])

      for (const topic of [
        'secret/x',
        'limb/principal/viewer2/response/node/list',
        'limb/node/cam1/pairing',
        'limb/node/cam1/invoke',
        'limb/node/cam1/status',
      ])
        broker.publisher.publish(topic, Buffer.from('live'), { qos: 1, retain: false })
      limb.send(publishPacket('limb/node/cam1/heartbeat', '{}', { qos: 1, id: 2 }))
      limb.send(publishPacket('limb/node/cam1/data/u', 'live', { qos: 1, id: 3 }))
      await limb.ack(PUBACK, 3)
      expect(await received(reader, 5, 3)).toEqual(['limb/node/cam1/data/u', 'limb/node/cam1/status'])
      // Nothing was denied: it only sees less than it asked for.
      expect(broker.counters.denied).toMatchObject({ subscribe: 0, forward: 0 })
    },
  )

  test('gives each principal its own responses, and nobody those of another', async () => {
    const { connect, broker } = await start()
    const [ann, bob] = [await connect({ username: 'viewer1' }), await connect({ username: 'viewer2' })]
    await ann.subscribe({ 'limb/principal/+/response/#': 1 })
    await bob.subscribe({ '#': 1 })
    for (const name of ['viewer1', 'viewer2'])
      broker.publisher.publish(`limb/principal/${name}/response/x`, Buffer.from(name), {
        qos: 1,
        retain: false,
      })
    expect(await received(ann, 1)).toEqual(['limb/principal/viewer1/response/x'])
    expect(await received(bob, 1)).toEqual(['limb/principal/viewer2/response/x'])
  })

  test('keeps for its stored session only what it may read, also over a restart', async () => {
    const file = join(tempFolder(), 'limb.sqlite')
    const first = await start({ grants, file })
    const reader = await first.connect({ username: 'viewer', clientId: 'away', clean: false })
    await reader.subscribe({ '#': 1 })
    reader.send(DISCONNECT)
    await reader.closed
    const publish = (topic: string) =>
      first.broker.publisher.publish(topic, Buffer.from('x'), { qos: 1, retain: false })
    for (let i = 0; i < 1500; i++) publish('limb/principal/viewer2/response/node/list')
    publish('secret/x')
    publish('limb/node/cam1/status')
    publish('limb/principal/viewer/response/late')
    await first.broker.settled()
    await first.stop()

    const second = await start({ grants, file })
    const back = await second.connect({ username: 'viewer', clientId: 'away', clean: false })
    expect(await received(back, 2)).toEqual(['limb/node/cam1/status', 'limb/principal/viewer/response/late'])
  })

  test('delivers what a changed grant gives, and no more what it takes away', async () => {
    const { connect, broker } = await start({ grants: [{ to: 'viewer', subscribe: ['a/#'] }] })
    const wide = await connect({ username: 'viewer1' })
    const exact = await connect({ username: 'viewer2' })
    await wide.subscribe({ '#': 0 })
    await exact.subscribe({ 'a/x': 0 })
    const publish = () => {
      for (const topic of ['a/x', 'b/x'])
        broker.publisher.publish(topic, Buffer.from('x'), { qos: 0, retain: false })
    }
    publish()
    expect(await received(wide, 1)).toEqual(['a/x'])
    expect(await received(exact, 1)).toEqual(['a/x'])
    broker.setGrants([{ to: 'viewer', subscribe: ['b/#'] }])
    publish()
    expect(await received(wide, 2)).toEqual(['a/x', 'b/x'])
    expect(await received(exact, 1)).toEqual(['a/x'])
  })

  test('$SYS/# is granted to principals and empty; limbs and candidates have neither', async () => {
    const { connect, broker } = await start()
    const reader = await connect({ username: 'viewer' })
    expect(await reader.subscribe({ '$SYS/#': 0, '#': 0, '$SYS/broker/uptime': 0 })).toEqual([0, 0, 0])
    const limb = await connect(LIMB)
    expect(await limb.subscribe({ '#': 0, 'limb/#': 0, '$SYS/#': 0 })).toEqual([128, 128, 128])
    const candidate = await connect({ username: 'new1', password: 'k'.repeat(20) })
    expect(await candidate.subscribe({ '#': 0, '$SYS/#': 0 })).toEqual([128, 128])
    await reader.settle()
    expect(reader.messages).toEqual([])
    expect(broker.counters.denied.subscribe).toBe(5)
  })

  test('a reader of # that does not read slows nobody', async () => {
    const { connect, broker, core } = await start({
      limits: {
        maxSessionBufferBytes: 65_536,
        maxSessionQueueBytes: 1024 * 1024,
        drainTimeoutMs: patience(30_000),
      },
    })
    const slow = await connect({ username: 'viewer1' })
    await slow.subscribe({ '#': 1 })
    slow.socket.pause()
    const limb = await connect(LIMB)
    const other = await connect({ username: 'viewer2' })
    await other.subscribe({ 'limb/node/+/data/#': 0 })
    for (let i = 1; i <= 400; i++) {
      limb.send(publishPacket('limb/node/cam1/data/t', 'x'.repeat(20_000), { qos: 1, id: i }))
      // The other reader has the same small buffer: it is a reader that keeps up, however busy the machine is.
      await other.message()
    }
    limb.send(publishPacket('limb/node/cam1/heartbeat', '{}', { qos: 1, id: 401 }))
    await limb.ack(PUBACK, 401)
    expect(core.all('heartbeat')).toHaveLength(1)
    expect(broker.counters.overrun).toBe(1)
  })

  test('reads a large view and many stored messages in turns that others share', async () => {
    const { connect, owned, core } = await start({ grants })
    for (let i = 0; i < 3000; i++) owned.set(`limb/node/cam${i}/status`, 'online')
    const reader = await connect({ username: 'viewer' })
    const limb = await connect(LIMB)
    await reader.subscribe({ '#': 0 })
    limb.send(publishPacket('limb/node/cam1/heartbeat', '{}', { qos: 1, id: 1 }))
    await limb.ack(PUBACK, 1)
    // The limb was heard and answered while the reader's messages were still on their way.
    expect(core.all('heartbeat')).toHaveLength(1)
    expect(reader.messages.length).toBeLessThan(3000)
    while (reader.messages.length < 3000) await turn()
  })
})
