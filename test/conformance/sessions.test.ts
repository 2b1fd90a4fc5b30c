import { describe, expect, test } from 'vitest'
import {
  connectPacket,
  DISCONNECT,
  id,
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  packet,
  publishPacket,
  UNSUBACK,
  unsubscribePacket,
  type WireClient,
} from '../broker/wire.ts'
import { bridge, unique } from './fixture.ts'

const running = bridge()
const { connect, dial, signed } = running

async function leave(client: WireClient): Promise<void> {
  client.send(DISCONNECT)
  await client.closed
}

/** Comes back with the session as it was left. */
async function resume(clientId: string): Promise<{ client: WireClient; present: boolean }> {
  const client = await dial()
  client.send(connectPacket(signed({ clientId, clean: false })))
  const { code, present } = await client.connack()
  expect(code).toBe(0)
  return { client, present }
}

describe('a session', () => {
  test('[MQTT-3.2.2-1, MQTT-3.2.2-3] is present after a persistent one only', async () => {
    const clientId = unique()
    expect((await resume(clientId)).present).toBe(false)
    expect((await resume(clientId)).present).toBe(true)
    await leave(await connect({ clientId }))
    expect((await resume(clientId)).present).toBe(false)
  })

  test('[MQTT-3.1.2-4, MQTT-3.1.2-5] keeps subscriptions and QoS 1 and 2 messages, in their order', async () => {
    const clientId = unique()
    const reader = await connect({ clientId, clean: false })
    await reader.subscribe({ 't/kept/#': 2 })
    await leave(reader)
    const writer = await connect()
    writer.send(
      publishPacket('t/kept/0', 'zero'),
      publishPacket('t/kept/1', 'one', { qos: 1, id: 1 }),
      publishPacket('t/kept/2', 'two', { qos: 2, id: 2 }),
      packet(0x62, id(2)),
    )
    await writer.ack(PUBCOMP, 2)
    const { client, present } = await resume(clientId)
    expect(present).toBe(true)
    const got = [await client.message(), await client.message()]
    expect(got.map(({ text, qos, dup }) => ({ text, qos, dup }))).toEqual([
      { text: 'one', qos: 1, dup: false },
      { text: 'two', qos: 2, dup: false },
    ])
  })

  test('[MQTT-3.1.2-6] is thrown away by a clean one', async () => {
    const clientId = unique()
    const first = await connect({ clientId, clean: false })
    await first.subscribe({ 't/gone': 1 })
    await leave(first)
    await leave(await connect({ clientId }))
    const writer = await connect()
    writer.send(publishPacket('t/gone', 'x', { qos: 1, id: 1 }))
    await writer.ack(PUBACK, 1)
    const { client } = await resume(clientId)
    await client.settle()
    expect(client.messages).toEqual([])
  })

  test('[MQTT-3.10.4-3] forgets an unsubscribed filter', async () => {
    const clientId = unique()
    const first = await connect({ clientId, clean: false })
    await first.subscribe({ 't/one': 1, 't/two': 1 })
    first.send(unsubscribePacket(['t/one', 't/never'], 5))
    await first.ack(UNSUBACK, 5)
    await leave(first)
    const writer = await connect()
    writer.send(
      publishPacket('t/one', 'x', { qos: 1, id: 1 }),
      publishPacket('t/two', 'y', { qos: 1, id: 2 }),
    )
    await writer.ack(PUBACK, 2)
    const { client } = await resume(clientId)
    expect((await client.message()).topic).toBe('t/two')
    await client.settle()
    expect(client.messages).toEqual([])
  })

  test('outlives the bridge', async () => {
    const clientId = unique()
    const first = await connect({ clientId, clean: false })
    await first.subscribe({ 't/restart': 1 })
    await leave(first)
    const writer = await connect()
    writer.send(publishPacket('t/restart', 'x', { qos: 1, id: 1 }))
    await writer.ack(PUBACK, 1)
    await running.app.restart()
    const { client, present } = await resume(clientId)
    expect(present).toBe(true)
    expect((await client.message()).text).toBe('x')
  })

  test.each([false, true])(
    '[MQTT-3.1.2-6] and its open QoS 2 identifiers, of a session with clean = %s',
    async (clean) => {
      const clientId = unique()
      const reader = await connect()
      await reader.subscribe({ 't/reused': 2 })
      const first = await connect({ clientId, clean })
      first.send(publishPacket('t/reused', 'old', { qos: 2, id: 9 }))
      await first.ack(PUBREC, 9)
      expect((await reader.message()).text).toBe('old')
      first.cut()
      await first.closed
      const second = await connect({ clientId })
      second.send(publishPacket('t/reused', 'new', { qos: 2, id: 9 }))
      await second.ack(PUBREC, 9)
      expect((await reader.message()).text).toBe('new')
    },
  )
})

