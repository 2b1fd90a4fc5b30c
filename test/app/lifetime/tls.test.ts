import { once } from 'node:events'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import mqtt, { type IClientOptions } from 'mqtt'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { connectPacket, dial } from '../../broker/wire.ts'
import { keyOf, REGISTRATION, startApp, type TestApp } from '../../support/app.ts'
import { authority, type Pair } from '../../support/certificates.ts'
import { TestClient } from '../../support/client.ts'
import { needs } from '../../support/needs.ts'

needs('openssl')

const folder = mkdtempSync(join(tmpdir(), 'limb-tls-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const ca = authority(folder)
const stranger = authority(folder, 'Somebody else')
const server = ca.issue('bridge')

const open: { end(force: boolean): unknown }[] = []
afterEach(() => {
  for (const client of open.splice(0)) client.end(true)
})

const ON = {
  enabled: true,
  host: '127.0.0.1',
  port: 0,
  certFile: server.certFile,
  keyFile: server.keyFile,
  caFile: ca.certFile,
}

const portOf = (app: TestApp) => app.bridge.tls?.port ?? 0

/** Rejects with the CONNACK's error, or when the connection ends before. */
async function secure(app: TestApp, options: IClientOptions = {}, url = ''): Promise<TestClient> {
  const client = mqtt.connect(url || `mqtts://127.0.0.1:${portOf(app)}`, {
    reconnectPeriod: 0,
    protocolVersion: 4,
    ca: ca.cert,
    ...options,
  })
  open.push(client)
  const test = new TestClient(client)
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve())
    client.once('error', reject)
    client.once('close', () => reject(new Error('closed before CONNACK')))
  })
  return test
}

const shows = ({ cert, key }: Pair) => ({ cert, key })

/** The handshake alone; rejects when it fails. */
async function handshake(app: TestApp, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls({ port: portOf(app), host: '127.0.0.1', ca: ca.cert, ...options })
  open.push({ end: () => socket.destroy() })
  await once(socket, 'secureConnect')
  return socket
}

async function metric(app: TestApp, name: string): Promise<number> {
  const { http } = app.bridge
  const text = await (await fetch(`http://127.0.0.1:${http?.port}/metrics`)).text()
  return Number(new RegExp(`^${name.replace(/[{}]/g, '\\$&')} (\\S+)$`, 'm').exec(text)?.[1])
}

