import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { keyOf, startApp, type TestApp } from '../../support/app.ts'
import type { Loose, TestClient } from '../../support/client.ts'
import { patience } from '../../support/patience.ts'

/** Limbs that are HTTP servers, and that the bridge asks whether they are there. */

const LOOPBACK = {
  http: { enabled: true, port: 0 },
  invocation: { httpNetworks: ['127.0.0.1'] },
}
const STATUS = 'limb/node/r1/status'

/** Waits until something is true. */
async function eventually(isSo: () => boolean | Promise<boolean>): Promise<void> {
  await vi.waitFor(async () => expect(await isSo()).toBe(true), { timeout: patience(8000), interval: 20 })
}

class HealthServer {
  readonly asked: string[] = []
  reply: RequestListener = (_request, response) => response.end('{"status":"ok"}')
  port = 0
  #server: Server | null = null

  async start(): Promise<void> {
    this.#server = createServer((request, response) => {
      this.asked.push(`${request.method} ${request.url}`)
      this.reply(request, response)
    }).listen(this.port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.port = (this.#server.address() as AddressInfo).port
  }

  stop(): void {
    this.#server?.closeAllConnections()
    this.#server?.close()
    this.#server = null
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/robot/`
  }
}

const servers: HealthServer[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.stop()
})

async function healthServer(): Promise<HealthServer> {
  const server = new HealthServer()
  servers.push(server)
  await server.start()
  return server
}

const registrationAt = (endpointUrl: string): Loose => ({
  displayName: 'Robot',
  platform: 'linux',
  capabilities: [{ cap: 'arm', commands: ['arm.lift'], authLevel: 'free' }],
  invoke: 'http',
  presence: { mode: 'probe' },
  endpointUrl,
})

/** Registers over HTTP, as a limb does that knows no MQTT. */
async function register(app: TestApp, registration: Loose): Promise<Loose> {
  const response = await fetch(`http://127.0.0.1:${app.bridge.http?.port}/api/limb/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${keyOf('r1')}` },
    body: JSON.stringify({ nodeId: 'r1', ...registration }),
  })
  return (await response.json()) as Loose
}

/** Has it approved, and resolves to an admin that watches it. */
async function registered(app: TestApp, registration: Loose): Promise<TestClient> {
  const { requestId } = await register(app, registration)
  const admin = await app.admin()
  await admin.subscribe(STATUS)
  await admin.do('admin', 'pairing/approve', { requestId })
  expect((await admin.next(STATUS)).text).toBe('offline')
  return admin
}

