import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect as connectTcp, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { MqttClient } from 'mqtt'
import { afterEach, describe, expect, it } from 'vitest'
import { createWebSocketStream, WebSocket } from 'ws'
import { resolveConfig } from '../../../src/host/config/config.ts'
import { connectPacket } from '../../broker/wire.ts'
import { startApp } from '../../support/app.ts'
import { authority } from '../../support/certificates.ts'
import { connect } from '../../support/client.ts'
import { skipWithout } from '../../support/needs.ts'
import { proxied, version2 } from '../../support/proxy.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

describe('a bridge that inherits its sockets', () => {
  const MAIN = join(import.meta.dirname, '../../../src/main.ts')
  const fdOf = (server: Server) => (server as unknown as { _handle: { fd: number } })._handle.fd

  async function listening(where: object): Promise<Server> {
    const server = createServer()
    server.listen(where)
    await once(server, 'listening')
    return server
  }

  /** systemd gives LISTEN_PID after the fork; here a shell that becomes Node does. */
  function serve(
    folder: string,
    servers: readonly Server[],
    names: string,
    settings: object = {},
  ): ChildProcess {
    const config = join(folder, 'config.yaml')
    const store = { path: join(folder, 'limb.sqlite') }
    // JSON is YAML.
    writeFileSync(config, JSON.stringify({ store, http: { enabled: false }, ...settings }))
    const child = spawn(
      'bash',
      ['-c', `LISTEN_PID=$$ exec "$0" "$@"`, process.execPath, MAIN, 'serve', '--config', config],
      {
        stdio: ['ignore', 'pipe', 'inherit', ...servers.map(fdOf)],
        env: { ...process.env, LISTEN_FDS: String(servers.length), LISTEN_FDNAMES: names },
      },
    )
    cleanups.push(() => child.kill('SIGKILL'))
    heard.set(child, listen(child))
    // As a service manager, which listens and never accepts. The child has its own copies.
    for (const server of servers) server.close()
    return child
  }

  /** What each child has said so far; two lines may come in one piece. */
  const heard = new WeakMap<ChildProcess, string[]>()
  function listen(child: ChildProcess): string[] {
    const lines: string[] = []
    if (!child.stdout) throw new Error('no output')
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line)
      child.emit('said')
    })
    child.once('close', () => child.emit('said'))
    return lines
  }
  async function said(child: ChildProcess, text: string): Promise<string> {
    for (;;) {
      const found = heard.get(child)?.find((line) => line.includes(text))
      if (found !== undefined) return found
      if (child.stdout?.closed) throw new Error(`it ended without saying ${text}`)
      await once(child, 'said')
    }
  }

  const portsOf = (servers: readonly Server[]) =>
    servers.map((server) => (server.address() as AddressInfo).port)

  function folder(): string {
    const made = mkdtempSync(join(tmpdir(), 'limb-inherit-'))
    cleanups.push(() => rmSync(made, { recursive: true }))
    return made
  }

  it('answers on them, admin on the control socket alone', async () => {
    const here = folder()
    const tcp = await listening({ host: '127.0.0.1', port: 0 })
    const socket = join(here, 'inherited.sock')
    const control = await listening({ path: join(here, 'bound.sock') })
    // Node removes the file that it bound when it closes.
    renameSync(join(here, 'bound.sock'), socket)
    const unused = [
      await listening({ host: '127.0.0.1', port: 0 }),
      await listening({ host: '127.0.0.1', port: 0 }),
    ]
    const [port = 0, ...turnedAway] = portsOf([tcp, ...unused])
    const child = serve(here, [control, tcp, ...unused], 'control:mqtt:mqtts:http')
    const warned = await said(child, 'the service manager handed over the socket')
    expect(warned).toContain('tls.enabled is false: who connects there is turned away')
    await said(child, '"msg":"ready"')
    for (const each of turnedAway) await once(connectTcp({ host: '127.0.0.1', port: each }), 'close')
    const admin = await connect({ socket })
    expect(await admin.do('admin', 'node/list')).toEqual({ items: [] })
    await expect(connect({ port }, { username: 'admin', password: 'no' })).rejects.toThrow()
    const device = await connect({ port }, { username: 'lamp' })
    await device.end()
    await admin.end()
  })

  it('reads the header of a named proxy on each of them, and takes one from nobody else', async (context) => {
    skipWithout(context, 'openssl')
    const here = folder()
    const ca = authority(here)
    const { certFile, keyFile } = ca.issue('bridge')
    const servers: Server[] = []
    for (let i = 0; i < 6; i++) servers.push(await listening({ host: i > 2 ? '::1' : '127.0.0.1', port: 0 }))
    const [plain = 0, secure = 0, web = 0, six = 0, secureSix = 0, webSix = 0] = portsOf(servers)
    const socket = join(here, 'control.sock')
    const proxyNetworks = ['127.0.0.0/8']
    const child = serve(here, servers, 'mqtt:mqtts:http:mqtt:mqtts:http', {
      control: { socket },
      mqtt: { proxyNetworks },
      tls: { enabled: true, certFile, keyFile, proxyNetworks },
      http: { enabled: true, proxyNetworks },
    })
    await said(child, '"msg":"ready"')
    const admin = await connect({ socket })
    await admin.do('admin', 'principal/add', { name: 'dash', role: 'viewer', password: 'a long password' })

    const signIn = async (stream: Duplex, clientId: string) => {
      const client = new MqttClient(() => stream, {
        clientId,
        username: 'dash',
        password: 'a long password',
        reconnectPeriod: 0,
        keepalive: 60,
      })
      client.on('error', () => undefined)
      cleanups.push(() => client.end(true))
      await new Promise((resolve, reject) => {
        client.once('connect', resolve)
        client.once('close', () => reject(new Error(`${clientId} was not let in`)))
      })
    }
    await signIn(await proxied(plain, version2({ source: '192.0.2.1' })), 'plain')
    const below = await proxied(secure, 'PROXY TCP6 2001:db8::2 2001:db8::1 4000 8883\r\n')
    await signIn(connectTls({ socket: below, ca: ca.cert, host: '127.0.0.1' }), 'secure')
    const raw = await proxied(web, version2({ source: '192.0.2.3' }))
    const ws = new WebSocket(`ws://127.0.0.1:${web}/mqtt`, 'mqtt', { createConnection: () => raw })
    await once(ws, 'open')
    await signIn(createWebSocketStream(ws), 'web')
    // No proxy is named for IPv6.
    const direct = connectTcp({ host: '::1', port: six })
    await signIn(direct, 'six')
    // A socket unit may have one line for each address.
    await signIn(
      connectTls({ host: '::1', port: secureSix, ca: ca.cert, checkServerIdentity: () => undefined }),
      'secure six',
    )
    expect((await fetch(`http://[::1]:${webSix}/healthz`)).status).toBe(200)
    const stranger = connectTcp({ host: '::1', port: six })
    stranger.on('error', () => undefined)
    stranger.write(version2({ source: '192.0.2.5' }))
    await once(stranger, 'close')
    // Nobody gets in by a proxy's address without its header.
    const headless = connectTcp({ host: '127.0.0.1', port: plain })
    headless.on('error', () => undefined)
    headless.write(connectPacket({ username: 'dash', password: 'a long password' }))
    await once(headless, 'close')

    const { items } = await admin.do('admin', 'session/list', { name: 'dash' })
    const addresses = items.map(({ clientId, address }: Record<string, string>) => [clientId, address])
    expect(Object.fromEntries(addresses)).toEqual({
      plain: '192.0.2.1',
      secure: '2001:db8::2',
      web: '192.0.2.3',
      six: '::1',
      'secure six': '::1',
    })
    await admin.end()
  })

  it('refuses to serve others without TLS unless the configuration says so', async () => {
    const here = folder()
    const open = await listening({ host: '0.0.0.0', port: 0 })
    const child = serve(here, [open], 'mqtt', { control: { socket: join(here, 'control.sock') } })
    expect(await said(child, 'cannot start')).toContain('mqtt.allowPlaintext')
  })
})