describe('MQTT over TLS', () => {
  it('is the same MQTT, and speaks TLS 1.2 and 1.3 with forward secrecy only', async () => {
    await using app = await startApp({ tls: ON }, { memory: true })
    const device = await secure(app, { username: 'cam1', password: keyOf('cam1') })
    await device.subscribe('limb/node/cam1/pairing')
    await device.publish('limb/node/cam1/register', REGISTRATION)
    expect((await device.next('limb/node/cam1/pairing')).json.status).toBe('pending')

    expect((await handshake(app)).getProtocol()).toBe('TLSv1.3')
    const old = await handshake(app, { maxVersion: 'TLSv1.2' })
    expect(old.getProtocol()).toBe('TLSv1.2')
    expect(old.getCipher().name).toMatch(/^ECDHE-.*GCM/)
    const older = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
    await expect(handshake(app, older)).rejects.toThrow(/protocol version|alert/i)
    const weak = { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA:ECDHE-ECDSA-AES128-SHA' } as const
    await expect(handshake(app, weak)).rejects.toThrow(/handshake failure|alert/i)
  })

  it('counts a connection that never ends its handshake, and ends it after the time to sign in', async () => {
    await using app = await startApp(
      {
        tls: ON,
        mqtt: { maxConnections: 1, connectSeconds: 3, port: 0 },
      } as never,
      { memory: true },
    )
    const idle = connectTcp(portOf(app), '127.0.0.1')
    await once(idle, 'connect')
    const more = connectTcp(portOf(app), '127.0.0.1')
    // The first takes the only place: the second is closed at once, long before its own time is up.
    await once(more.resume(), 'close')
    expect(idle.destroyed).toBe(false)
    await once(idle.resume(), 'close')
  })

  it('closes plain bytes on the TLS port and says so, at a bearable pace', async () => {
    await using app = await startApp({ tls: ON, http: { enabled: true, port: 0 } }, { memory: true })
    for (let i = 0; i < 20; i++) {
      const plain = connectTcp(portOf(app), '127.0.0.1')
      plain.on('error', () => {})
      plain.write('GET / HTTP/1.1\r\n\r\n')
      await once(plain.resume(), 'close')
    }
    const lines = app.logLines.filter(({ msg }) => /^TLS handshake with \S+ failed: /.test(String(msg)))
    expect(lines.length).toBe(5)
    expect(await metric(app, 'limb_connections_refused_total{reason="tls"}')).toBe(20)
    expect(await metric(app, 'limb_connections{transport="tls"}')).toBe(0)
  })

  it('stops although a handshake is under way', async () => {
    const app = await startApp({ tls: ON }, { memory: true })
    const idle = connectTcp(portOf(app), '127.0.0.1')
    await once(idle, 'connect')
    const closed = once(idle.resume(), 'close')
    await app[Symbol.asyncDispose]()
    await closed
  })
})

describe('a client certificate', () => {
  it('signs an approved limb in by its common name, without a key', async () => {
    await using app = await startApp({ tls: ON }, { memory: true })
    const admin = await app.admin()
    await admin.do('admin', 'node/provision', { nodeId: 'cam1' })
    const device = await secure(app, { ...shows(ca.issue('cam1')), clientId: 'whatever' })
    expect(await device.subscribe('limb/node/cam1/invoke')).toEqual([1])
    await admin.subscribe('limb/node/cam1/status')
    await device.publish('limb/node/cam1/heartbeat')
    await admin.next(({ topic, text }) => topic === 'limb/node/cam1/status' && text === 'online')
  })

  it('of an unknown name makes a candidate whose one claim needs no key and survives reconnects', async () => {
    await using app = await startApp({ tls: ON }, { memory: true })
    const cam = ca.issue('cam1')
    const register = async () => {
      const device = await secure(app, shows(cam))
      await device.subscribe('limb/node/cam1/pairing')
      await device.publish('limb/node/cam1/register', REGISTRATION)
      return { device, answer: (await device.next('limb/node/cam1/pairing')).json }
    }
    const first = await register()
    expect(first.answer.status).toBe('pending')
    expect(first.answer.apiKey).toBeUndefined()
    first.device.cut()
    const { device, answer } = await register()
    expect(answer.requestId).toBe(first.answer.requestId)

    const admin = await app.admin()
    await admin.do('admin', 'pairing/approve', { requestId: answer.requestId })
    expect((await device.next('limb/node/cam1/pairing')).json.status).toBe('approved')
    const again = await secure(app, shows(cam))
    expect(await again.subscribe('limb/node/cam1/invoke')).toEqual([1])
  })

  it('is refused after its limb was revoked', async () => {
    await using app = await startApp({ tls: ON }, { memory: true })
    const admin = await app.admin()
    await admin.do('admin', 'node/provision', { nodeId: 'cam1' })
    const device = await secure(app, shows(ca.issue('cam1')))
    const ended = device.ended()
    await admin.do('admin', 'node/revoke', { nodeId: 'cam1' })
    await ended
    await expect(secure(app, shows(ca.issue('cam1')))).rejects.toMatchObject({ code: 5 })
  })

  it('cannot be replaced by a password that says the same', async () => {
    await using app = await startApp({ tls: ON }, { memory: true })
    const device = await secure(app, shows(ca.issue('cam1')))
    await device.subscribe('limb/node/cam1/pairing')
    await device.publish('limb/node/cam1/register', REGISTRATION)
    const { requestId } = (await device.next('limb/node/cam1/pairing')).json
    await (await app.admin()).do('admin', 'pairing/approve', { requestId })
    await expect(app.device('cam1', 'client certificate of cam1')).rejects.toMatchObject({ code: 4 })
  })

  it('stands for its own name only: under another one the password counts', async () => {
    await using app = await startApp({ tls: ON }, { memory: true })
    const admin = await app.admin()
    await admin.do('admin', 'node/provision', { nodeId: 'cam1' })
    await admin.do('admin', 'node/provision', { nodeId: 'cam2' })
    await admin.do('admin', 'principal/add', { name: 'ops', role: 'operator', password: 'ops-password' })
    const other = await secure(app, { ...shows(ca.issue('cam1')), username: 'cam2', password: 'x' })
    // A candidate for cam2: neither the limb of the certificate nor that of the name.
    const granted = ['cam1/invoke', 'cam2/invoke', 'cam2/pairing'].map((topic) =>
      other.subscribe(`limb/node/${topic}`),
    )
    expect((await Promise.all(granted)).flat()).toEqual([128, 1, 1])
    await other.publish('limb/node/cam2/heartbeat', {}, { qos: 1 })
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam2' })).toMatchObject({ status: 'offline' })
    const wrong = secure(app, { ...shows(ca.issue('ops')), username: 'ops', password: 'wrong' })
    await expect(wrong).rejects.toMatchObject({ code: 4 })
    await expect(secure(app, shows(ca.issue('ops')))).rejects.toMatchObject({ code: 4 })
    const ops = await secure(app, {
      ...shows(ca.issue('cam1')),
      username: 'ops',
      password: 'ops-password',
    })
    expect((await ops.ask('ops', 'pairing/list')).ok).toBe(true)
  })

  it.each([
    ['of another authority', () => stranger.issue('cam1'), /SELF_SIGNED|UNABLE/],
    ['that has ended', () => ca.issue('cam1', -1), /CERT_HAS_EXPIRED/],
  ])('%s closes the connection, and the log says why', async (_what, make, reason) => {
    await using app = await startApp({ tls: ON }, { memory: true })
    await (await app.admin()).do('admin', 'node/provision', { nodeId: 'cam1' })
    await expect(secure(app, shows(make()))).rejects.toThrow()
    const line = app.logLines.find(({ msg }) => /^TLS handshake with \S+ failed: /.test(String(msg)))
    expect(line?.reason).toMatch(reason)
  })

  it('that is not believed, or stands for no limb, is told in words, with its address and to `why`', async () => {
    await using app = await startApp({ tls: { ...ON, requireClientCertificate: true } }, { memory: true })
    const admin = await app.admin()
    const why = async (nodeId: string) => String((await admin.do('admin', 'node/why', { nodeId })).advice)
    await expect(secure(app, shows(stranger.issue('cam1')))).rejects.toThrow()
    expect(await why('cam1')).toMatch(
      /from 127\.0\.0\.1 .* was refused: .* authority that tls\.caFile does not have/,
    )
    await expect(secure(app, {})).rejects.toThrow()
    expect(await why('cam7')).toMatch(
      /a TLS handshake failed, from 127\.0\.0\.1 at .*the client showed no certificate/,
    )
    // Plain MQTT on the port of TLS.
    const plain = await dial({ port: app.bridge.tls?.port ?? 0 })
    plain.send(connectPacket())
    await plain.closed
    const told = () =>
      app.logLines.map(({ msg }) => String(msg)).filter((msg) => msg.includes('TLS handshake'))
    await expect
      .poll(() => told().at(-1))
      .toMatch(/with 127\.0\.0\.1 failed: the client does not speak TLS on this port/)
    await expect(secure(app, { ca: stranger.cert, username: 'cam1' })).rejects.toThrow()
    await expect
      .poll(() => told().at(-1))
      .toMatch(/does not know the authority of the certificate|does not accept|went away/)

    const named = await secure(app, {
      ...shows(ca.issue('Front Camera #1')),
      username: 'cam1',
      password: keyOf('cam1'),
    })
    expect(named.mqtt.connected).toBe(true)
    const idle = app.logLines.filter(({ msg }) => String(msg).includes('is no nodeId'))
    expect(idle).toMatchObject([
      {
        level: 'warn',
        address: '127.0.0.1',
        msg: expect.stringContaining('has the common name "Front Camera #1"'),
      },
    ])
  })

  it('that was revoked by its authority is refused, after a reload too', async () => {
    const [good, bad] = [ca.issue('cam1'), ca.issue('cam2')]
    const crlFile = join(folder, 'crl.pem')
    copyFileSync(ca.revoke(), crlFile)
    await using app = await startApp({ tls: { ...ON, crlFile } }, { memory: true })
    const admin = await app.admin()
    for (const nodeId of ['cam1', 'cam2']) await admin.do('admin', 'node/provision', { nodeId })
    await secure(app, shows(bad))
    copyFileSync(ca.revoke(bad), crlFile)
    await app.bridge.reloadCertificates()
    await expect(secure(app, shows(bad))).rejects.toThrow()
    await secure(app, shows(good))
  })

  it('can be required of everybody', async () => {
    await using app = await startApp({ tls: { ...ON, requireClientCertificate: true } }, { memory: true })
    await expect(secure(app, { username: 'cam1', password: keyOf('cam1') })).rejects.toThrow()
    await secure(app, { ...shows(ca.issue('gate keeper')), username: 'cam1', password: keyOf('cam1') })
  })
})

describe('a new certificate', () => {
  function files(): { certFile: string; keyFile: string; put(pair: Pair): void } {
    const own = mkdtempSync(join(folder, 'live-'))
    const [certFile, keyFile] = [join(own, 'tls.crt'), join(own, 'tls.key')]
    const put = (next: Pair) => {
      copyFileSync(next.certFile, certFile)
      copyFileSync(next.keyFile, keyFile)
    }
    put(server)
    return { certFile, keyFile, put }
  }
  const nameOf = async (app: TestApp) => (await handshake(app)).getPeerCertificate().subject.CN

  it('is taken over by reload, and no session notices', async () => {
    const { put, ...paths } = files()
    await using app = await startApp({ tls: { ...ON, ...paths } }, { memory: true })
    const device = await secure(app, { username: 'cam1', password: keyOf('cam1') })
    put(ca.issue('renewed'))
    expect(await nameOf(app)).toBe('bridge')
    await app.bridge.reloadCertificates()
    expect(await nameOf(app)).toBe('renewed')
    await device.settle()
    expect(device.mqtt.connected).toBe(true)
  })

  it('is noticed without being told', async () => {
    const { put, ...paths } = files()
    await using app = await startApp({ tls: { ...ON, ...paths } }, { fakeClock: true, memory: true })
    put(ca.issue('renewed'))
    app.clock.advance(10_000)
    await expect.poll(() => nameOf(app)).toBe('renewed')
  })

  it.each([
    ['is no certificate', (certFile: string) => writeFileSync(certFile, 'garbage'), /tls\.certFile/],
    [
      'has another key',
      (certFile: string) => copyFileSync(ca.issue('other').certFile, certFile),
      /is not the key of the certificate/,
    ],
    ['is not there', (certFile: string) => rmSync(certFile), /there is no such file/],
  ])('that %s is told, and the old one stays', async (_what, spoil, message) => {
    const { put, ...paths } = files()
    await using app = await startApp(
      { tls: { ...ON, ...paths }, http: { enabled: true, port: 0 } },
      { memory: true },
    )
    spoil(paths.certFile)
    await app.bridge.reloadCertificates()
    const line = app.logLines.find(({ level }) => level === 'error')
    expect(line?.msg).toMatch(/^the new certificate is not used, the old one stays: /)
    expect(line?.msg).toMatch(message)
    expect(await nameOf(app)).toBe('bridge')
    expect(await metric(app, 'limb_tls_reloads_total{outcome="failed"}')).toBe(1)
    put(ca.issue('renewed'))
    await app.bridge.reloadCertificates()
    expect(await nameOf(app)).toBe('renewed')
  })

  it('that has ended already is not used', async () => {
    const { put, ...paths } = files()
    await using app = await startApp({ tls: { ...ON, ...paths } }, { memory: true })
    put(ca.issue('late', -1))
    await app.bridge.reloadCertificates()
    expect(await nameOf(app)).toBe('bridge')
  })
})

describe('the end of a certificate', () => {
  it.each([
    [29, 'warn', /ends on/],
    [6, 'warn', /ends on/],
    [0.5, 'error', /ends on/],
    [-1, 'error', /ended on/],
  ])('in %d days is told once, and shown as a metric', async (days, level, message) => {
    const pair = ca.issue('bridge', days)
    await using app = await startApp(
      {
        tls: { ...ON, certFile: pair.certFile, keyFile: pair.keyFile },
        http: { enabled: true, port: 0 },
      },
      { memory: true },
    )
    const lines = app.logLines.filter(({ msg }) => message.test(String(msg)))
    expect(lines).toMatchObject([{ level }])
    const end = await metric(app, 'limb_tls_certificate_end_timestamp_seconds')
    expect(Math.abs(end - Date.now() / 1000 - days * 86_400)).toBeLessThan(60)
  })

  it('is told again as it comes closer, and not at every look', async () => {
    const pair = ca.issue('bridge', 60)
    await using app = await startApp(
      { tls: { ...ON, certFile: pair.certFile, keyFile: pair.keyFile } },
      { fakeClock: true, memory: true },
    )
    const warnings = () =>
      app.logLines.filter(({ msg }) => /^the certificate in .* end(s|ed) on/.test(String(msg))).length
    // The next look is planned when this one has read the files.
    const look = () => {
      app.clock.advance(10_000)
      return warnings()
    }
    app.clock.jumpWall(Date.now() - app.clock.wallMs())
    expect(warnings()).toBe(0)
    for (const [jump, told] of [
      [31, 1],
      [1, 1],
      [22, 2],
      [5.5, 3],
      [1, 4],
      [1, 4],
    ] as const) {
      app.clock.jumpWall(jump * 86_400_000)
      await expect.poll(look).toBe(told)
    }
  })
})

describe('HTTPS', () => {
  const https = { enabled: true, port: 0, tls: true }

  it('carries MQTT over wss with the same certificate, which is renewed with it', async () => {
    const own = mkdtempSync(join(folder, 'live-'))
    const [certFile, keyFile] = [join(own, 'tls.crt'), join(own, 'tls.key')]
    copyFileSync(server.certFile, certFile)
    copyFileSync(server.keyFile, keyFile)
    await using app = await startApp(
      { tls: { ...ON, enabled: false, certFile, keyFile }, http: https },
      { memory: true },
    )
    const port = app.bridge.http?.port ?? 0
    const device = await secure(
      app,
      { username: 'cam1', password: keyOf('cam1') },
      `wss://127.0.0.1:${port}/mqtt`,
    )
    expect(await device.subscribe('limb/node/cam1/pairing')).toEqual([1])
    await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow()

    const next = ca.issue('renewed')
    copyFileSync(next.certFile, certFile)
    copyFileSync(next.keyFile, keyFile)
    await app.bridge.reloadCertificates()
    const socket = connectTls({ port, host: '127.0.0.1', ca: ca.cert })
    await once(socket, 'secureConnect')
    expect(socket.getPeerCertificate().subject.CN).toBe('renewed')
    socket.destroy()
    await device.settle()
  })

  it('wants a client certificate at /mqtt when it is required, and takes its name', async () => {
    await using app = await startApp(
      { tls: { ...ON, requireClientCertificate: true }, http: https },
      { memory: true },
    )
    await (await app.admin()).do('admin', 'node/provision', { nodeId: 'cam1' })
    const url = `wss://127.0.0.1:${app.bridge.http?.port}/mqtt`
    const bare = new WebSocket(url, ['mqtt'], { ca: ca.cert })
    const [request, response] = await once(bare, 'unexpected-response')
    expect(response.statusCode).toBe(403)
    request.destroy()
    const device = await secure(app, shows(ca.issue('cam1')), url)
    expect(await device.subscribe('limb/node/cam1/invoke')).toEqual([1])
  })
})
