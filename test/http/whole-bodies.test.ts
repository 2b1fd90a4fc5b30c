import { type AddressInfo, connect, type Socket } from 'node:net'
import { queryObjects } from 'node:v8'
import { type FastifyInstance, fastify } from 'fastify'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readWholeBodies } from '../../src/http/whole-bodies.ts'

const KIB = 1024
let app: FastifyInstance
let port: number
let asked: Promise<void>

beforeEach(async () => {
  app = fastify()
  readWholeBodies(app, 200 * KIB)
  asked = new Promise((resolve) => {
    app.addHook('preParsing', async () => resolve())
  })
  const answer = async ({ body }: { body: unknown }) => ({ bytes: (body as Buffer | undefined)?.length ?? 0 })
  app.post('/any', answer)
  app.post('/small', { bodyLimit: 8 }, answer)
  await app.listen({ port: 0, host: '127.0.0.1' })
  port = (app.server.address() as AddressInfo).port
})
afterEach(() => app.close())

const HEAD = 'Host: x\r\nContent-Type: application/json\r\n'
const chunked = (path: string) => `POST ${path} HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n`

function dial(): Socket {
  return connect({ port, host: '127.0.0.1' }).on('error', () => undefined)
}

/** The answer to what was written, up to its end. */
async function answerTo(socket: Socket): Promise<string> {
  let text = ''
  for await (const piece of socket) {
    text += piece
    if (text.includes('}')) break
  }
  return text
}

async function posted(path: string, body: string): Promise<{ status: number; json: unknown }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  return { status: response.status, json: await response.json() }
}

test('a body comes in one piece, up to the bound', async () => {
  expect(await posted('/any', 'x'.repeat(200 * KIB))).toMatchObject({
    status: 200,
    json: { bytes: 200 * KIB },
  })
  expect(await posted('/any', 'x'.repeat(200 * KIB + 1))).toMatchObject({ status: 413 })
})

test('a route may have a bound of its own', async () => {
  expect(await posted('/small', 'x'.repeat(8))).toMatchObject({ status: 200, json: { bytes: 8 } })
  expect(await posted('/small', 'x'.repeat(9))).toMatchObject({ status: 413 })
})

test('a body in chunks ends at the bound too', async () => {
  const socket = dial()
  socket.write(chunked('/small') + '4\r\n1234\r\n'.repeat(3))
  expect(await answerTo(socket)).toMatch(/^HTTP\/1.1 413 /)
})

test('a body in chunks of one byte is one piece too', async () => {
  const socket = dial()
  socket.write(`${chunked('/any') + '1\r\nx\r\n'.repeat(1000)}0\r\n\r\n`)
  expect(await answerTo(socket)).toContain('{"bytes":1000}')
})

test('a body that is not whole is no list of its chunks, however small they are', async () => {
  const before = queryObjects(Uint8Array, { format: 'count' }) as number
  const socket = dial()
  const chunks = 20_000
  socket.write(chunked('/any') + '1\r\nx\r\n'.repeat(chunks))
  await asked
  while (socket.bytesWritten < 6 * chunks) await new Promise((resolve) => socket.once('drain', resolve))
  // An answer to somebody who asks later comes behind what came before.
  for (let i = 0; i < 5; i++) await posted('/small', '1')
  expect((queryObjects(Uint8Array, { format: 'count' }) as number) - before).toBeLessThan(chunks / 10)
  socket.destroy()
})

test('whoever goes away within a body harms nobody', async () => {
  const socket = dial()
  socket.write(`${chunked('/any')}4\r\n1234\r\n`)
  await asked
  socket.destroy()
  expect(await posted('/small', '1')).toMatchObject({ status: 200 })
})
