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
  cutLargeMessages(socket, MAX_BYTES)
  const got: Buffer[] = []
  socket.on('message', (data) => got.push(data as Buffer))
  socket.on('error', () => undefined)
  return { client, socket, got }
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
