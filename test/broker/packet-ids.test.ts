import { createRequire } from 'node:module'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PacketIds, PUBACK, PUBCOMP, PUBREC } from '../../src/broker/packet-ids.ts'
import { start } from './fixture.ts'
import { id, PUBREL, packet, publishPacket, type WireClient } from './wire.ts'

const NUMBERS = createRequire(import.meta.url)('mqtt-packet/numbers.js') as { cache: object }

const GRANTS = [{ to: 'viewer', publish: ['a/#'], subscribe: ['a/#'] }]

const puback = (messageId: number) => packet(0x40, id(messageId))
const pubrec = (messageId: number) => packet(0x50, id(messageId))
const pubcomp = (messageId: number) => packet(0x70, id(messageId))

/** A session that was just sent a message at this QoS. */
async function withMessage(qos: 1 | 2): Promise<{ reader: WireClient; messageId: number }> {
  const { connect } = await start({ grants: GRANTS })
  const reader = await connect({ clientId: 'r', username: 'viewer', clean: false })
  await reader.subscribe({ 'a/#': 2 })
  const writer = await connect({ clientId: 'w', username: 'viewer' })
  writer.send(publishPacket('a/b', 'x', { qos, id: 7 }))
  return { reader, messageId: (await reader.message()).id }
}

describe('packet identifiers', () => {
  test('are never used twice at once, and come round again', () => {
    const handshakes = new PacketIds()
    const kept = handshakes.begin(1)
    for (let i = 0; i < 70_000; i++) {
      const next = handshakes.begin(2)
      expect(next).not.toBe(kept)
      expect(next).toBeGreaterThan(0)
      handshakes.forget(next)
    }
    expect(handshakes.size).toBe(1)
  })

  test('are written as they come: no table of all of them is made with the first packet', async () => {
    await withMessage(1)
    expect(Object.keys(NUMBERS.cache)).toEqual([])
  })

  test('of an earlier connection are left out', () => {
    const handshakes = new PacketIds()
    handshakes.expect(1, 1)
    handshakes.expectPubcomp(2)
    expect(handshakes.begin(1)).toBe(3)
  })
})

describe('answers', () => {
  test('of every order leave no more open than was sent', () => {
    const types = fc.constantFrom(PUBACK, PUBREC, PUBCOMP)
    fc.assert(
      fc.property(fc.array(fc.tuple(types, fc.integer({ min: 1, max: 6 }))), (answers) => {
        const handshakes = new PacketIds()
        for (const qos of [1, 2, 1, 2] as const) handshakes.begin(qos)
        for (const [type, messageId] of answers) handshakes.answered(type, messageId)
        return handshakes.size <= 4
      }),
    )
  })

  test.each([
    ['PUBREC to QoS 1', 1, [pubrec]],
    ['PUBCOMP to QoS 1', 1, [pubcomp]],
    ['PUBACK to QoS 2', 2, [puback]],
    ['PUBCOMP before PUBREC', 2, [pubcomp]],
    ['PUBACK after PUBREC', 2, [pubrec, puback]],
  ] as const)('%s ends the connection', async (_, qos, answers) => {
    const { reader, messageId } = await withMessage(qos)
    for (const answer of answers) reader.send(answer(messageId))
    await reader.closed
  })

  test('a second PUBREC gets its PUBREL again, and what nobody asked for is ignored', async () => {
    const { reader, messageId } = await withMessage(2)
    for (let i = 0; i < 2; i++) {
      reader.send(pubrec(messageId))
      await reader.ack(PUBREL, messageId)
    }
    reader.send(pubcomp(messageId), pubcomp(messageId), puback(999))
    await reader.settle()
  })
})
