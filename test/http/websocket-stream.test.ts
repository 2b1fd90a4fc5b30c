import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { PacedReading, ReadTurns } from '../../src/broker/read-turns.ts'
import { WebSocketStream } from '../../src/http/websocket-stream.ts'
import { systemClock } from '../../src/kernel/clock.ts'

/** Turns that come when the test says so. */
class HeldTurns extends ReadTurns {
  readonly waiting: (() => void)[] = []
  override mayTake(): boolean {
    return false
  }
  override wait(go: () => void): () => void {
    this.waiting.push(go)
    return () => this.waiting.splice(this.waiting.indexOf(go), 1)
  }
}

/** A client, and its connection as the broker has it. */
async function connected() {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
  onTestFinished(() => client.terminate())
  const [[socket, request]] = await Promise.all([once(server, 'connection'), once(client, 'open')])
  return { client, socket: socket as WebSocket, stream: new WebSocketStream(socket, request.socket) }
}

test('what a client sent before it closed is read, though its connection waits for its turn meanwhile', async () => {
  const { client, socket, stream } = await connected()
  const turns = new HeldTurns(systemClock)
  const read: string[] = []
  new PacedReading({ conn: stream, turns, resume: () => undefined, isIdle: () => !stream.destroyed })
  stream.on('readable', () => {
    const chunk: Buffer | null = stream.read()
    if (chunk !== null) read.push(chunk.toString())
  })
  stream.on('end', () => read.push('end'))
  const gone = once(socket, 'close')
  const closed = once(stream, 'close')
  client.send(Buffer.from('last words'))
  client.close()
  await gone
  expect(turns.waiting).toHaveLength(1)
  turns.waiting[0]?.()
  await closed
  expect(read).toEqual(['last words', 'end'])
})

test('a connection of which nothing is left to read ends with its client', async () => {
  const { client, socket, stream } = await connected()
  const gone = once(socket, 'close')
  const closed = once(stream, 'close')
  client.close()
  await gone
  expect(stream.destroyed).toBe(true)
  await closed
})