describe('what was not acknowledged', () => {
  test('[MQTT-4.4.0-1, MQTT-3.3.1-1] QoS 1 comes again with DUP and its identifier, before anything newer', async () => {
    const clientId = unique()
    const first = await connect({ clientId, clean: false })
    await first.subscribe({ 't/again': 1 })
    const writer = await connect()
    writer.send(publishPacket('t/again', 'old', { qos: 1, id: 1 }))
    const before = await first.message()
    first.cut()
    await first.closed
    writer.send(publishPacket('t/again', 'new', { qos: 1, id: 2 }))
    await writer.ack(PUBACK, 2)
    const { client } = await resume(clientId)
    expect(await client.message()).toEqual({ ...before, dup: true })
    const after = await client.message()
    expect(after).toMatchObject({ text: 'new', dup: false })
    expect(after.id).not.toBe(before.id)
    client.send(packet(0x40, id(before.id)), packet(0x40, id(after.id)))
    await client.settle()
    await leave(client)
    const third = (await resume(clientId)).client
    await third.settle()
    expect(third.messages).toEqual([])
  })

  test('[MQTT-4.3.3-1] QoS 2 goes on where it stopped: PUBLISH before PUBREC, PUBREL after', async () => {
    const clientId = unique()
    const first = await connect({ clientId, clean: false })
    await first.subscribe({ 't/twice': 2 })
    const writer = await connect()
    writer.send(publishPacket('t/twice', 'x', { qos: 2, id: 1 }))
    const message = await first.message()
    first.cut()
    await first.closed

    const second = (await resume(clientId)).client
    expect(await second.message()).toEqual({ ...message, dup: true })
    second.send(packet(0x50, id(message.id)))
    await second.ack(PUBREL, message.id)
    second.cut()
    await second.closed

    const third = (await resume(clientId)).client
    await third.ack(PUBREL, message.id)
    third.send(packet(0x70, id(message.id)))
    await third.settle()
    expect(third.messages).toEqual([])
    await leave(third)
    const fourth = (await resume(clientId)).client
    await fourth.settle()
    expect(fourth.packets).toEqual([])
  })

  test('[MQTT-4.3.3-2] the identifier of an open QoS 2 publish is known after a reconnect', async () => {
    const clientId = unique()
    const reader = await connect()
    await reader.subscribe({ 't/once': 2 })
    const first = await connect({ clientId, clean: false })
    first.send(publishPacket('t/once', 'x', { qos: 2, id: 9 }))
    await first.ack(PUBREC, 9)
    expect((await reader.message()).text).toBe('x')
    first.cut()
    await first.closed
    const second = (await resume(clientId)).client
    second.send(publishPacket('t/once', 'x', { qos: 2, id: 9, dup: true }))
    await second.ack(PUBREC, 9)
    second.send(packet(0x62, id(9)))
    await second.ack(PUBCOMP, 9)
    await reader.settle()
    expect(reader.messages).toEqual([])
  })
})
