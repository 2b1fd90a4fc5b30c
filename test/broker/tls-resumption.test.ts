import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type SecureVersion } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { tlsHandshakes } from '../../src/broker/tls-listener.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { HandshakeTurns } from '../../src/kernel/handshake-turns.ts'
import { certificateFault } from '../../src/kernel/peer-certificate.ts'
import { authority } from '../support/certificates.ts'
import { needs } from '../support/needs.ts'

needs('openssl')

const DAY_MS = 86_400_000

test.each<SecureVersion>(['TLSv1.2', 'TLSv1.3'])(
  'a client certificate that has ended does not go on by resumption of a session of %s',
  async (maxVersion) => {
    const folder = mkdtempSync(join(tmpdir(), 'limb-resumption-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const ca = authority(folder)
    const own = ca.issue('localhost')
    const limb = ca.issue('cam1', 5)
    let now = Date.now()
    const results: string[] = []
    const handshakes = tlsHandshakes(
      {
        material: { cert: own.cert, key: own.key, ca: ca.cert },
        minVersion: 'TLSv1.2',
        asksForCertificate: true,
        requiresCertificate: false,
        handshakeTimeoutMs: 5000,
        nowMs: () => now,
      },
      new HandshakeTurns({ clock: systemClock, helloMs: () => 5000 }),
      {
        secured(socket, name) {
          results.push(`${name}, ${socket.isSessionReused() ? 'resumed' : 'new'}`)
          socket.on('error', () => {})
          socket.end('hello')
        },
        failed: (_address, reason) => results.push(reason),
      },
    )
    const server = createServer((socket) => handshakes.begin(socket, () => {}))
    onTestFinished(() => void server.close())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const visit = async (session?: Buffer): Promise<Buffer | undefined> => {
      const socket = connect({
        ...{ port, host: '127.0.0.1', ca: ca.cert, cert: limb.cert, key: limb.key, maxVersion },
        ...(session && { session }),
      })
      let given: Buffer | undefined
      socket.on('session', (next) => {
        given = next
      })
      socket.on('error', () => {})
      socket.resume()
      await once(socket, 'close')
      return given
    }
    const session = await visit()
    await visit(session)
    now += 6 * DAY_MS
    await visit(session)
    expect(results).toEqual(['cam1, new', 'cam1, resumed', 'client certificate: CERT_HAS_EXPIRED'])
  },
)

test('a certificate that is not believed, not yet of today, or without a date has a fault', () => {
  const peer = (valid_from: string, valid_to: string, authorized = true) =>
    ({
      authorized,
      authorizationError: new Error('self-signed'),
      getPeerCertificate: () => ({ valid_from, valid_to }),
    }) as never
  const now = Date.parse('2026-06-01T00:00:00Z')
  const [before, after] = ['May 1 00:00:00 2026 GMT', 'Jul 1 00:00:00 2026 GMT']
  expect(certificateFault(peer(before, after), now)).toBeUndefined()
  expect(certificateFault(peer(before, after, false), now)).toContain('self-signed')
  expect(certificateFault(peer(after, after), now)).toBe('CERT_NOT_YET_VALID')
  expect(certificateFault(peer(before, before), now)).toBe('CERT_HAS_EXPIRED')
  expect(certificateFault(peer(before, 'soon'), now)).toBe('CERT_HAS_EXPIRED')
})
