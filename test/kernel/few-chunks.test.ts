import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { keepFewChunks, MAX_WAITING_CHUNKS } from '../../src/kernel/few-chunks.ts'

function stream(): { conn: Duplex; asked: () => number } {
  let asked = 0
  const conn = new Duplex({
    read() {
      asked++
    },
    write: (_chunk, _encoding, done) => done(),
  })
  keepFewChunks(conn)
  return { conn, asked: () => asked }
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

test('a connection whose chunks are not read asks for no more of them, and for the next ones when they were', async () => {
  const { conn, asked } = stream()
  conn.on('readable', () => undefined)
  await nextTurn()
  for (let i = 1; i < MAX_WAITING_CHUNKS; i++) expect(conn.push(Buffer.from([i]))).toBe(true)
  expect(conn.push(Buffer.from([0]))).toBe(false)
  await nextTurn()
  const before = asked()
  await nextTurn()
  expect(asked()).toBe(before)
  let bytes = 0
  for (let chunk: Buffer | null = conn.read(); chunk !== null; chunk = conn.read()) bytes += chunk.length
  expect(bytes).toBe(MAX_WAITING_CHUNKS)
  expect(asked()).toBeGreaterThan(before)
  expect(conn.push(Buffer.from([1]))).toBe(true)
})

test('one that is read as it comes is never held', async () => {
  const { conn } = stream()
  let bytes = 0
  conn.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  await nextTurn()
  for (let i = 0; i < 3 * MAX_WAITING_CHUNKS; i++) expect(conn.push(Buffer.from([i]))).toBe(true)
  expect(bytes).toBe(3 * MAX_WAITING_CHUNKS)
})

test('the end comes behind what waits', async () => {
  const { conn } = stream()
  for (let i = 0; i < MAX_WAITING_CHUNKS; i++) conn.push(Buffer.from([i]))
  conn.push(null)
  let bytes = 0
  for await (const chunk of conn) bytes += (chunk as Buffer).length
  expect(bytes).toBe(MAX_WAITING_CHUNKS)
})

test('single bytes that are sent to a socket nobody reads stay with who sends them, and none is lost', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const sender = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', noDelay: true })
  const [socket] = (await once(server, 'connection')) as [Socket]
  keepFewChunks(socket)
  socket.on('readable', () => undefined)
  const sent = 500
  for (let i = 0; i < sent; i++) {
    await new Promise((done) => sender.write(Buffer.from([i & 0xff]), done))
    await nextTurn()
  }
  expect(socket.readableLength).toBeLessThan(sent / 2)
  sender.end()
  let bytes = 0
  socket.removeAllListeners('readable')
  for await (const chunk of socket) bytes += (chunk as Buffer).length
  expect(bytes).toBe(sent)
  server.close()
})
