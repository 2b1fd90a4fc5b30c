import { describe, expect, test } from 'vitest'
import { IN, readProperties } from '../../../src/broker/mqtt5/properties.ts'
import { Reader } from '../../../src/broker/mqtt5/reader.ts'
import { type Running, start } from '../fixture.ts'
import { PINGREQ, PINGRESP, PUBACK, PUBREC } from '../wire.ts'
import { answer5, joined5, message5, nextMessage, open5, props, publish5, subscribed } from './wire5.ts'

/** Properties are bounded in number and in bytes before anything is kept of them. */

const GRANTS = [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }]
const five = (): Promise<Running> => start({ grants: GRANTS, limits: { maxConnectBytes: 65_536 } })

/** One user property, with its identifier. */
const user = (name: string, value: string) =>
  Buffer.concat([
    props().text(0x26, name).bytes().subarray(1),
    Buffer.from([value.length >> 8, value.length & 0xff]),
    Buffer.from(value),
  ])
const many = (count: number, value = 'v') => {
  const writer = props()
  for (let i = 0; i < count; i++) writer.raw(user(`k${i}`, value))
  return writer.bytes()
}
/** As many bytes of properties: one content type. */
const long = (bytes: number) =>
  props()
    .text(0x03, 'c'.repeat(bytes - 3))
    .bytes()

const TOO_MANY = [
  ['101 user properties', many(101)],
  ['100,000 user properties', many(100_000, '')],
  ['16 KiB of properties and a byte', long(16 * 1024 + 1)],
  ['two user properties of 10 KiB', many(2, 'x'.repeat(10_000))],
] as const
const AS_MANY = [
  ['100 user properties', many(100)],
  ['16 KiB of properties', long(16 * 1024)],
] as const

describe('a message', () => {
  test.each(AS_MANY)('with %s goes on', async (_what, properties) => {
    const bridge = await five()
    const client = await joined5(bridge, { username: 'viewer1' })
    await subscribed(client, [['t/#', 1]])
    client.send(publish5('t/x', 'whole', { qos: 1, id: 1, properties }))
    expect(answer5(await client.of(PUBACK)).code).toBe(0)
    const copy = await nextMessage(client)
    expect(copy.text).toBe('whole')
    const { '26': users, '3': types } = copy.properties as Record<string, string[]>
    expect(users?.length ?? types?.[0]?.length).toBe(users === undefined ? 16 * 1024 - 3 : 100)
  })

  test.each(TOO_MANY)('with %s is refused, told why and kept nowhere', async (_what, properties) => {
    const bridge = await five()
    const watcher = await joined5(bridge, { username: 'viewer2' })
    await subscribed(watcher, [['t/#', 1]])
    const client = await joined5(bridge, { username: 'viewer1' })
    client.send(
      publish5('t/x', 'zero', { properties, retain: true }),
      publish5('t/x', 'one', { qos: 1, id: 1, properties, retain: true }),
      publish5('t/x', 'two', { qos: 2, id: 2, properties, retain: true }),
    )
    const puback = answer5(await client.of(PUBACK))
    expect(puback).toMatchObject({ id: 1, code: 0x97 })
    expect(puback.properties['1f']).toEqual([expect.stringContaining('100 user properties')])
    expect(answer5(await client.of(PUBREC))).toMatchObject({ id: 2, code: 0x97 })
    // The connection stays, the identifiers are free, and nothing of it was live or retained.
    client.send(publish5('t/end', 'end', { qos: 2, id: 2 }))
    expect(answer5(await client.of(PUBREC)).code).toBe(0)
    expect(await nextMessage(watcher)).toMatchObject({ topic: 't/end' })
    const fresh = await joined5(bridge, { username: 'viewer3' })
    await subscribed(fresh, [['t/x', 0]])
    fresh.send(PINGREQ)
    await fresh.of(PINGRESP)
    expect(fresh.packets.filter(({ type }) => type === 3).map(message5)).toEqual([])
  })

  test('has its alias all the same: the client counts on it', async () => {
    const bridge = await five()
    const client = await joined5(bridge, { username: 'viewer1' })
    await subscribed(client, [['t/#', 0]])
    const alias = props().uint16(0x23, 1)
    client.send(
      publish5('t/x', 'refused', {
        qos: 1,
        id: 1,
        properties: props().uint16(0x23, 1).raw(many(101).subarray(2)).bytes(),
      }),
      publish5('', 'by alias', { properties: alias.bytes() }),
    )
    expect(answer5(await client.of(PUBACK)).code).toBe(0x97)
    expect(await nextMessage(client)).toMatchObject({ topic: 't/x', text: 'by alias' })
  })
})

test.each(TOO_MANY.filter(([, bytes]) => bytes.length < 60_000))(
  'a will with %s is refused at CONNECT, with what it may have',
  async (_what, properties) => {
    const bridge = await five()
    const will = { topic: 't/x', payload: 'gone', qos: 1, properties }
    const { client, connack } = await open5(bridge, { username: 'viewer1', will })
    expect(connack).toMatchObject({ code: 0x97 })
    expect(connack.properties['1f']).toEqual([expect.stringContaining('100 user properties')])
    await client.closed
  },
)

test.each(TOO_MANY)('of %s nothing is gathered while they are read', (_what, bytes) => {
  const { forwarded } = readProperties(new Reader(bytes, 0, bytes.length), IN.publish)
  expect(forwarded).toHaveLength(0)
})
