import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { queryObjects } from 'node:v8'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { takeTurns } from '../../src/http/request-turns.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { listening } from './listening.ts'

/** A server on loopback whose requests are handed to the test. */
async function server() {
  const waiting: [IncomingMessage, ServerResponse][] = []
  const http = createServer((request, response) => {
    waiting.push([request, response])
    http.emit('asked')
  })
  takeTurns(http, new FakeClock(), () => undefined)
  const connected = await listening(http)
  const dial = () => connected().setNoDelay(true).resume()
  const asked = async () => {
    while (waiting.length === 0) await once(http, 'asked')
    return waiting.shift() as [IncomingMessage, ServerResponse]
  }
  return { dial, asked }
}

const HEAD = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
const END = '0\r\n\r\n'
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
const CHUNKS = 10_000

const buffers = () => queryObjects(Uint8Array, { format: 'count' }) as number

test.each([
  ['of a request that is being answered', HEAD],
  ['of a request that waits behind another one', `GET / HTTP/1.1\r\nHost: x\r\n\r\n${HEAD}`],
])('a body %s is no list of its chunks, and is whole when it is read', async (_where, head) => {
  const { dial, asked } = await server()
  const socket = dial()
  socket.write(head)
  let [request, response] = await asked()
  const before = buffers()
  for (let i = 0; i < CHUNKS; i += 100) {
    await new Promise<void>((written) => socket.write(chunk('x').repeat(100), () => written()))
  }
  // Whoever asks later is answered behind what came before.
  const other = dial()
  other.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const [, answer] = await asked()
  answer.end()
  expect(buffers() - before).toBeLessThan(CHUNKS / 10)
  if (head !== HEAD) {
    response.end()
    ;[request, response] = await asked()
  }
  socket.write(END)
  let bytes = 0
  for await (const piece of request) bytes += (piece as Buffer).length
  expect(bytes).toBe(CHUNKS)
  response.end()
})

test('a body comes as it was sent, whenever it is read and paused', async () => {
  const { dial, asked } = await server()
  const pieces = fc.array(
    fc.record({
      text: fc.string({ minLength: 1, maxLength: 40 }),
      act: fc.constantFrom('none', 'pause', 'resume'),
    }),
    { maxLength: 20 },
  )
  await fc.assert(
    fc.asyncProperty(pieces, fc.boolean(), async (all, fromStart) => {
      const socket = dial()
      socket.write(HEAD)
      const [request, response] = await asked()
      let text = ''
      const read = () => request.setEncoding('utf8').on('data', (piece: string) => (text += piece))
      if (fromStart) read()
      for (const { text: piece, act } of all) {
        socket.write(chunk(piece))
        await new Promise((resolve) => setImmediate(resolve))
        if (act === 'pause') request.pause()
        if (act === 'resume') request.resume()
      }
      const ended = once(request, 'end')
      if (!fromStart) read()
      request.resume()
      socket.write(END)
      await ended
      if (fromStart || all.every(({ act }) => act !== 'resume'))
        expect(text).toBe(all.map(({ text: each }) => each).join(''))
      response.end()
      socket.destroy()
    }),
    { numRuns: 100 },
  )
})

test('a request whose body nobody reads is answered, and the next one of its connection too', async () => {
  const { dial, asked } = await server()
  const socket = dial()
  let text = ''
  socket.on('data', (piece: Buffer) => {
    text += piece
  })
  socket.write(HEAD + chunk('x').repeat(100) + END + HEAD + END)
  const [, response] = await asked()
  response.end('first')
  const [, next] = await asked()
  next.end('second')
  while (!text.includes('second')) await once(socket, 'data')
})
