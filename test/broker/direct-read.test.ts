import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { readDirectly } from '../../src/broker/direct-read.ts'
import { shareReads } from '../../src/kernel/shared-reads.ts'

function readable() {
  const taken: string[] = []
  const read: string[] = []
  const conn = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  const client = { _parsingBatch: 0 }
  const session = { isGone: false }
  const lists = { isWaiting: false }
  const throttle = { isHolding: false, newChunk: () => undefined }
  const pace = { hasTime: true, mayTake: () => pace.hasTime }
  const guard = { feed: (chunk: Buffer) => taken.push(chunk.toString()) }
  readDirectly({ conn, client, session, guard, holds: [lists, throttle, pace] })
  conn.on('readable', () => {
    for (let chunk: Buffer | null = conn.read(); chunk !== null; chunk = conn.read())
      read.push(chunk.toString())
  })
  return {
    conn,
    taken,
    read,
    session,
    lists,
    throttle,
    pace,
    setIdle: (value: boolean) => {
      client._parsingBatch = value ? 0 : 1
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

test.each([
  'the session is gone',
  'a list of filters waits',
  'its throttle holds it',
  'this turn has no time for it',
])('while %s, what comes waits in the stream', (what) => {
  const { conn, taken, session, lists, throttle, pace } = readable()
  session.isGone = what.includes('gone')
  lists.isWaiting = what.includes('list')
  throttle.isHolding = what.includes('throttle')
  pace.hasTime = !what.includes('no time')
  conn.push(Buffer.from('one'))
  expect(taken).toEqual([])
  expect(conn.readableLength).toBe(3)
})

test('what waits in the stream is no longer in the buffer into which the next socket reads', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const sockets: Socket[] = []
  const say = async (words: string) => {
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const [conn] = (await once(server, 'connection')) as [Socket]
    sockets.push(client, conn)
    shareReads(conn, { copies: () => true })
    readDirectly({
      conn,
      client: { _parsingBatch: 1 },
      session: { isGone: false },
      guard: { feed: () => expect.unreachable() },
      holds: [{ isWaiting: false }, undefined, undefined],
    })
    const readable = once(conn, 'readable')
    client.write(words)
    await readable
    return conn
  }
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
  })
  const first = await say('first')
  const second = await say('other')
  expect([first, second].map((conn) => String(conn.read()))).toEqual(['first', 'other'])
})
