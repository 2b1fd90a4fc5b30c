import { expect, test } from 'vitest'
import { start, turn } from './fixture.ts'
import {
  messageOf,
  PINGREQ,
  PINGRESP,
  PUBACK,
  PUBLISH,
  publishPacket,
  SUBACK,
  subscribePacket,
} from './wire.ts'

test('a small message keeps no large chunk of the socket that brought it', async () => {
  const bridge = await start({ grants: [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }] })
  const chunks: number[] = []
  bridge.broker.feed.listen(({ topic, payload }) => {
    if (topic === 't/small') chunks.push((payload as Buffer).buffer.byteLength)
  })
  const client = await bridge.connect({ username: 'viewer1' })
  const others = Array.from({ length: 200 }, () => publishPacket('denied/here', 'z'.repeat(200)))
  client.send(Buffer.concat([...others, publishPacket('t/small', 'x'), PINGREQ]))
  await client.of(PINGRESP)
  expect(chunks).toHaveLength(1)
  expect(chunks[0]).toBeLessThan(1024)
})

test('large packets of two sockets that are read piece by piece in turn arrive as they were sent', async () => {
  const bridge = await start({ grants: [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }] })
  const reader = await bridge.connect({ username: 'viewer1' })
  reader.send(subscribePacket({ 't/#': 0 }))
  await reader.of(SUBACK)
  const senders = [
    await bridge.connect({ username: 'viewer2' }),
    await bridge.connect({ username: 'viewer3' }),
  ]
  const LARGE = 700_000
  const PIECE = 50_000
  const payloads = senders.map((_, i) => Buffer.alloc(LARGE, `${i} of many bytes `))
  // A small packet before and behind it, and halves of all in one chunk.
  const streams = payloads.map((payload, i) =>
    Buffer.concat([
      publishPacket(`t/before${i}`, 'small', { qos: 1, id: 1 }),
      publishPacket(`t/large${i}`, payload, { qos: 1, id: 2 }),
      publishPacket(`t/behind${i}`, 'small', { qos: 1, id: 3 }),
    ]),
  )
  for (let at = 0; at < LARGE + PIECE; at += PIECE) {
    for (const [i, sender] of senders.entries()) {
      sender.send((streams[i] as Buffer).subarray(at, at + PIECE))
      await turn()
    }
  }
  for (const sender of senders) for (let i = 0; i < 3; i++) await sender.of(PUBACK)
  const heard = new Map<string, string>()
  while (heard.size < 3 * senders.length) {
    const { topic, text } = messageOf(await reader.of(PUBLISH))
    heard.set(topic, text)
  }
  for (const [i, payload] of payloads.entries()) {
    expect(heard.get(`t/before${i}`)).toBe('small')
    expect(heard.get(`t/large${i}`) === payload.toString()).toBe(true)
    expect(heard.get(`t/behind${i}`)).toBe('small')
  }
})
