import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, describe, expect, it } from 'vitest'
import { resolveConfig } from '../../../src/host/config/config.ts'
import { startApp } from '../../support/app.ts'
import { connect } from '../../support/client.ts'

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
  function serve(folder: string, servers: readonly Server[], names: string, settings = ''): ChildProcess {
    const config = join(folder, 'config.yaml')
    writeFileSync(config, `store: {path: ${folder}/limb.sqlite}\nhttp: {enabled: false}\n${settings}`)
    const child = spawn(
      'bash',
      ['-c', `LISTEN_PID=$$ exec "$0" "$@"`, process.execPath, MAIN, 'serve', '--config', config],
      {
        stdio: ['ignore', 'pipe', 'inherit', ...servers.map(fdOf)],
        env: { ...process.env, LISTEN_FDS: String(servers.length), LISTEN_FDNAMES: names },
      },
    )
    cleanups.push(() => child.kill('SIGKILL'))
    // As a service manager, which listens and never accepts. The child has its own copies.
    for (const server of servers) server.close()
    return child
  }

  async function said(child: ChildProcess, text: string): Promise<string> {
    if (!child.stdout) throw new Error('no output')
    for await (const line of createInterface({ input: child.stdout })) if (line.includes(text)) return line
    throw new Error(`it ended without saying ${text}`)
  }

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
    const { port } = tcp.address() as AddressInfo
    const child = serve(here, [control, tcp], 'control:mqtt')
    await said(child, '"msg":"ready"')
    const admin = await connect({ socket })
    expect(await admin.do('admin', 'node/list')).toEqual({ items: [] })
    await expect(connect({ port }, { username: 'admin', password: 'no' })).rejects.toThrow()
    const device = await connect({ port }, { username: 'lamp' })
    await device.end()
    await admin.end()
  })

  it('refuses to serve others without TLS unless the configuration says so', async () => {
    const here = folder()
    const open = await listening({ host: '0.0.0.0', port: 0 })
    const child = serve(here, [open], 'mqtt', `control: {socket: ${here}/control.sock}\n`)
    expect(await said(child, 'cannot start')).toContain('mqtt.allowPlaintext')
  })
})

describe('a running bridge', () => {
  it('answers the probe, and tells its counts in one line', async () => {
    await using app = await startApp()
    const limb = await app.limb('lamp')
    await limb.publish('limb/node/lamp/heartbeat')
    await app.bridge.probe()
    expect(app.bridge.status()).toMatch(/^1 of 1 limbs online, 0 pending, \d sessions$/)
  })

  it('fails the probe when the database is gone', async () => {
    await using app = await startApp()
    const { bridge } = app
    await bridge.stop()
    await expect(bridge.probe()).rejects.toThrow()
  })

  it('takes over limits and windows while its sessions live on', async () => {
    await using app = await startApp()
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
