import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { invokeSignature, invokeSignature2 } from '../../../src/kernel/invoke-signature.ts'
import { keyOf, startApp, type TestApp } from '../../support/app.ts'
import type { Loose, TestClient } from '../../support/client.ts'
import { onPostgres } from '../../support/store.ts'
import { agent, attend, ROBOT } from '../../support/worker.ts'

const SNAP = { nodeId: 'r1', command: 'camera.snap', params: { zoom: 2 } }

/** The limbs of these tests are servers on this machine, which only the configuration opens. */
const LOOPBACK = { invocation: { httpNetworks: ['127.0.0.1'] } }

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** A limb's HTTP server, which answers with `reply`, else with success. */
class Endpoint {
  readonly server: Server
  readonly seen: Seen[] = []
  reply: RequestListener | null = null

  constructor() {
    this.server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const { method = '', url = '', headers } = request
        this.seen.push({ method, url, headers, body: Buffer.concat(chunks).toString() })
        if (this.reply) this.reply(request, response)
        else response.end(JSON.stringify({ success: true, data: { at: url } }))
      })
    })
  }

  async listen(): Promise<string> {
    await new Promise<void>((done) => this.server.listen(0, '127.0.0.1', done))
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  close(): void {
    this.server.closeAllConnections()
    this.server.close()
  }
}

const endpoints: Endpoint[] = []
afterEach(() => {
  for (const each of endpoints.splice(0)) each.close()
})

async function endpoint(): Promise<Endpoint & { url: string }> {
  const made = new Endpoint()
  endpoints.push(made)
  return Object.assign(made, { url: await made.listen() })
}

/** Writes until the other side has enough. */
const endless: RequestListener = (_request, response) => {
  const more = () => {
    while (!response.destroyed && response.write(Buffer.alloc(65_536, 0x20)));
  }
  response.on('drain', more)
  more()
}

interface HttpLimb {
  readonly client: TestClient
  readonly secret: string
  register(endpointUrl: string): Promise<Loose>
}

async function httpLimb(app: TestApp, endpointUrl: string): Promise<HttpLimb> {
  const registration = { ...ROBOT, invoke: 'http', endpointUrl }
  const client = await app.limb('r1', registration)
  await attend(app, 'r1', client)
  const register = async (url: string): Promise<Loose> => {
    await client.publish('limb/node/r1/register', { ...registration, endpointUrl: url })
    return (await client.next('limb/node/r1/pairing')).json
  }
  return { client, secret: (await register(endpointUrl)).invokeSecret, register }
}