describe('presence by probe', () => {
  it('is online while its server answers, without any message of its own, and can be invoked', async () => {
    await using app = await startApp(LOOPBACK, { memory: true })
    const server = await healthServer()
    const admin = await registered(app, registrationAt(server.url))
    expect((await admin.next(STATUS)).text).toBe('online')
    expect(server.asked[0]).toBe('GET /robot/health')
    server.reply = (_request, response) => response.end('{"success": true, "data": {"lifted": true}}')
    const result = await admin.do('admin', 'invoke', { nodeId: 'r1', command: 'arm.lift' })
    expect(result.data).toEqual({ lifted: true })
  })

  it('is offline when no answer came until the deadline, and back with the next one', async () => {
    await using app = await startApp(LOOPBACK, { memory: true, fakeClock: true })
    const server = await healthServer()
    const admin = await registered(app, registrationAt(server.url))
    expect((await admin.next(STATUS)).text).toBe('online')
    server.stop()
    const failed = () => app.logLines.some(({ msg }) => String(msg).includes('r1, asked for its health'))
    app.clock.advance(15_000)
    await eventually(failed)
    app.clock.advance(30_000)
    expect((await admin.next(STATUS)).text).toBe('offline')
    expect(await admin.do('admin', 'node/get', { nodeId: 'r1' })).toMatchObject({ reason: 'timeout' })
    const { advice } = await admin.do('admin', 'node/why', { nodeId: 'r1' })
    expect(advice[0]).toContain('/robot/ (/health)')
    await server.start()
    // Whoever registers again is asked at once.
    await register(app, registrationAt(server.url))
    expect((await admin.next(STATUS)).text).toBe('online')
  })

  it('takes what the answer says as a heartbeat would, and passes over the rest', async () => {
    await using app = await startApp(LOOPBACK, { memory: true })
    const server = await healthServer()
    const report = { status: 'degraded', unavailable: ['arm'], metrics: { load: 0.5 }, uptime: '3 days' }
    server.reply = (_request, response) => response.end(JSON.stringify(report))
    const admin = await registered(app, registrationAt(server.url))
    expect((await admin.next(STATUS)).text).toBe('degraded')
    expect(await admin.do('admin', 'node/get', { nodeId: 'r1' })).toMatchObject({
      metrics: { load: 0.5 },
      capabilities: [{ cap: 'arm', available: false }],
    })
  })

  it.each([
    ['an error', (response) => response.writeHead(503).end('{"status":"online"}'), 'answered 503'],
    ['a redirect', (response) => response.writeHead(302, { location: '/x' }).end(), 'redirect'],
    ['no answer', (response) => response.socket?.destroy(), 'without a whole answer'],
    ['no HTTP', (response) => response.socket?.end('220 smtp\r\n'), 'not HTTP'],
  ] satisfies [string, (response: Parameters<RequestListener>[1]) => unknown, string][])(
    'takes %s for no sign of life, and its log says what came',
    async (_what, reply, logged) => {
      await using app = await startApp(LOOPBACK, { memory: true })
      const server = await healthServer()
      server.reply = (_request, response) => reply(response)
      const admin = await registered(app, registrationAt(server.url))
      await eventually(() => app.logLines.some(({ msg }) => String(msg).includes(logged)))
      expect(await admin.do('admin', 'node/get', { nodeId: 'r1' })).toMatchObject({ status: 'offline' })
    },
  )

  it('reads a bounded part of an answer that does not end', async () => {
    await using app = await startApp(LOOPBACK, { memory: true })
    const server = await healthServer()
    server.reply = (_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(4096, 0x20)));
      }
      response.on('drain', more)
      more()
    }
    const admin = await registered(app, registrationAt(server.url))
    expect((await admin.next(STATUS)).text).toBe('online')
  })

  it('asks nobody at an address that it may not invoke', async () => {
    await using app = await startApp({ http: { enabled: true, port: 0 } }, { memory: true })
    const server = await healthServer()
    await registered(app, registrationAt(server.url))
    await eventually(() => app.logLines.some(({ msg }) => String(msg).includes('invocation.httpNetworks')))
    expect(server.asked).toEqual([])
  })

  it('goes on after a restart of the bridge, where the configuration allows the address', async () => {
    await using app = await startApp(LOOPBACK)
    const server = await healthServer()
    const admin = await registered(app, registrationAt(server.url))
    expect((await admin.next(STATUS)).text).toBe('online')
    await app.restart()
    const again = await app.admin()
    await eventually(async () => (await again.do('admin', 'node/get', { nodeId: 'r1' })).status === 'online')
  })

  it('is refused to a limb that has no endpoint, whoever asks for it', async () => {
    await using app = await startApp({}, { memory: true })
    const limb = await app.limb('cam1')
    const { endpointUrl: _, invoke: __, ...without } = registrationAt('http://x/')
    await limb.publish('limb/node/cam1/register', without)
    expect((await limb.next('limb/node/cam1/pairing')).json.error).toMatchObject({
      code: 'invalid_request',
      path: 'endpointUrl',
    })
    const admin = await app.admin()
    const { error } = await admin.ask('admin', 'node/set', { nodeId: 'cam1', presence: 'probe' })
    expect(error).toMatchObject({ code: 'invalid_request', path: 'presence' })
  })

  it('ends with the limb: nobody is asked any more', async () => {
    await using app = await startApp(LOOPBACK, { memory: true, fakeClock: true })
    const server = await healthServer()
    const admin = await registered(app, registrationAt(server.url))
    expect((await admin.next(STATUS)).text).toBe('online')
    await admin.do('admin', 'node/revoke', { nodeId: 'r1' })
    const before = server.asked.length
    app.clock.advance(60_000)
    await admin.do('admin', 'node/list', {})
    expect(server.asked).toHaveLength(before)
  })
})
