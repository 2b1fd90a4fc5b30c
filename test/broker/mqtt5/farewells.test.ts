import { expect, test } from 'vitest'
import { type Running, start } from '../fixture.ts'
import { CONNACK, connectPacket, dial, type WireClient } from '../wire.ts'
import { connack5, connect5, farewell5, joined5, open5, publish5, subscribe5 } from './wire5.ts'

/** No connection of MQTT 5 that the bridge ends is ended without a word, where the standard allows one. */

const DISCONNECT = 14
const KIB = 1024

async function words(client: WireClient): Promise<{ code: number; reason: unknown }> {
  const { code, properties } = farewell5(await client.of(DISCONNECT))
  return { code, reason: (properties['1f'] as unknown[] | undefined)?.[0] }
}

/** A candidate of whose packet all is there but the end. */
async function halfSent(bridge: Running, name: string, bytes: number): Promise<WireClient> {
  const client = await joined5(bridge, { username: name, password: 'unknown' })
  client.send(publish5(`limb/node/${name}/register`, 'x'.repeat(bytes), { qos: 1, id: 1 }).subarray(0, -1))
  return client
}

test('a CONNECT that is too large is answered, although it is not read', async () => {
  const bridge = await start({ limits: { maxConnectBytes: 4096 } })
  const { client, connack } = await open5(bridge, { username: 'viewer1', password: 'x'.repeat(5000) })
  expect(connack).toMatchObject({ code: 0x95, present: false, properties: { '1f': ['packet too large'] } })
  await client.closed
  expect(bridge.broker.counters.limits.sign_in_bytes).toBe(1)
})

test.each([
  ['of MQTT 3.1.1', [3, 4, 5], connectPacket({ username: 'viewer1', password: 'x'.repeat(5000), level: 4 })],
  [
    'of MQTT 5 where that is not spoken',
    [3, 4],
    connect5({ username: 'viewer1', password: 'x'.repeat(5000) }),
  ],
])('a CONNECT %s that is too large has no answer', async (_what, versions, packet) => {
  const bridge = await start({ limits: { maxConnectBytes: 4096, versions } })
  const client = await dial({ port: bridge.port })
  client.send(packet)
  await client.closed
  expect(client.packets).toEqual([])
})

test('a packet that is not whole in time', async () => {
  const bridge = await start({ limits: { partialPacketMs: 100 } })
  const client = await halfSent(bridge, 'new1', 4 * KIB)
  expect(await words(client)).toEqual({ code: 0x97, reason: 'a packet was not whole in time' })
  await client.closed
})

test('a stranger whose memory is wanted', async () => {
  const bridge = await start({ limits: { maxStrangerBytes: 100 * KIB } })
  const first = await halfSent(bridge, 'new0', 28 * KIB)
  for (let i = 1; i < 4; i++) await halfSent(bridge, `new${i}`, 28 * KIB)
  const reason = 'too many clients without a key or password; try again later'
  expect(await words(first)).toEqual({ code: 0x97, reason })
  await first.closed
})

test('a fault of the bridge itself, before CONNACK and after', async () => {
  const bridge = await start()
  bridge.core.onSubscribed = () => {
    throw new Error('broken')
  }
  const client = await joined5(bridge, { username: 'viewer1' })
  client.send(subscribe5([['limb/bridge/status', 0]]))
  expect(await words(client)).toEqual({ code: 0x80, reason: 'the bridge failed here; its log says how' })
  await client.closed
  bridge.core.onAdmit = () => Promise.reject(new Error('broken'))
  const late = await dial({ port: bridge.port })
  late.send(connect5({ username: 'viewer1' }))
  expect(connack5(await late.of(CONNACK)).code).toBe(0x80)
  await late.closed
})
