import dns from 'node:dns'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { resolveConfig } from '../../../src/host/config/config.ts'
import { waitingDeliveries } from '../../../src/store/sqlite/backup/inspect.ts'
import { run } from '../../cli/run.ts'
import { keyOf, startApp } from '../../support/app.ts'
import { connect } from '../../support/client.ts'
import { patience } from '../../support/patience.ts'
import { receiver, signatureOf } from '../../support/receiver.ts'
import { onPostgres } from '../../support/store.ts'
import { agent, send, worker } from '../../support/worker.ts'

const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`
const CUT = { nodeId: 'r1', command: 'saw.cut', params: { depth: 3 } }

const until = (holds: () => boolean | Promise<boolean>) =>
  expect.poll(holds, { timeout: patience(8000) }).toBe(true)

let server: Awaited<ReturnType<typeof receiver>>

beforeEach(async () => {
  server = await receiver()
})
afterEach(() => server.close())

/** The webhooks as a file would say them: with every default. */
function webhooks(...entries: Record<string, unknown>[]) {
  const full = entries.map((entry) => ({
    name: 'hook',
    url: `http://127.0.0.1:${server.port}/in`,
    networks: ['127.0.0.1'],
    secret: SECRET,
    ...entry,
  }))
  const { config } = resolveConfig({ name: 'test', values: { webhooks: full }, lineOf: () => undefined }, {})
  return config.webhooks
}

