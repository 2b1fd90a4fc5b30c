import { describe, expect, test } from 'vitest'
import { type Packet, PINGREQ, PINGRESP, packet, publishPacket, type WireClient } from '../broker/wire.ts'
import { bytesOf } from './bytes.ts'
import { bridge } from './fixture.ts'
import { AFTER, FIRST, type Vector, vectorsOf } from './vectors.ts'

const { connect, dial } = bridge()

const hex = (packets: readonly Packet[]) =>
  packets.map(({ type, flags, body }) => packet((type << 4) | flags, body).toString('hex'))
const sent = (vector: Vector) => Buffer.concat(vector.sent.split('·').map((part) => bytesOf(part.trim())))

/** What came back up to the end, or, when the connection lives, up to the answer of a PINGREQ of our own. */
async function answers(client: WireClient, vector: Vector): Promise<string[]> {
  if (!vector.lives) {
    await client.closed
    return hex(client.packets)
  }
  for (let seen = 0; seen < vector.answer.length; ) {
    const { length } = client.packets
    if (length > seen) seen = length
    else await client.arrival()
  }
  client.send(PINGREQ)
  const expected = vector.answer.length + 1
  while (client.packets.length < expected) await client.arrival()
  expect(client.packets.pop()?.type).toBe(PINGRESP)
  return hex(client.packets)
}

describe('as the first words of a connection', () => {
  test.each(vectorsOf(FIRST))('$name', async (vector) => {
    const client = await dial()
    client.send(sent(vector))
    expect(await answers(client, vector)).toEqual(vector.answer.map((each) => bytesOf(each).toString('hex')))
  })
})

describe('after CONNACK', () => {
  test.each(vectorsOf(AFTER))('$name', async (vector) => {
    const client = await connect()
    client.send(sent(vector))
    expect(await answers(client, vector)).toEqual(vector.answer.map((each) => bytesOf(each).toString('hex')))
  })
})

test('a violation closes that one connection and nothing else', async () => {
  const bystander = await connect()
  await bystander.subscribe({ 't/calm': 1 })
  for (const vector of vectorsOf(AFTER)
    .filter(({ lives }) => !lives)
    .slice(0, 20)) {
    const client = await connect()
    client.send(sent(vector))
    await client.closed
  }
  bystander.send(publishPacket('t/calm', 'still here', { qos: 1, id: 1 }))
  expect((await bystander.message()).text).toBe('still here')
})
