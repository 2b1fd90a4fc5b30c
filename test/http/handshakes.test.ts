import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
import { createServer } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { paceHandshakes } from '../../src/http/handshakes.ts'
import { authority } from '../support/certificates.ts'
import { clientHello } from '../support/client-hello.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { needs } from '../support/needs.ts'

needs('openssl')

const CONNECTIONS = 9

/** A server of HTTPS whose handshakes take four milliseconds to begin, and as many when they are over. */
async function server() {
  const folder = mkdtempSync(join(tmpdir(), 'limb-handshakes-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const { cert, key } = authority(folder).issue('localhost')
  const clock = new FakeClock()
  const counts = { connection: 0, secureConnection: 0 }
  const https = createServer({ cert, key })
  const takesTime = (event: keyof typeof counts) =>
    https.on(event, () => {
      clock.standStill(4)
      counts[event]++
    })
  takesTime('connection')
  const handshakes = paceHandshakes(https as unknown as Server, clock, 5000)
  takesTime('secureConnection')
  handshakes.paceEnds()
  https.listen(0, '127.0.0.1')
  await once(https, 'listening')
  onTestFinished(() => {
    handshakes.close()
    https.close()
    https.closeAllConnections()
  })
  return { https, handshakes, counts, port: (https.address() as AddressInfo).port }
}

test('handshakes of HTTPS that begin at the same moment begin a few in each turn', async () => {
  const { https, counts, port } = await server()
  const hello = await clientHello()
  let accepted = 0
  https.prependListener('connection', () => accepted++)
  const clients = Array.from({ length: CONNECTIONS }, () => connect(port, '127.0.0.1').on('error', () => {}))
  onTestFinished(() => {
    for (const client of clients) client.destroy()
  })
  while (accepted < CONNECTIONS) await turn()
  for (const client of clients) client.write(hello)
  let most = 0
  for (let before = 0; counts.connection < CONNECTIONS; before = counts.connection) {
    await turn()
    most = Math.max(most, counts.connection - before)
  }
  expect(most).toBe(2)
})

test('connections whose handshakes are over are opened in their turns, and served', async () => {
  const { https, counts, port } = await server()
  https.on('request', (_request, response) => response.end('here'))
  const answers = Array.from({ length: CONNECTIONS }, async () => {
    const client = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
    client.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    let answer = ''
    for await (const chunk of client) answer += chunk
    return answer.slice(0, 15)
  })
  const all = Promise.all(answers)
  let most = 0
  for (let before = 0; counts.secureConnection < CONNECTIONS; before = counts.secureConnection) {
    await turn()
    most = Math.max(most, counts.secureConnection - before)
  }
  expect(new Set(await all)).toEqual(new Set(['HTTP/1.1 200 OK']))
  expect(most).toBeLessThanOrEqual(2)
})

test('a connection that is gone before its turn is not opened: Node would keep it', async () => {
  const { https, counts, port } = await server()
  https.prependListener('secureConnection', (socket) => socket.destroy())
  const client = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  client.on('error', () => undefined)
  const closed = once(client, 'close')
  await once(https, 'secureConnection')
  await closed
  expect(counts.secureConnection).toBe(0)
})

test.each(['before', 'behind'])(
  'a connection that stays in its handshake, %s its first message, does not hold up the end of the server',
  async (when) => {
    const { https, handshakes, port } = await server()
    const client = connect(port, '127.0.0.1').on('error', () => undefined)
    onTestFinished(() => void client.destroy())
    await once(https, 'connection')
    if (when === 'behind') {
      client.write(await clientHello())
      await once(client, 'data')
    }
    const closed = once(https, 'close')
    https.close()
    handshakes.close()
    await closed
  },
)