describe('a webhook', () => {
  it('carries an invocation that waits, signed, with a link to the console', async () => {
    await using app = await startApp({
      webhooks: webhooks({}),
      http: { enabled: false, publicUrl: 'https://bridge.example/' },
    })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    await send(ann, 'ann', 'invoke', CUT)
    await until(() => server.taken.some(({ json }) => json.type === 'invocation_waiting'))
    const request = server.taken.find(({ json }) => json.type === 'invocation_waiting')
    if (request === undefined) throw new Error('nothing came')
    expect(request.json).toMatchObject({
      type: 'invocation_waiting',
      timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
      data: { approval: { ...CUT, principal: 'ann' } },
      link: 'https://bridge.example/#/approvals',
    })
    expect(request.json.notice).toBeUndefined()
    expect(request.headers['webhook-signature']).toBe(signatureOf(SECRET, request))
    expect(request.headers['webhook-id']).toMatch(/^msg_/)
    expect(request.headers['content-type']).toBe('application/json')
    expect(Math.abs(Number(request.headers['webhook-timestamp']) * 1000 - Date.now())).toBeLessThan(60_000)
    const admin = await app.admin()
    const { items } = await admin.do('admin', 'webhook/list', {})
    expect(items).toMatchObject([{ name: 'hook', state: 'working', queued: 0, dropped: 0 }])
    expect(JSON.stringify([items, app.logLines])).not.toContain(SECRET)
  })

  it('is signed by every secret of its file, which is read anew each time', async () => {
    await using app = await startApp()
    const file = join(app.folder, 'hook-secret')
    const other = `whsec_${Buffer.alloc(32, 9).toString('base64')}`
    writeFileSync(file, `${SECRET}\n`)
    await app.restart({ webhooks: webhooks({ secret: undefined, secretFile: file }) })
    const admin = await app.admin()
    await admin.do('admin', 'webhook/test', { name: 'hook' })
    const [first] = server.taken
    if (!first) throw new Error('nothing came')
    expect(first.headers['webhook-signature']).toBe(signatureOf(SECRET, first))
    writeFileSync(file, `${other}\n${SECRET}\n`)
    await admin.do('admin', 'webhook/test', { name: 'hook' })
    const second = await server.nth(1)
    expect(second.headers['webhook-signature']).toBe(
      `${signatureOf(other, second)} ${signatureOf(SECRET, second)}`,
    )
    writeFileSync(file, 'my password\n')
    const bad = await admin.do('admin', 'webhook/test', { name: 'hook' })
    expect(bad).toMatchObject({ delivered: false, failure: expect.stringContaining(file) })
    expect(JSON.stringify([bad, app.logLines])).not.toContain('my password')
  })

  it('is tried again with the same id until it is taken, also after a restart', async () => {
    await using app = await startApp({ webhooks: webhooks({}) })
    server.state.status = 503
    const device = await app.device('d1', 'k'.repeat(32))
    await device.publish('limb/node/d1/register', { displayName: 'D', platform: 'p', capabilities: [] })
    const first = await server.nth(0)
    expect(first.json.type).toBe('pairing_requested')
    await server.nth(1)
    const admin = await app.admin()
    const { items } = await admin.do('admin', 'webhook/list', {})
    expect(items).toMatchObject([
      { queued: 1, state: 'failing', lastFailure: 'answered 503: "not now"', delivered: 0 },
    ])
    const warned = app.logLines.filter(({ webhook, level }) => webhook === 'hook' && level === 'warn')
    expect(warned).toHaveLength(1)
    const [waiting] = await app.sql('SELECT webhook, attempts FROM webhook_deliveries')
    expect(waiting?.webhook).toBe('hook')
    expect(Number(waiting?.attempts)).toBeGreaterThan(0)
    if (!onPostgres) {
      const [told] = waitingDeliveries(join(app.folder, 'limb.sqlite'))
      expect(told).toEqual(['hook', { count: 1, attempts: Number(waiting?.attempts) }])
    }
    await app.restart()
    server.state.status = 200
    const count = server.taken.length
    await until(() => server.taken.length > count)
    const last = server.taken.at(-1)
    expect(last?.headers['webhook-id']).toBe(first.headers['webhook-id'])
    expect(last?.text).toBe(first.text)
    const again = await app.admin()
    await until(async () => (await again.do('admin', 'webhook/list', {})).items[0].queued === 0)
  })

  it('carries what happens while the listeners of a start are opened', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'limb-opening-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    // The control socket is open, and the listener of HTTP waits for its name.
    const { lookup } = dns
    const opening = Promise.withResolvers<void>()
    const spy = vi.spyOn(dns, 'lookup').mockImplementation(((...args: Parameters<typeof lookup>) => {
      opening.resolve()
      void named.promise.then(() => lookup(...args))
    }) as typeof lookup)
    onTestFinished(() => spy.mockRestore())
    const named = Promise.withResolvers<void>()
    const socket = join(folder, 'control.sock')
    const starting = startApp({
      webhooks: webhooks({ events: ['principal_added'] }),
      http: { enabled: true, host: 'localhost', port: 0 },
      control: { socket },
    })
    await opening.promise
    const admin = await connect({ socket }, {})
    await admin.do('admin', 'principal/add', { name: 'p1', role: 'viewer' })
    named.resolve()
    await using app = await starting
    const added = await app.admin()
    await added.do('admin', 'principal/add', { name: 'p2', role: 'viewer' })
    expect((await server.nth(0)).json).toMatchObject({ type: 'principal_added', data: { name: 'p1' } })
    await admin.end()
  })

  it('keeps a bounded queue: the oldest of the most frequent kind goes, and is counted', async () => {
    await using app = await startApp({
      webhooks: webhooks({ maxQueued: 3, events: ['pairing_requested', 'principal_added'] }),
    })
    server.state.status = 503
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', { name: 'p1', role: 'viewer' })
    await server.nth(0)
    for (let i = 0; i < 6; i++) {
      const device = await app.device(`d${i}`, 'k'.repeat(32))
      await device.publish(`limb/node/d${i}/register`, { displayName: 'D', platform: 'p', capabilities: [] })
    }
    const listed = async () => (await admin.do('admin', 'webhook/list', {})).items[0]
    await until(async () => (await listed()).dropped === 4)
    expect(await listed()).toMatchObject({ queued: 3, dropped: 4 })
    server.state.status = 200
    await until(async () => (await listed()).queued === 0)
    const delivered = server.taken.filter(({ json }) => json.type === 'principal_added')
    expect(delivered.length).toBeGreaterThan(0)
  })

  it('is not sent to this machine, nor to a private network, unless that is allowed', async () => {
    await using app = await startApp({
      webhooks: webhooks(
        { name: 'loop', networks: [] },
        { name: 'named', networks: [], url: `http://localhost:${server.port}/` },
        {
          name: 'mapped',
          networks: [],
          url: `http://[::ffff:127.0.0.1]:${server.port}/`,
          allowPlaintext: true,
        },
        { name: 'cloud', networks: [], url: 'http://169.254.169.254/latest', allowPlaintext: true },
        { name: 'lan', networks: [], url: 'http://192.168.0.1/', allowPlaintext: true },
      ),
    })
    const admin = await app.admin()
    for (const name of ['loop', 'named', 'mapped', 'cloud', 'lan']) {
      const answer = await admin.do('admin', 'webhook/test', { name })
      expect(answer, name).toMatchObject({ delivered: false, failure: expect.stringContaining('networks') })
    }
    expect(server.taken).toEqual([])
  })

  it('follows no redirect, and stops at 410 until a reload', async () => {
    await using app = await startApp({ webhooks: webhooks({ events: ['principal_added'] }) })
    const admin = await app.admin()
    server.state.status = 302
    server.state.headers = { location: `http://127.0.0.1:${server.port}/elsewhere` }
    const test = await admin.do('admin', 'webhook/test', { name: 'hook' })
    expect(test).toMatchObject({ delivered: false, status: 302 })
    expect(server.taken).toHaveLength(1)
    server.state.status = 410
    await admin.do('admin', 'principal/add', { name: 'p1', role: 'viewer' })
    const listed = async () => (await admin.do('admin', 'webhook/list', {})).items[0]
    await until(async () => (await listed()).state === 'gone')
    await admin.do('admin', 'principal/add', { name: 'p2', role: 'viewer' })
    await until(async () => (await listed()).queued === 2)
    expect(server.taken).toHaveLength(2)
    expect((await admin.do('admin', 'bridge/health', {})).warnings).toEqual([expect.stringContaining('410')])
    server.state.status = 200
    const { config } = resolveConfig(
      {
        name: 'test',
        values: {
          webhooks: webhooks({ events: ['principal_added'] }),
          store: { path: join(app.folder, 'limb.sqlite') },
        },
        lineOf: () => undefined,
      },
      {},
    )
    app.bridge.apply(config)
    await until(async () => (await listed()).queued === 0)
    expect((await listed()).state).toBe('working')
  })

  it('that takes nothing ends `webhook test` with exit code 1, and one that is not there with 4', async () => {
    await using app = await startApp({ webhooks: webhooks({}) }, { memory: true })
    const test = (...argv: string[]) => run(['webhook', 'test', ...argv, '--socket', app.bridge.control])
    const taken = await test('hook')
    expect([taken.code, taken.err]).toEqual([0, ''])
    server.state.status = 500
    const refused = await test('hook')
    expect(refused.code).toBe(1)
    expect(refused.err).toContain('it was not taken: answered 500')
    const json = await test('hook', '--json')
    expect(json.code).toBe(1)
    expect(JSON.parse(json.out)).toMatchObject({ name: 'hook', delivered: false, status: 500 })
    const absent = await test('phone')
    expect(absent.code).toBe(4)
    expect(absent.err).toContain('there is no webhook phone; there are hook')
    await server.close()
    const away = await test('hook')
    expect(away.code).toBe(1)
    expect(away.err).toContain('it was not taken: cannot be reached')
  })

  it('that does not exist is told with those that do', async () => {
    await using app = await startApp({ webhooks: webhooks({}) }, { memory: true })
    const admin = await app.admin()
    const { error } = await admin.ask('admin', 'webhook/test', { name: 'phone' })
    expect(error).toMatchObject({ code: 'not_found', path: 'name' })
    expect(error.message).toContain('hook')
  })

  it('tells once of limbs that stay offline together, and when they are back', async () => {
    await using app = await startApp(
      {
        webhooks: webhooks({ events: ['limb_offline', 'limb_back'], offlineSeconds: 60 }),
        presence: { heartbeatSeconds: 10, timeoutSeconds: 30 },
      },
      { fakeClock: true },
    )
    const limbs = [await app.limb('a1'), await app.limb('a2')]
    for (const [i, limb] of limbs.entries()) await limb.publish(`limb/node/a${i + 1}/heartbeat`, {})
    for (const [i, limb] of limbs.entries()) {
      await limb.publish(`limb/node/a${i + 1}/deregister`, {})
      await limb.end()
    }
    const admin = await app.admin()
    await until(async () => (await admin.do('admin', 'node/list', { status: 'offline' })).items.length === 2)
    app.clock.advance(50_000)
    expect(server.taken).toEqual([])
    app.clock.advance(20_000)
    const told = await server.nth(0)
    expect(told.json).toMatchObject({
      type: 'limb_offline',
      data: { count: 2, offlineSeconds: 60, limbs: [{ nodeId: 'a1' }, { nodeId: 'a2' }] },
    })
    const back = await app.device('a1', keyOf('a1'))
    await back.publish('limb/node/a1/heartbeat', {})
    await until(async () => (await admin.do('admin', 'node/list', { status: 'offline' })).items.length === 1)
    app.clock.advance(6000)
    expect((await server.nth(1)).json).toMatchObject({
      type: 'limb_back',
      data: { count: 1, limbs: [{ nodeId: 'a1' }] },
    })
  })
})
