import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { afterAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { connectPacket } from '../../broker/wire.ts'
import { startApp, type TestApp } from '../../support/app.ts'
import { authority } from '../../support/certificates.ts'
import { needs } from '../../support/needs.ts'
import { proxied, version2 } from '../../support/proxy.ts'

needs('openssl')

const folder = mkdtempSync(join(tmpdir(), 'limb-proxy-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const ca = authority(folder)
const server = ca.issue('bridge')
const files = { certFile: server.certFile, keyFile: server.keyFile }
const LOOPBACK = { proxyNetworks: ['127.0.0.0/8'] }

/** Signs in over a stream that a proxy opened, and returns the code of CONNACK; null when it was closed. */
async function signIn(stream: Duplex, options: Parameters<typeof connectPacket>[0]) {
  stream.on('error', () => undefined)
  if (stream.closed) return null
  const answered = new Promise<Buffer | null>((resolve) => {
    stream.once('data', resolve)
    // Also after an error: a connection that was turned away may be reset.
    stream.once('close', () => resolve(null))
  })
  stream.write(connectPacket(options))
  return (await answered)?.[3] ?? null
}

async function addressOf(app: TestApp, clientId: string): Promise<string | undefined> {
  const admin = await app.admin()
  const { items } = await admin.do('admin', 'session/list')
  return items.find((each: { clientId: string }) => each.clientId === clientId)?.address
}

async function principals(app: TestApp): Promise<void> {
  const admin = await app.admin()
  await admin.do('admin', 'principal/add', { name: 'dash', role: 'viewer', password: 'a long password' })
}
const DASH = { username: 'dash', password: 'a long password', clean: false }

describe('a listener behind a proxy', () => {
  it.each([
    ['version 1', 'PROXY TCP4 192.0.2.7 10.0.0.1 56324 1883\r\n', '192.0.2.7'],
    ['version 2', version2({ source: '2001:db8::7' }), '2001:db8::7'],
    ['a health check of the proxy itself', version2({ source: '192.0.2.7', command: 0 }), '127.0.0.1'],
  ])('takes the announced address for the client’s (%s)', async (_which, header, address) => {
    await using app = await startApp({ mqtt: { port: 0, ...LOOPBACK } }, { memory: true })
    await principals(app)
    const socket = await proxied(app.bridge.mqtt.port, header)
    expect(await signIn(socket, { ...DASH, clientId: 'd1' })).toBe(0)
    expect(await addressOf(app, 'd1')).toBe(address)
    socket.destroy()
  })

  it('reads a header that comes byte by byte, and what follows in one piece with its end', async () => {
    await using app = await startApp({ mqtt: { port: 0, ...LOOPBACK } }, { memory: true })
    await principals(app)
    const header = version2({ source: '192.0.2.9', extra: 100 })
    const socket = await proxied(app.bridge.mqtt.port, header.subarray(0, 1))
    socket.setNoDelay(true)
    for (const byte of header.subarray(1, 60)) {
      socket.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    socket.write(Buffer.concat([header.subarray(60), connectPacket({ ...DASH, clientId: 'd2' })]))
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(answer[3]).toBe(0)
    expect(await addressOf(app, 'd2')).toBe('192.0.2.9')
    socket.destroy()
  })

  it('counts wrong passwords and connections for the announced address alone', async () => {
    await using app = await startApp(
      {
        mqtt: { port: 0, ...LOOPBACK, maxFailedSignIns: 3, maxConnectionsPerAddress: 2 },
      },
      { memory: true },
    )
    await principals(app)
    const from = (source: string) => proxied(app.bridge.mqtt.port, version2({ source }))
    for (let i = 0; i < 3; i++) {
      expect(await signIn(await from('192.0.2.66'), { ...DASH, password: 'wrong' })).toBe(4)
    }
    expect(await signIn(await from('192.0.2.66'), DASH)).not.toBe(0)
    expect(await signIn(await from('192.0.2.7'), DASH)).toBe(0)
    expect(app.logLines).toContainEqual(expect.objectContaining({ address: '192.0.2.66' }))
    const open: Socket[] = []
    for (let i = 0; i < 3; i++) open.push(await from('192.0.2.8'))
    const codes = await Promise.all(open.map((socket) => signIn(socket, DASH)))
    expect(codes.sort()).toEqual([0, 0, null])
    for (const socket of open) socket.destroy()
  })

  it.each([
    ['no header', connectPacket({ clientId: 'x' })],
    ['a malformed one', Buffer.from('PROXY TCP4 nobody 10.0.0.1 1 2\r\n')],
  ])('closes a connection of the proxy with %s, and names proxy and setting', async (_which, bytes) => {
    await using app = await startApp({ mqtt: { port: 0, ...LOOPBACK } }, { memory: true })
    const socket = connect({ host: '127.0.0.1', port: app.bridge.mqtt.port })
    socket.on('error', () => undefined)
    socket.write(bytes)
    await once(socket, 'close')
    expect(app.logLines).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        msg: expect.stringMatching(/^the proxy 127\.0\.0\.1 \(mqtt\.proxyNetworks\) sends /),
      }),
    )
  })

  it('waits five seconds for a header, no longer', async () => {
    await using app = await startApp({ mqtt: { port: 0, ...LOOPBACK } }, { fakeClock: true, memory: true })
    const socket = await proxied(app.bridge.mqtt.port, 'PROXY ')
    let over = false
    socket.on('error', () => undefined)
    socket.on('close', () => {
      over = true
    })
    await expect
      .poll(() => {
        app.clock.advance(5001)
        return over
      })
      .toBe(true)
    expect(app.logLines).toContainEqual(
      expect.objectContaining({ msg: expect.stringContaining('within 5 seconds') }),
    )
  })

  it('believes nobody whom the operator does not name', async () => {
    await using app = await startApp(
      {
        mqtt: { port: 0, proxyNetworks: ['192.0.2.0/24'] },
        http: { enabled: true, port: 0 },
      },
      { memory: true },
    )
    const socket = await proxied(app.bridge.mqtt.port, version2({ source: '198.51.100.7' }))
    await once(socket, 'close')
    const web = await proxied(app.bridge.http?.port ?? 0, 'PROXY TCP4 198.51.100.7 10.0.0.1 1 2\r\n')
    web.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n')
    web.resume()
    await once(web, 'close')
    const said = app.logLines.map(({ msg, fault }) => `${msg} ${fault ?? ''}`)
    expect(said).toContainEqual(expect.stringContaining('name the proxy in proxyNetworks'))
    expect(said).toContainEqual(expect.stringContaining('name the proxy in http.proxyNetworks'))
    expect(said.join()).not.toContain('198.51.100.7')
    // Others need no header.
    const direct = connect({ host: '127.0.0.1', port: app.bridge.mqtt.port })
    expect(
      await signIn(direct, { username: 'cam1', password: 'a key that nobody has yet, long enough' }),
    ).toBe(0)
    direct.destroy()
  })

  it('reads the header before TLS, whose handshake failures have the announced address too', async () => {
    await using app = await startApp(
      {
        tls: { enabled: true, host: '127.0.0.1', port: 0, ...files, ...LOOPBACK },
      },
      { memory: true },
    )
    await principals(app)
    const port = app.bridge.tls?.port ?? 0
    const raw = await proxied(port, version2({ source: '192.0.2.21' }))
    const secured = connectTls({ socket: raw, ca: ca.cert, host: '127.0.0.1' })
    expect(await signIn(secured, { ...DASH, clientId: 'd3' })).toBe(0)
    expect(await addressOf(app, 'd3')).toBe('192.0.2.21')
    secured.destroy()
    const bad = await proxied(
      port,
      Buffer.concat([version2({ source: '192.0.2.22' }), Buffer.from('no TLS')]),
    )
    bad.on('error', () => undefined)
    await once(bad, 'close')
    expect(app.logLines).toContainEqual(expect.objectContaining({ address: '192.0.2.22' }))
  })

  it.each([['ws'], ['wss']])('reads the header before HTTP and WebSocket (%s)', async (scheme) => {
    await using app = await startApp(
      {
        tls: files,
        http: { enabled: true, port: 0, tls: scheme === 'wss', ...LOOPBACK },
      },
      { memory: true },
    )
    await principals(app)
    const port = app.bridge.http?.port ?? 0
    const raw = await proxied(port, version2({ source: '192.0.2.31' }))
    const stream = scheme === 'ws' ? raw : connectTls({ socket: raw, ca: ca.cert, host: '127.0.0.1' })
    if (stream !== raw) await once(stream, 'secureConnect')
    const socket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, 'mqtt', { createConnection: () => stream })
    await once(socket, 'open')
    socket.send(connectPacket({ ...DASH, clientId: 'd4' }))
    const [answer] = (await once(socket, 'message')) as [Buffer]
    expect(answer[3]).toBe(0)
    expect(await addressOf(app, 'd4')).toBe('192.0.2.31')
    socket.terminate()
    // A plain request, and two on one connection.
    const again = await proxied(port, version2({ source: '192.0.2.32' }))
    const below = scheme === 'ws' ? again : connectTls({ socket: again, ca: ca.cert, host: '127.0.0.1' })
    if (below !== again) await once(below, 'secureConnect')
    for (let i = 0; i < 2; i++) {
      const asked = request({
        createConnection: () => below,
        path: '/healthz',
        headers: { connection: 'keep-alive' },
      })
      asked.end()
      const [answered] = await once(asked, 'response')
      expect(answered.statusCode).toBe(200)
      answered.resume()
      await once(answered, 'end')
    }
    below.destroy()
  })
})
