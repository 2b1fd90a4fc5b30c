import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { readDirectly } from '../../src/broker/direct-read.ts'

function readable() {
  let idle = true
  const taken: string[] = []
  const read: string[] = []
  const conn = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  readDirectly(
    conn,
    () => idle,
    (chunk) => taken.push(chunk.toString()),
  )
  conn.on('readable', () => {
    for (let chunk: Buffer | null = conn.read(); chunk !== null; chunk = conn.read())
      read.push(chunk.toString())
  })
  return {
    conn,
    taken,
    read,
    setIdle: (value: boolean) => {
      idle = value
    },
  }
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

test('what comes while the reader is idle is taken at once, and waits in no buffer', async () => {
  const { conn, taken, read } = readable()
  expect(conn.push(Buffer.from('one'))).toBe(true)
  expect(taken).toEqual(['one'])
  expect(conn.readableLength).toBe(0)
  await nextTurn()
  expect(read).toEqual([])
})

test('what comes while it works waits in the stream, and what follows does not overtake it', async () => {
  const { conn, taken, read, setIdle } = readable()
  setIdle(false)
  conn.push(Buffer.from('one'))
  setIdle(true)
  conn.push(Buffer.from('two'))
  expect(taken).toEqual([])
  await nextTurn()
  expect(read.join('')).toBe('onetwo')
  conn.push(Buffer.from('three'))
  expect(taken).toEqual(['three'])
})

test('a stream that is full says so to who fills it', () => {
  const { conn, setIdle } = readable()
  setIdle(false)
  expect(conn.push(Buffer.alloc(conn.readableHighWaterMark))).toBe(false)
})

test('the end comes after what was taken', async () => {
  const { conn, taken } = readable()
  const ended = new Promise((resolve) => conn.once('end', resolve))
  conn.push(Buffer.from('one'))
  conn.push(null)
  await ended
  expect(taken).toEqual(['one'])
})
