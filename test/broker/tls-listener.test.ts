import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { tlsHandshakes } from '../../src/broker/tls-listener.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { HandshakeTurns } from '../../src/kernel/handshake-turns.ts'

test('the handshake of each connection is over once, also of those that were gone before they had an address', async () => {
  const handshakes = tlsHandshakes(
    {
      material: {},
      minVersion: 'TLSv1.2',
      asksForCertificate: false,
      requiresCertificate: false,
      handshakeTimeoutMs: 5000,
      nowMs: () => Date.now(),
    },
    new HandshakeTurns({ clock: systemClock, helloMs: () => 5000 }),
    { secured: () => {}, failed: () => {} },
  )
  const server = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const over: number[] = []
  const begun: Socket[] = []
  for (let i = 0; i < 3; i++) {
    const accepted = once(server, 'connection')
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {})
    onTestFinished(() => void client.destroy())
    const [raw] = (await accepted) as [Socket]
    // What Node says of a peer that has reset its connection before it was accepted.
    for (const name of ['remoteAddress', 'remotePort']) Object.defineProperty(raw, name, { value: undefined })
    handshakes.begin(raw, () => over.push(i))
    begun.push(raw)
  }
  const closed = Promise.all(begun.map((raw) => once(raw, 'close')))
  for (const raw of begun) raw.destroy()
  await closed
  expect(over.sort()).toEqual([0, 1, 2])
})
