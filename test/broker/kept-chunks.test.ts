import { expect, test } from 'vitest'
import { start } from './fixture.ts'
import { PINGREQ, PINGRESP, publishPacket } from './wire.ts'

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