describe('a running bridge', () => {
  it('answers the probe, and tells its counts in one line', async () => {
    await using app = await startApp({}, { memory: true })
    const limb = await app.limb('lamp')
    await limb.publish('limb/node/lamp/heartbeat')
    await app.bridge.probe()
    expect(app.bridge.status()).toMatch(/^1 of 1 limbs online, 0 pending, \d sessions$/)
  })

  it('fails the probe when the database is gone', async () => {
    await using app = await startApp({}, { memory: true })
    const { bridge } = app
    await bridge.stop()
    await expect(bridge.probe()).rejects.toThrow()
  })

  it('takes over limits and windows while its sessions live on', async () => {
    await using app = await startApp({}, { memory: true })
    const limb = await app.limb('lamp')
    const { config } = resolveConfig(
      {
        name: 'test',
        values: { mqtt: { maxKeepaliveSeconds: 30, maxConnections: 2 }, presence: { heartbeatSeconds: 20 } },
        lineOf: () => undefined,
      },
      {},
    )
    app.bridge.apply(config)
    await expect(app.device('other', undefined, { keepalive: 31 })).rejects.toThrow()
    await app.device('other', undefined, { keepalive: 30 })
    await expect(app.device('third', undefined, { keepalive: 30 })).rejects.toThrow()
    expect(limb.mqtt.connected).toBe(true)
    await limb.publish('limb/node/lamp/register', {
      displayName: 'Lamp',
      platform: 'test',
      capabilities: [],
    })
    const { json } = await limb.next('limb/node/lamp/pairing')
    expect(json).toMatchObject({ status: 'approved', heartbeatSeconds: 20, timeoutSeconds: 45 })
  })
})
