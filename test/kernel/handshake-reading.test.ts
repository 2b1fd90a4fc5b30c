import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls, createServer as createTls } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { READ_AT_ONCE, WINDOW_MS } from '../../src/kernel/handshake-reading.ts'
import { connectionBelow, HandshakeTurns } from '../../src/kernel/handshake-turns.ts'
import { authority } from '../support/certificates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { halfway } from '../support/halfway.ts'
import { needs } from '../support/needs.ts'

needs('openssl')

const CLIENTS = 5 * READ_AT_ONCE

/** A listener of TLS, and how many handshakes are over. */
async function listener() {
  const folder = mkdtempSync(join(tmpdir(), 'limb-reading-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const { cert, key } = authority(folder).issue('localhost')
  const clock = new FakeClock()
  const turns = new HandshakeTurns({ clock, helloMs: () => 60_000 })
  const tls = createTls({ cert, key })
  const over = { count: 0 }
  tls.on('secureConnection', (socket) => {
    over.count++
    socket.on('error', () => undefined)
    turns.secured(connectionBelow(socket), () => socket.pipe(socket))
  })
  const sockets = new Set<Socket>()
  const server = createServer((raw) => {
    sockets.add(raw)
    turns.enter(
      raw,
      () => void (tls as unknown as Server).emit('connection', raw),
      () => undefined,
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { clock, port: (server.address() as AddressInfo).port, over }
}

/** Clients that keep their last message of the handshake back. */
async function halfwayClients(port: number): Promise<(() => void)[]> {
  const sockets = Array.from({ length: CLIENTS }, () =>
    connect(port, '127.0.0.1').on('error', () => undefined),
  )
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
  })
  return await Promise.all(sockets.map(halfway))
}

test('handshakes whose last messages come at the same moment end a few at a time, whose turn it is', async () => {
  const { clock, port, over } = await listener()
  const releases = await halfwayClients(port)
  clock.advance(WINDOW_MS)
  for (const release of releases) release()
  for (let wanted = READ_AT_ONCE; wanted <= CLIENTS; wanted += READ_AT_ONCE) {
    while (over.count < wanted) await turn()
    for (let i = 0; i < 20; i++) await turn()
    expect(over.count).toBe(wanted)
    clock.advance(WINDOW_MS)
  }
  expect(clock.timers).toBe(0)
})

test('a client that shakes hands at once is served among many that keep their last message back', async () => {
  const { clock, port, over } = await listener()
  await halfwayClients(port)
  const client = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  onTestFinished(() => void client.destroy())
  let answer = ''
  client.on('data', (chunk) => {
    answer += chunk
  })
  client.write('hello')
  while (answer !== 'hello') {
    clock.advance(WINDOW_MS)
    await turn()
  }
  expect(over.count).toBe(1)
})
