import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { readsWhole } from '../../src/broker/whole-read.ts'

/** A stream that gives one piece of so many bytes for each call of `read()`, as Node does since 26; Node 24 gives all. */
function givesPieces(bytes: number): Duplex {
  const conn = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  const read = conn.read
  conn.read = (size?: number) => read.call(conn, size ?? Math.min(bytes, conn.readableLength))
  return conn
}

test('what waits in a stream in many pieces is read in one go', () => {
  const conn = givesPieces(3)
  readsWhole(conn)
  for (const text of ['one', 'two', 'six']) conn.push(text)
  expect(String(conn.read())).toBe('onetwosix')
  expect(conn.read()).toBeNull()
  conn.push('ten')
  expect(String(conn.read())).toBe('ten')
})

test('who asks for so many bytes is given as many', () => {
  const conn = givesPieces(3)
  readsWhole(conn)
  for (const text of ['one', 'two']) conn.push(text)
  expect(String(conn.read(4))).toBe('onet')
  expect(String(conn.read())).toBe('wo')
})

test('the end of a stream is told behind all that was read', async () => {
  const conn = givesPieces(3)
  readsWhole(conn)
  const read: string[] = []
  conn.on('readable', () => {
    const chunk: Buffer | null = conn.read()
    if (chunk !== null) read.push(chunk.toString())
  })
  for (const text of ['one', 'two']) conn.push(text)
  conn.push(null)
  await new Promise((resolve) => conn.once('end', resolve))
  expect(read.join('')).toBe('onetwo')
})
