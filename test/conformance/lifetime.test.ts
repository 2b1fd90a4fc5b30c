import { describe, expect, test } from 'vitest'
import { connectPacket, DISCONNECT, PINGREQ, PINGRESP, packet, publishPacket } from '../broker/wire.ts'
import { bridge, ROOT, unique } from './fixture.ts'

const { connect, dial, signed } = bridge()

const will = (topic: string, more = {}) => ({ will: { topic, payload: 'last words', ...more } })

describe('keepalive', () => {
  test('[MQTT-3.1.2-24] a silent client is gone after one and a half times its keepalive', async () => {
    const watcher = await connect()
    const topic = `t/${unique()}`
    await watcher.subscribe({ [topic]: 0 })
    const started = performance.now()
    const client = await connect({ keepalive: 1, ...will(topic) })
    await client.closed
    expect(performance.now() - started).toBeGreaterThan(1400)
    expect((await watcher.message()).text).toBe('last words')
  })

  test.each([
    ['PINGREQ', PINGREQ],
    ['PUBLISH', publishPacket('t/alive', '')],
  ])('%s keeps a client', async (_, alive) => {
    const client = await connect({ keepalive: 2 })
    const silent = await connect({ keepalive: 2 })
    const beat = setInterval(() => client.send(alive), 100)
    // Who connected later and said nothing has ended, so the other one's time would be over too.
    await silent.closed
    clearInterval(beat)
    await client.settle()
  })

  test('[MQTT-3.12.4-1] PINGREQ is answered', async () => {
    const client = await connect({ keepalive: 0 })
    client.send(PINGREQ, PINGREQ)
    await client.of(PINGRESP)
    await client.of(PINGRESP)
  })
})

describe('a will', () => {
  test.each([0, 1, 2])(
    '[MQTT-3.1.2-8, MQTT-3.1.2-14] of QoS %i is published when the connection breaks',
    async (qos) => {
      const watcher = await connect()
      const topic = `t/${unique()}`
      await watcher.subscribe({ [topic]: 2 })
      const client = await connect(will(topic, { qos }))
      client.cut()
      expect(await watcher.message()).toMatchObject({ text: 'last words', qos, retain: false })
    },
  )

  test('[MQTT-3.1.2-17] may be retained', async () => {
    const topic = `t/${unique()}`
    const watcher = await connect()
    await watcher.subscribe({ [topic]: 0 })
    ;(await connect(will(topic, { retain: true }))).cut()
    await watcher.message()
    const later = await connect()
    await later.subscribe({ [topic]: 0 })
    expect(await later.message()).toMatchObject({ text: 'last words', retain: true })
  })

  test('[MQTT-3.1.2-10, MQTT-3.14.4-3] is not published after DISCONNECT', async () => {
    const topic = `t/${unique()}`
    const watcher = await connect()
    await watcher.subscribe({ [topic]: 0 })
    const client = await connect(will(topic))
    client.send(DISCONNECT)
    await client.closed
    await watcher.settle()
    expect(watcher.messages).toEqual([])
  })

  test('is published when a violation closed the connection, and when another one took it over', async () => {
    const topic = `t/${unique()}`
    const watcher = await connect()
    await watcher.subscribe({ [topic]: 0 })
    ;(await connect(will(topic))).send(packet(0xf0))
    await watcher.message()
    const clientId = unique()
    await connect({ clientId, ...will(topic) })
    await connect({ clientId })
    await watcher.message()
  })

  test('without the right to its topic is left out, and the session lives', async () => {
    const watcher = await connect()
    const topic = `${ROOT}/bridge/status`
    await watcher.subscribe({ [topic]: 0 })
    expect((await watcher.message()).text).toBe('online')
    const client = await connect(will(topic, { retain: true }))
    await client.settle()
    client.cut()
    await client.closed
    await watcher.settle()
    expect(watcher.messages).toEqual([])
  })

  test('[MQTT-3.1.3-10] with a wildcard in its topic is left out', async () => {
    const watcher = await connect()
    await watcher.subscribe({ 't/wild/#': 0 })
    const client = await dial()
    client.send(connectPacket(signed({ clientId: unique(), ...will('t/wild/+') })))
    expect((await client.connack()).code).toBe(0)
    client.cut()
    await client.closed
    await watcher.settle()
    expect(watcher.messages).toEqual([])
  })
})
