import { describe, expect, test } from 'vitest'
import { type Running, start } from '../fixture.ts'
import { CONNACK, dial, PUBACK, PUBLISH, UNSUBACK } from '../wire.ts'
import {
  ack5,
  answer5,
  codes5,
  connack5,
  connect5,
  farewell5,
  joined5,
  nextMessage,
  props,
  publish5,
  subscribe5,
  subscribed,
  unsubscribe5,
} from './wire5.ts'

/** Statements of the standard that no other file here is about; docs/conformance-mqtt5.md has all of them. */

const DISCONNECT = 14
const GRANTS = [{ to: 'viewer', publish: ['t/#', 'w'], subscribe: ['t/#', 'w'] }]
const five = (limits = {}): Promise<Running> => start({ grants: GRANTS, limits })
const takes = (bytes: number) => props().uint32(0x27, bytes).bytes()

describe('a reason that would make a packet larger than the client takes is left out', () => {
  test('of PUBACK, SUBACK, UNSUBACK and DISCONNECT [MQTT-3.4.2-2] [MQTT-3.9.2-1] [MQTT-3.11.2-1] [MQTT-3.14.2-3]', async () => {
    const client = await joined5(await five(), { username: 'viewer1', properties: takes(40) })
    client.send(
      publish5('other', '', { qos: 1, id: 1 }),
      subscribe5([['other', 1]], 2),
      unsubscribe5(['t/x'], 3),
    )
    expect(answer5(await client.of(PUBACK))).toEqual({ id: 1, code: 0x87, properties: {} })
    expect(codes5(await client.of(9))).toEqual({ codes: [0x87], properties: {} })
    expect(codes5(await client.of(UNSUBACK))).toEqual({ codes: [0x11], properties: {} })
    client.send(publish5('t/x', '', { properties: props().uint16(0x23, 1000).bytes() }))
    expect(farewell5(await client.of(DISCONNECT)).code).toBe(0x94)
  })

  test('of CONNACK [MQTT-3.2.2-19]', async () => {
    const { port } = await five()
    const client = await dial({ port })
    client.send(connect5({ username: 'viewer1', password: 'wrong', properties: takes(20) }))
    expect(connack5(await client.of(CONNACK))).toEqual({ present: false, code: 0x86, properties: {} })
    await client.closed
  })
})

test('a client that is silent for one and a half keepalives is told so, and its will is sent [MQTT-3.1.2-22] [MQTT-3.1.2-15]', async () => {
  const bridge = await five()
  const will = { topic: 'w', payload: 'silent', qos: 1, retain: true }
  const silent = await joined5(bridge, { username: 'viewer1', keepalive: 1, will })
  expect(farewell5(await silent.of(DISCONNECT)).code).toBe(0x8d)
  await silent.closed
  const later = await joined5(bridge, { username: 'viewer2' })
  await subscribed(later, [['w', 1]])
  expect(await nextMessage(later)).toMatchObject({ text: 'silent', retain: true })
})

test('a topic alias of 0 ends the connection [MQTT-3.3.2-8]', async () => {
  const client = await joined5(await five(), { username: 'viewer1' })
  client.send(publish5('t/x', '', { properties: props().uint16(0x23, 0).bytes() }))
  expect(farewell5(await client.of(DISCONNECT)).code).toBe(0x94)
})

test('a topic alias above ten ends the connection', async () => {
  const client = await joined5(await five(), { username: 'viewer1' })
  client.send(publish5('t/x', '', { properties: props().uint16(0x23, 11).bytes() }))
  expect(farewell5(await client.of(DISCONNECT)).code).toBe(0x94)
})

test('a password needs no user name [MQTT-3.1.2-19]', async () => {
  const bridge = await five()
  await joined5(bridge, { clientId: 'cam1', password: 'key' })
  expect(bridge.core.admitted.at(-1)).toMatchObject({ clientId: 'cam1', password: 'key' })
})

test('a message that a member of a group refuses goes to nobody else [MQTT-4.8.2-6]', async () => {
  const bridge = await five()
  const first = await joined5(bridge, { username: 'viewer1' })
  await subscribed(first, [['$share/g/t/#', 1]])
  const sender = await joined5(bridge, { username: 'viewer3' })
  sender.send(publish5('t/x', 'refused', { qos: 1, id: 1 }))
  const { id } = await nextMessage(first)
  const second = await joined5(bridge, { username: 'viewer2' })
  await subscribed(second, [['$share/g/t/#', 1]])
  first.send(ack5(0x40, id, 0x80))
  await first.settle()
  first.cut()
  await bridge.core.until('closed')
  await second.settle()
  expect(second.packets.filter(({ type }) => type === PUBLISH)).toEqual([])
})