describe('a limb that is invoked over HTTP', () => {
  it('gets one signed request, and its answer is the result', async () => {
    await using app = await startApp(LOOPBACK, { memory: true })
    const server = await endpoint()
    const limb = await httpLimb(app, `${server.url}/robot/`)
    const ann = await agent(app, 'ann')
    const { data } = await ann.ask('ann', 'invoke', SNAP)
    expect(data).toMatchObject({ nodeId: 'r1', data: { at: '/robot/invoke' } })

    const [request] = server.seen
    const { headers, body } = request as Seen
    expect(JSON.parse(body)).toMatchObject({
      invocationId: data.invocationId,
      command: 'camera.snap',
      params: { zoom: 2 },
      principal: 'ann',
    })
    const time = String(headers['limb-time'])
    expect(Math.abs(Date.now() / 1000 - Number(time))).toBeLessThan(60)
    expect(headers['limb-node']).toBe('r1')
    expect(headers['limb-signature']).toBe(
      invokeSignature(limb.secret, time, String(headers['limb-nonce']), Buffer.from(body)),
    )
    expect(headers['limb-signature-2']).toBe(
      invokeSignature2(limb.secret, time, String(headers['limb-nonce']), Buffer.from(body)),
    )
    await ann.ask('ann', 'invoke', SNAP)
    expect(server.seen[1]?.headers['limb-nonce']).not.toBe(headers['limb-nonce'])
  })

  it('is told its secret with the approval and each registration, over restarts the same, and with a new key another', async () => {
    await using app = await startApp(LOOPBACK)
    const server = await endpoint()
    const first = await httpLimb(app, server.url)
    expect(first.secret).toMatch(/^[\w-]{43}$/)
    expect((await first.register(server.url)).invokeSecret).toBe(first.secret)
    const file = join(app.folder, 'invoke-secret')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    for (const part of onPostgres ? [] : ['limb.sqlite', 'limb.sqlite-wal']) {
      const bytes = readFileSync(join(app.folder, part))
      expect(bytes.includes(first.secret)).toBe(false)
      expect(bytes.includes(readFileSync(file, 'utf8').trim())).toBe(false)
    }

    await app.restart()
    const again = await app.device('r1', keyOf('r1'))
    const registered = async (client: TestClient) => {
      await client.subscribe('limb/node/r1/pairing')
      await client.publish('limb/node/r1/register', { ...ROBOT, invoke: 'http', endpointUrl: server.url })
      return (await client.next('limb/node/r1/pairing')).json
    }
    expect((await registered(again)).invokeSecret).toBe(first.secret)

    const admin = await app.admin()
    const { apiKey } = await admin.do('admin', 'node/rotate-key', { nodeId: 'r1', immediate: true })
    const rotated = await registered(await app.device('r1', apiKey))
    expect(rotated.invokeSecret).toMatch(/^[\w-]{43}$/)
    expect(rotated.invokeSecret).not.toBe(first.secret)
  })

  it('is called at the endpoint that it registered last', async () => {
    await using app = await startApp(LOOPBACK, { memory: true })
    const [before, after] = [await endpoint(), await endpoint()]
    const limb = await httpLimb(app, before.url)
    const ann = await agent(app, 'ann')
    await ann.do('ann', 'invoke', SNAP)
    await limb.register(after.url)
    await ann.do('ann', 'invoke', SNAP)
    expect([before.seen.length, after.seen.length]).toEqual([1, 1])
  })

  it('is not called anywhere but at its own address, unless the configuration allows the network', async () => {
    const server = await endpoint()
    const { port } = new URL(server.url)
    // The same server by another address of this machine: the limb connects from 127.0.0.1.
    const elsewhere = createServer((_request, response) => response.end('{"success":true}'))
    await new Promise<void>((done) => elsewhere.listen(Number(port), '127.0.0.2', done))
    try {
      for (const [httpNetworks, allowed] of [
        [[], false],
        [['127.0.0.1'], false],
        [['10.0.0.0/8'], false],
        [['127.0.0.0/8'], true],
      ] as const) {
        await using app = await startApp(
          { invocation: { httpNetworks: [...httpNetworks] } },
          { memory: true },
        )
        await httpLimb(app, `http://127.0.0.2:${port}`)
        const ann = await agent(app, 'ann')
        const answer = await ann.ask('ann', 'invoke', SNAP)
        expect([httpNetworks, answer.ok]).toEqual([httpNetworks, allowed])
        if (!allowed) expect(answer.error).toMatchObject({ code: 'node_offline' })
        if (!allowed) expect(answer.error.message).toContain('invocation.httpNetworks')
      }
    } finally {
      elsewhere.close()
    }
  })

  it('on this machine is not called without a word in the configuration, and no error says whether a port is open', async () => {
    await using closed = await startApp({}, { memory: true })
    const server = await endpoint()
    await httpLimb(closed, server.url)
    const ann = await agent(closed, 'ann')
    const { error } = await ann.ask('ann', 'invoke', SNAP)
    expect(error).toMatchObject({
      code: 'node_offline',
      message: expect.stringContaining('only invocation.httpNetworks'),
    })
    expect(server.seen).toEqual([])

    await using app = await startApp(LOOPBACK, { memory: true })
    const [nothing, silent] = [await endpoint(), await endpoint()]
    nothing.close()
    await once(nothing.server, 'close')
    const limb = await httpLimb(app, nothing.url)
    const bob = await agent(app, 'bob')
    const said: string[] = []
    for (const url of [nothing.url, silent.url.replace('http:', 'https:')]) {
      await limb.register(url)
      said.push((await bob.ask('bob', 'invoke', SNAP)).error.message.replace(/:\d+/, ''))
    }
    expect(new Set(said)).toEqual(
      new Set(['r1 cannot be reached at 127.0.0.1; the log of the bridge says why']),
    )
    const logged = app.logLines.filter(({ nodeId, level }) => nodeId === 'r1' && level === 'warn')
    expect(logged.map(({ msg }) => msg)).toEqual([
      expect.stringContaining('ECONNREFUSED'),
      expect.stringContaining('does not speak TLS'),
    ])
  })

  it.each([301, 302, 303, 307, 308])(
    'cannot send the bridge elsewhere by a redirect (%i)',
    async (status) => {
      await using app = await startApp(LOOPBACK, { memory: true })
      const [server, target] = [await endpoint(), await endpoint()]
      server.reply = (_request, response) =>
        response.writeHead(status, { location: target.url }).end('{"success":true}')
      await httpLimb(app, server.url)
      const ann = await agent(app, 'ann')
      const { error } = await ann.ask('ann', 'invoke', SNAP)
      expect(error).toMatchObject({ code: 'node_error', message: expect.stringContaining('redirect') })
      expect(target.seen).toEqual([])
    },
  )

  it.each<[string, RequestListener, string]>([
    [
      'more than a mebibyte, announced',
      (_q, r) => r.writeHead(200, { 'content-length': 2 ** 21 }).end('x'),
      '1048576',
    ],
    ['without an end', endless, '1048576'],
    ['no JSON', (_q, r) => r.end('hello'), 'not JSON'],
    [
      'another invocation',
      (_q, r) => r.end('{"invocationId":"iv_other","success":true}'),
      'another invocation',
    ],
    ['status 500', (_q, r) => r.writeHead(500).end('{"success":true}'), '500'],
    ['status 401', (_q, r) => r.writeHead(401).end(), 'signature'],
    [
      'half an answer',
      (q, r) => r.writeHead(200, { 'content-length': 9 }).write('{"s', () => q.socket.destroy()),
      'not known',
    ],
    ['no HTTP', (q) => q.socket.end('220 mail.example ESMTP\r\n'), 'did not answer at'],
    ['a TLS alert', (q) => q.socket.end(Buffer.from([0x15, 3, 1, 0, 2, 2, 0x46])), 'did not answer at'],
    [
      'another protocol',
      (q) => q.socket.write('HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
      '101',
    ],
    ['compressed data', (_q, r) => r.writeHead(200, { 'content-encoding': 'gzip' }).end('x'), 'compressed'],
  ])('that answers %s is a node_error', async (_what, reply, text) => {
    await using app = await startApp(LOOPBACK, { memory: true })
    const server = await endpoint()
    server.reply = reply
    await httpLimb(app, server.url)
    const ann = await agent(app, 'ann')
    const { error } = await ann.ask('ann', 'invoke', SNAP)
    expect(error).toMatchObject({ code: 'node_error', message: expect.stringContaining(text) })
  })

  it('is node_offline when nothing listens at its endpoint, and when it is not connected', async () => {
    await using app = await startApp(LOOPBACK, { memory: true })
    const server = await endpoint()
    const limb = await httpLimb(app, server.url)
    server.close()
    const ann = await agent(app, 'ann')
    expect((await ann.ask('ann', 'invoke', SNAP)).error).toMatchObject({ code: 'node_offline' })
    await limb.client.end()
    expect((await ann.ask('ann', 'invoke', SNAP)).error).toMatchObject({ code: 'node_offline' })
  })

  it.each<[string, (server: Endpoint & { url: string }) => string | Promise<string>]>([
    [
      'nothing listens at its endpoint',
      async (server) => {
        server.close()
        await once(server.server, 'close')
        return server.url
      },
    ],
    // Too long a label: no name server has to be asked.
    ['its name is not known', ({ url }) => url.replace('127.0.0.1', `${'x'.repeat(64)}.invalid`)],
    ['its endpoint is not allowed', ({ url }) => url.replace('127.0.0.1', '127.0.0.2')],
    ['it does not speak TLS', ({ url }) => url.replace('http:', 'https:')],
  ])('leaves an idempotency key free when %s: nothing was sent', async (_why, broken) => {
    await using app = await startApp(LOOPBACK, { memory: true })
    const [bad, good] = [await endpoint(), await endpoint()]
    const limb = await httpLimb(app, await broken(bad))
    const ann = await agent(app, 'ann')
    const keyed = { ...SNAP, idempotencyKey: 'k' }
    const { error } = await ann.ask('ann', 'invoke', keyed)
    expect(error.code).toBe('node_offline')
    const { invocationId } = error.details
    const shown = await ann.do('ann', 'invocation/get', { invocationId })
    expect(shown).toMatchObject({ state: 'failed', error: { code: 'node_offline' } })
    expect(shown.idempotencyKey).toBeUndefined()
    // The same key runs anew, and is then used up by the call that ran.
    await limb.register(good.url)
    const { data } = await ann.ask('ann', 'invoke', keyed)
    expect(data).toMatchObject({ nodeId: 'r1' })
    expect((await ann.ask('ann', 'invoke', keyed)).data).toEqual(data)
    expect([bad.seen.length, good.seen.length]).toEqual([0, 1])
  })

  it('leaves an idempotency key free when the time is up before it is connected to', async () => {
    await using app = await startApp(LOOPBACK, { memory: true })
    // Takes connections and never says a word of TLS.
    const silent = createTcpServer()
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done))
    try {
      const server = await endpoint()
      const limb = await httpLimb(app, `https://127.0.0.1:${(silent.address() as AddressInfo).port}`)
      const ann = await agent(app, 'ann')
      const keyed = { ...SNAP, idempotencyKey: 'k' }
      const { error } = await ann.ask('ann', 'invoke', { ...keyed, timeoutSeconds: 1 })
      expect(error).toMatchObject({ code: 'timeout', message: expect.stringContaining('was not sent') })
      await limb.register(server.url)
      expect((await ann.ask('ann', 'invoke', keyed)).ok).toBe(true)
    } finally {
      silent.close()
    }
  })

  it.each<[string, RequestListener, string]>([
    ['it does not answer in time', () => {}, 'timeout'],
    ['it closes the connection', (request) => request.socket.destroy(), 'node_error'],
    ['it answers no JSON', (_request, response) => response.end('hello'), 'node_error'],
    ['it answers status 500', (_request, response) => response.writeHead(500).end(), 'node_error'],
  ])('keeps an idempotency key taken when %s: it may have run the command', async (_how, reply, code) => {
    await using app = await startApp(LOOPBACK, { memory: true, fakeClock: true })
    const server = await endpoint()
    server.reply = reply
    await httpLimb(app, server.url)
    const ann = await agent(app, 'ann')
    const keyed = { ...SNAP, timeoutSeconds: 1, idempotencyKey: 'k' }
    const asked = ann.ask('ann', 'invoke', keyed)
    await expect.poll(() => server.seen.length).toBe(1)
    if (code === 'timeout') app.clock.advance(1000)
    const first = (await asked).error
    expect(first.code).toBe(code)
    server.reply = null
    expect((await ann.ask('ann', 'invoke', keyed)).error).toEqual(first)
    expect(server.seen).toHaveLength(1)
  })

  it('that does not answer is a timeout, and its connection is closed', async () => {
    await using app = await startApp(LOOPBACK, { memory: true, fakeClock: true })
    const server = await endpoint()
    const closed = new Promise<void>((done) => {
      server.reply = (request) => request.socket.once('close', () => done())
    })
    await httpLimb(app, server.url)
    const ann = await agent(app, 'ann')
    const asked = ann.ask('ann', 'invoke', { ...SNAP, timeoutSeconds: 1 })
    await expect.poll(() => server.seen.length).toBe(1)
    app.clock.advance(1000)
    expect((await asked).error).toMatchObject({ code: 'timeout' })
    await closed
  })
})
