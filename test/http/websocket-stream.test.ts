import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { PacedReading, ReadTurns } from '../../src/broker/read-turns.ts'
import { takeTurns } from '../../src/http/request-turns.ts'
import { WebSocketStream } from '../../src/http/websocket-stream.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { MAX_WAITING_CHUNKS } from '../../src/kernel/few-chunks.ts'

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
  const http = createServer().listen(0, '127.0.0.1')
  takeTurns(http, systemClock, () => undefined)
  const server = new WebSocketServer({ server: http })
  onTestFinished(() => void http.close())
  await once(http, 'listening')
  const client = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}`)
  onTestFinished(() => client.terminate())
  const [[socket, request]] = await Promise.all([once(server, 'connection'), once(client, 'open')])
  const raw = request.socket as Socket
  return { client, socket: socket as WebSocket, raw, stream: new WebSocketStream(socket, raw) }
}

test('what a client sent before it closed is read, though its connection waits for its turn meanwhile', async () => {
  const { client, socket, stream } = await connected()
  const turns = new HeldTurns(systemClock)
  const read: string[] = []
  new PacedReading({
    conn: stream,
    turns,
    resume: () => undefined,
    isIdle: () => !stream.destroyed,
    isCandidate: () => false,
  })
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

test('small messages that had to wait are all read when the connection goes on', async () => {
  const { client, raw, stream } = await connected()
  client.send(Buffer.alloc(stream.readableHighWaterMark))
  while (!raw.isPaused()) await turn()
  let messages = 0
  // Each is a chunk of its own, until no more is read.
  for (let before = -1; raw.bytesRead > before || messages < MAX_WAITING_CHUNKS; messages++) {
    before = raw.bytesRead
    client.send(Buffer.from('x'))
    for (let i = 0; i < 20 && raw.bytesRead === before; i++) await turn()
  }
  let bytes = 0
  const all = new Promise<void>((resolve) =>
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes === stream.readableHighWaterMark + messages) resolve()
    }),
  )
  await all
})

test('a WebSocket is read into the buffer that all sockets share', async () => {
  const [one, two] = [await connected(), await connected()]
  const bufferOf = (raw: Socket) => {
    const symbol = Object.getOwnPropertySymbols(raw).find(({ description }) => description === 'kBuffer')
    return (raw as unknown as Record<symbol, unknown>)[symbol as symbol]
  }
  expect(bufferOf(one.raw)).toBeInstanceOf(Buffer)
  expect(bufferOf(one.raw)).toBe(bufferOf(two.raw))
})
