import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { ListOrder } from '../../src/broker/list-order.ts'

test('what still comes of a session that ended while a list waited is dropped to its end', async () => {
  const conn = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  const lists = new ListOrder({ conn, resume: () => undefined, isIdle: () => false })
  expect(lists.mayGo('subscribe')).toBe(true)
  expect(lists.mayGo('unsubscribe')).toBe(false)
  conn.push(Buffer.from('read no more'))
  expect(conn.read()).toBe(null)
  let dropped = 0
  conn.on('data', (chunk: Buffer) => {
    dropped += chunk.length
  })
  const ended = new Promise<void>((resolve) => conn.once('end', resolve))
  conn.push(null)
  conn.resume()
  await ended
  expect(dropped).toBe('read no more'.length)
})
