import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { cutLargeMessages } from '../../src/http/large-frames.ts'

const MAX_BYTES = 1000

/** A server that takes small messages only, and a client; what the server got, and how it ended. */
async function pair() {
  const http = createServer()
  const server = new WebSocketServer({ server: http, maxPayload: MAX_BYTES })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const client = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}`)
  onTestFinished(() => {
    client.terminate()
    server.close()
    http.close()
  })
  const [socket] = (await once(server, 'connection')) as [WebSocket]
  await once(client, 'open')
  const writes: number[] = []
  const { _receiver: receiver } = socket as unknown as { _receiver: { write(chunk: Buffer): boolean } }
  const write = receiver.write.bind(receiver)
  receiver.write = (chunk) => {
    writes.push(chunk.length)
    return write(chunk)
  }
  cutLargeMessages(socket, MAX_BYTES)
  const got: Buffer[] = []
  socket.on('message', (data) => got.push(data as Buffer))
  socket.on('error', () => undefined)
  return { client, socket, got, writes }
}

const bytes = (length: number, from: number) =>
  Buffer.from(Array.from({ length }, (_, i) => (from + i * 7) & 255))

test('messages larger than ws takes come in pieces, byte for byte, between small ones and pings', async () => {
  const { client, socket, got } = await pair()
  const sent: Buffer[] = []
  for (const [i, length] of [0, 1, 999, 1000, 1001, 1003, 70_000, 5, 400_001, 3, 66_000, 2].entries()) {
    const message = bytes(length, i)
    sent.push(message)
    client.send(message)
    if (i % 3 === 0) client.ping('still here')
  }
  // In fragments: as they are while all of them fit, else what has come ends there.
  for (const lengths of [
    [300, 300, 300],
    [600, 600, 600],
    [1, 100_000, 1, 1],
  ]) {
    for (const [i, length] of lengths.entries()) {
      const part = bytes(length, length)
      sent.push(part)
      client.send(part, { fin: i === lengths.length - 1 })
    }
  }
  client.close(1000)
  const [code] = await once(socket, 'close')
  expect(code).toBe(1000)
  expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true)
  expect(got.filter(({ length }) => length === 900)).toHaveLength(1)
  expect(Math.max(...got.map(({ length }) => length))).toBeLessThanOrEqual(MAX_BYTES)
})

test('text is not cut: ws ends it as too large', async () => {
  const { client } = await pair()
  client.send('x'.repeat(2000))
  const [code] = await once(client, 'close')
  expect(code).toBe(1009)
})

/** Writes bytes behind the handshake as they are. */
const sendRaw = (client: WebSocket, bytes: Buffer) =>
  (client as unknown as { _socket: { write(bytes: Buffer): void } })._socket.write(bytes)

test('small messages pass together, as many as come at once', async () => {
  const { client, socket, got, writes } = await pair()
  const message = Buffer.concat([Buffer.from([0x82, 0x83, 1, 2, 3, 4]), Buffer.from([9, 9, 9])])
  sendRaw(client, Buffer.concat(Array.from({ length: 5000 }, () => message)))
  client.close(1000)
  await once(socket, 'close')
  expect(got).toHaveLength(5000)
  expect(writes.length).toBeLessThan(50)
})

test.for([
  ['that is not masked', [0x82, 0x03]],
  ['with bits that nobody agreed on', [0xe2, 0x80, 0, 0, 0, 0]],
] as const)('what comes behind a frame %s is not looked at', async ([, header]) => {
  const { client, socket, writes } = await pair()
  client.on('error', () => undefined)
  // As headers, each two of these would be a frame.
  sendRaw(client, Buffer.concat([Buffer.from(header), Buffer.alloc(1_000_000)]))
  await new Promise((resolve) => socket.once('close', resolve))
  expect(writes.length).toBeLessThan(50)
})
