import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { authority } from '../support/certificates.ts'
import { skipWithout } from '../support/needs.ts'
import { patience } from '../support/patience.ts'

/** In programs of their own: Node reads the system's store once, and finds it by the environment it starts with. */
const CLIENTS = {
  'the command line': (url: string) => ['src/main.ts', 'status', '--url', url, '--user', 'ann'],
  'an uplink': (url: string) => [
    '--input-type=module',
    '--eval',
    `import { MqttLink } from './src/client/mqtt-link.ts'
     import { uplinkTarget } from './src/uplink/connection.ts'
     import { systemClock } from './src/kernel/clock.ts'
     const settings = { name: 'u', url: '${url}', prefix: 'x', protocolVersion: 4 }
     const will = { topic: 'x', payload: Buffer.from('x'), qos: 1, retain: true }
     const events = { opened() {}, message() {}, closed: () => process.exit(0) }
     new MqttLink({ clock: systemClock, target: () => uplinkTarget(settings, will) }, events).start()`,
  ],
}

test.for(Object.entries(CLIENTS))(
  '%s trusts the store of the system, without NODE_EXTRA_CA_CERTS',
  { timeout: patience(60_000) },
  async ([name, argumentsFor], context) => {
    skipWithout(context, 'openssl')
    const folder = mkdtempSync(join(tmpdir(), 'limb-store-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const ca = authority(folder)
    let handshakes = 0
    const server = createServer(ca.issue('localhost'), (socket) => {
      handshakes++
      socket.on('error', () => {})
      socket.destroy()
    })
    onTestFinished(() => void server.close())
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    const url = `mqtts://localhost:${(server.address() as AddressInfo).port}`
    const run = (env: Record<string, string>) =>
      new Promise<void>((done) => {
        const all = { HOME: folder, LIMB_PASSWORD: 'x', ...env }
        execFile(process.execPath, argumentsFor(url), { env: all, timeout: patience(25_000) }, () => done())
      })
    await run({})
    expect([name, handshakes]).toEqual([name, 0])
    await run({ SSL_CERT_FILE: ca.certFile })
    expect(handshakes).toBeGreaterThan(0)
  },
)
