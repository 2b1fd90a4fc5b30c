import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import type { ApiPorts } from '../../src/http/api/ports.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startHttpWith } from './http-server.ts'

/** An answer that no socket takes at once. */
const DATA = JSON.stringify('x'.repeat(8 * 1024 * 1024))
const BOUND_MS = 250

/** A server whose answer to a request has begun, and whose client does not read on. */
async function startUnread() {
  const clock = new FakeClock()
  const identity = { kind: 'principal', name: 'ops', role: 'admin', local: false } as const
  const ports = {
    admit: async () => ({ admitted: true, identity }),
    ask: async () => Buffer.from(`{"ok":true,"data":${DATA}}`),
    feed: { listen() {} },
  } as unknown as ApiPorts
  const server = await startHttpWith({ clock, ports, api: true })
  const socket = connect(server.port, '127.0.0.1').on('error', () => undefined)
  onTestFinished(() => {
    socket.destroy()
  })
  socket.write(
    'POST /api/v1/node/list HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: 0\r\n\r\n',
  )
  const [first] = await once(socket, 'data')
  socket.pause()
  return { clock, server, socket, first: first as Buffer }
}

/** Returns the bytes of the body that came, the connection being over. */
async function bodyOf(first: Buffer, socket: Socket): Promise<number> {
  const chunks = [first]
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.resume()
  await once(socket, 'close')
  const all = Buffer.concat(chunks)
  return all.length - all.indexOf('\r\n\r\n') - 4
}

test('a server that closes has written the answers that were due', async () => {
  const { server, socket, first } = await startUnread()
  const closed = server.close()
  expect(await bodyOf(first, socket)).toBe(DATA.length)
  await closed
})

test('it does not wait for who does not read', async () => {
  const { clock, server, socket, first } = await startUnread()
  let isClosed = false
  const closed = server.close().then(() => {
    isClosed = true
  })
  while (!isClosed) {
    await new Promise((resolve) => setImmediate(resolve))
    clock.advance(BOUND_MS)
  }
  await closed
  expect(await bodyOf(first, socket)).toBeLessThan(DATA.length)
})
