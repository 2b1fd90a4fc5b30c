import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Config } from '../../src/host/config/config.ts'
import { keyOf, REGISTRATION, startApp } from '../support/app.ts'
import type { TestClient } from '../support/client.ts'
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts'
import { needs } from '../support/needs.ts'
import { patience } from '../support/patience.ts'

needs('mosquitto')

type Settings = Config['uplinks'][number]
type App = Awaited<ReturnType<typeof startApp>>

const uplink = (broker: Mosquitto, more: Partial<Settings> = {}) => ({
  uplinks: [{ name: 'home', url: `mqtt://127.0.0.1:${broker.port}`, prefix: 'site1', ...more }],
})

const lines = (app: App, text: string) => app.logLines.filter((line) => String(line.msg).includes(text))

/** A client there that has seen the bridge online, and forgets what it got so far. */
async function watcher(broker: Mosquitto, ...filters: string[]): Promise<TestClient> {
  const client = await broker.client()
  await client.subscribe(['site1/bridge/status', ...filters])
  await client.next(({ topic, text }) => topic === 'site1/bridge/status' && text === 'online')
  return client
}

const says = (topic: string, text: string) => (message: { topic: string; text: string }) =>
  message.topic === topic && message.text === text

describe.each([4, 5] as const)('an uplink that speaks MQTT version %i', (protocolVersion) => {
  it('mirrors status, state and the topics of the bridge, retained, and what changes live', async () => {
    await using broker = await startMosquitto()
    await using app = await startApp(uplink(broker, { protocolVersion }))
    const limb = await app.limb('cam1')
    const there = await watcher(broker, 'site1/node/+/status', 'site1/node/+/state', 'site1/bridge/#')
    await there.next(says('site1/node/cam1/status', 'offline'))

    await limb.publish('limb/node/cam1/heartbeat', { metrics: { load: 0.5 } })
    await there.next(says('site1/node/cam1/status', 'online'))
    await there.next(
      ({ topic, json }) => topic === 'site1/bridge/event/node_status' && json.status === 'online',
    )

    const retained = await broker.retained('site1/#')
    expect([...retained.keys()].sort()).toEqual([
      'site1/bridge/info',
      'site1/bridge/status',
      'site1/node/cam1/description',
      'site1/node/cam1/state',
      'site1/node/cam1/status',
    ])
    expect(JSON.parse(retained.get('site1/node/cam1/state') ?? '')).toMatchObject({
      nodeId: 'cam1',
      status: 'online',
      metrics: { load: 0.5 },
    })
  })

  it('tells what changed while the link was cut, and clears what was revoked meanwhile', async () => {
    await using broker = await startMosquitto()
    await using app = await startApp(uplink(broker, { protocolVersion, data: ['node/+/data/#'] }))
    const [kept, gone] = [await app.limb('kept'), await app.limb('gone')]
    await gone.publish('limb/node/gone/data/a', 'old', { qos: 1, retain: true })
    await kept.publish('limb/node/kept/data/a', 'old', { qos: 1, retain: true })
    const there = await watcher(broker, 'site1/node/#')
    await there.next(says('site1/node/gone/data/a', 'old'))
    await there.next(says('site1/node/kept/data/a', 'old'))

    broker.cut()
    await there.next(says('site1/bridge/status', 'offline'))
    const admin = await app.admin()
    await admin.do('admin', 'node/revoke', { nodeId: 'gone' })
    await kept.publish('limb/node/kept/heartbeat', '')
    await kept.publish('limb/node/kept/data/a', 'new', { qos: 1, retain: true })
    broker.heal()

    await there.next(says('site1/bridge/status', 'online'))
    await there.next(says('site1/node/kept/data/a', 'new'))
    await there.next(says('site1/node/gone/data/a', ''))
    const retained = await broker.retained('site1/node/#')
    expect([...retained.keys()].sort()).toEqual([
      'site1/node/kept/data/a',
      'site1/node/kept/description',
      'site1/node/kept/state',
      'site1/node/kept/status',
    ])
    expect(retained.get('site1/node/kept/status')).toBe('online')
    expect(retained.get('site1/node/kept/data/a')).toBe('new')
  })
})

describe('what lies below the prefix there', () => {
  it('is cleared when it was revoked while link and bridge were both down', async () => {
    await using broker = await startMosquitto()
    const before = await broker.client()
    for (const topic of ['node/ghost/status', 'node/ghost/data/deep/er', 'bridge/pairing/old'])
      await before.publish(`site1/${topic}`, 'x', { qos: 1, retain: true })
    await before.publish('elsewhere/node/ghost/status', 'x', { qos: 1, retain: true })
    await before.subscribe('site1/#')
    await using app = await startApp(uplink(broker))
    await app.limb('cam1')
    await before.next(says('site1/node/ghost/status', ''))
    await before.next(says('site1/node/ghost/data/deep/er', ''))
    await before.next(says('site1/bridge/pairing/old', ''))
    expect([...(await broker.retained('#')).keys()]).toContain('elsewhere/node/ghost/status')
  })

  it('is told anew when the other broker came back with nothing', async () => {
    await using broker = await startMosquitto()
    await using app = await startApp(uplink(broker))
    await app.limb('cam1')
    const there = await watcher(broker)
    await broker.restart()
    await there.ended()
    await watcher(broker)
    expect((await broker.retained('site1/node/#')).get('site1/node/cam1/status')).toBe('offline')
  })

  it('has status of limbs before the bridge is said to be online', async () => {
    await using broker = await startMosquitto()
    await using app = await startApp(uplink(broker))
    await app.limb('cam1')
    broker.cut()
    const there = await broker.client()
    await there.subscribe('site1/#')
    await there.next(says('site1/bridge/status', 'offline'))
    broker.heal()
    const order: string[] = []
    await there.next((message) => {
      if (!message.retain) order.push(message.topic)
      return says('site1/bridge/status', 'online')(message)
    })
    expect(order.indexOf('site1/node/cam1/status')).toBeGreaterThanOrEqual(0)
    expect(order.indexOf('site1/node/cam1/status')).toBeLessThan(order.indexOf('site1/bridge/status'))
  })
})

describe('the status of the bridge there', () => {
  it('is offline when the link is lost without a word', async () => {
    await using broker = await startMosquitto()
    await using _app = await startApp(uplink(broker))
    const there = await watcher(broker)
    broker.cut()
    await there.next(says('site1/bridge/status', 'offline'))
    expect((await broker.retained('site1/bridge/status')).get('site1/bridge/status')).toBe('offline')
  })

  it('is offline after a clean stop, and the limbs too', async () => {
    await using broker = await startMosquitto()
    const app = await startApp(uplink(broker))
    const limb = await app.limb('cam1')
    await limb.publish('limb/node/cam1/heartbeat', '')
    const there = await watcher(broker, 'site1/node/cam1/status')
    await there.next(says('site1/node/cam1/status', 'online'))
    await app[Symbol.asyncDispose]()
    await there.next(says('site1/node/cam1/status', 'offline'))
    await there.next(says('site1/bridge/status', 'offline'))
    const retained = await broker.retained('site1/#')
    expect(retained.get('site1/node/cam1/status')).toBe('offline')
    expect(retained.get('site1/bridge/status')).toBe('offline')
  })

  it('is corrected when the will of an older connection is said late', async () => {
    await using broker = await startMosquitto()
    await using _app = await startApp(uplink(broker))
    const there = await watcher(broker)
    await there.publish('site1/bridge/status', 'offline', { qos: 1, retain: true })
    await there.next(says('site1/bridge/status', 'offline'))
    await there.next(says('site1/bridge/status', 'online'))
  })

  it('is online again at once when a new connection finds the older one half dead', async () => {
    await using broker = await startMosquitto()
    const first = await startApp(uplink(broker))
    const there = await watcher(broker)
    // The other broker does not hear the end of the first connection: only its keepalive would tell, much later.
    broker.freeze()
    await first[Symbol.asyncDispose]()
    broker.heal()
    await using _second = await startApp(uplink(broker))
    await there.next(says('site1/bridge/status', 'offline'))
    await there.next(says('site1/bridge/status', 'online'))
  })

  it('a stop does not wait for a broker that no longer answers', async () => {
    await using broker = await startMosquitto()
    const app = await startApp(uplink(broker))
    const limb = await app.limb('cam1')
    await limb.publish('limb/node/cam1/heartbeat', '')
    await watcher(broker)
    broker.freeze()
    const started = performance.now()
    await app[Symbol.asyncDispose]()
    expect(performance.now() - started).toBeLessThan(patience(4000))
  })
})

describe('data', () => {
  it('goes there only where a filter says so, with its retain flag', async () => {
    await using broker = await startMosquitto()
    await using app = await startApp(uplink(broker, { data: ['node/+/data/temperature/#'] }))
    const limb = await app.limb('cam1')
    const there = await watcher(broker, 'site1/node/+/data/#')
    await limb.publish('limb/node/cam1/data/secret', '1', { qos: 1, retain: true })
    await limb.publish('limb/node/cam1/data/temperature/in', '20', { qos: 1, retain: true })
    await limb.publish('limb/node/cam1/data/temperature/out', '5')
    await there.next(says('site1/node/cam1/data/temperature/out', '5'))
    expect([...(await broker.retained('site1/node/+/data/#'))]).toEqual([
      ['site1/node/cam1/data/temperature/in', '20'],
    ])
  })

  it('of QoS 1 that was said while the link was cut arrives, the newest as many as may wait, and the rest is counted', async () => {
    await using broker = await startMosquitto()
    await using app = await startApp({
      ...uplink(broker, { data: ['node/+/data/#'], maxQueued: 100 }),
      http: { enabled: true, port: 0 },
    })
    const limb = await app.limb('cam1')
    const there = await watcher(broker, 'site1/node/+/data/#')
    broker.cut()
    await there.next(says('site1/bridge/status', 'offline'))
    for (let i = 0; i < 150; i++) await limb.publish('limb/node/cam1/data/n', String(i))
    const before = await metrics(app)
    expect(before).toMatchObject({ connected: 0, queued_messages: 100 })
    expect(before.dropped_total).toBeGreaterThanOrEqual(50)
    broker.heal()
    const seen: string[] = []
    while (seen.at(-1) !== '149') seen.push((await there.next('site1/node/cam1/data/n')).text)
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => String(i + 50)))
    await there.next(says('site1/bridge/status', 'online'))
    // The last of them may not be acknowledged yet.
    await expect
      .poll(() => metrics(app))
      .toMatchObject({ connected: 1, reconnects_total: 1, queued_messages: 0 })
  })
})

async function metrics(app: App): Promise<Record<string, number>> {
  const { http } = app.bridge
  const text = await (await fetch(`http://127.0.0.1:${http?.port}/metrics`)).text()
  const found = [...text.matchAll(/^limb_uplink_(\w+)\{uplink="home"\} (\d+)$/gm)]
  return Object.fromEntries(found.map((match) => [match[1], Number(match[2])]))
}

describe('requests from there', () => {
  const asked = 'site1/principal/ops/request/node/get'

  it('are not taken unless the configuration names the principal', async () => {
    await using broker = await startMosquitto()
    await using app = await startApp(uplink(broker))
    await app.limb('cam1')
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', { name: 'ops', role: 'viewer' })
    const there = await watcher(broker, 'site1/principal/#', 'site1/bridge/info')
    await there.publish(asked, { nodeId: 'cam1' })
    // Something that comes later than an answer would.
    await admin.do('admin', 'pairing/permit', { seconds: 60 })
    await there.next(({ topic, json }) => topic === 'site1/bridge/info' && json.pairingWindow)
    expect(there.waiting.filter(({ topic }) => topic.includes('/response/'))).toEqual([])
  })

  it('run with the role that the principal has here, and the answer goes back there alone', async () => {
    await using broker = await startMosquitto()
    await using app = await startApp(uplink(broker, { requests: { principals: ['ops'] } }))
    await app.limb('cam1')
    const admin = await app.admin()
    const { password } = await admin.do('admin', 'principal/add', { name: 'ops', role: 'viewer' })
    const here = await app.principal('ops', password)
    await here.subscribe('limb/principal/ops/response/#')
    const there = await watcher(broker, 'site1/principal/ops/response/#')

    await there.publish(asked, { transaction: 7, nodeId: 'cam1' })
    const got = await there.next('site1/principal/ops/response/node/get')
    expect(got.json).toMatchObject({ transaction: 7, ok: true, data: { nodeId: 'cam1' } })
    await there.publish('site1/principal/ops/request/pairing/permit', { transaction: 8, seconds: 60 })
    const refused = await there.next('site1/principal/ops/response/pairing/permit')
    expect(refused.json).toMatchObject({ transaction: 8, ok: false, error: { code: 'forbidden' } })
    await here.settle()
    expect(here.waiting).toEqual([])

    await admin.do('admin', 'principal/remove', { name: 'ops' })
    await there.publish(asked, { transaction: 9, nodeId: 'cam1' })
    const removed = await there.next('site1/principal/ops/response/node/get')
    expect(removed.json).toMatchObject({ transaction: 9, ok: false, error: { code: 'forbidden' } })
  })

  it('that are retained are not run at every connect', async () => {
    await using broker = await startMosquitto()
    const before = await broker.client()
    await before.publish(
      'site1/principal/ops/request/pairing/permit',
      { seconds: 60 },
      { qos: 1, retain: true },
    )
    await using app = await startApp(uplink(broker, { requests: { principals: ['ops'] } }))
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', { name: 'ops', role: 'operator' })
    broker.cut()
    broker.heal()
    const there = await watcher(broker, 'site1/principal/ops/response/#')
    await there.publish('site1/principal/ops/request/pairing/list', {})
    await there.next('site1/principal/ops/response/pairing/list')
    expect(there.waiting.filter(({ topic }) => topic.includes('permit'))).toEqual([])
  })
})

describe('signing in there', () => {
  it('works over TLS with a CA file and a password from a file', async () => {
    await using broker = await startMosquitto({
      tls: true,
      passwords: { bridge: 'pass word' },
      config: ['allow_anonymous false'],
    })
    const passwordFile = join(broker.folder, 'secret')
    writeFileSync(passwordFile, 'pass word\n')
    const settings = { url: `mqtts://localhost:${broker.port}`, username: 'bridge', passwordFile }
    await using app = await startApp(uplink(broker, { ...settings, caFile: broker.caFile }))
    await waitFor(() => lines(app, 'uplink connected').length === 1)
  })

  it('does not happen when the certificate is signed by nobody it knows', async () => {
    await using broker = await startMosquitto({ tls: true })
    await using app = await startApp(uplink(broker, { url: `mqtts://localhost:${broker.port}` }))
    await waitFor(() => lines(app, 'uplink could not connect').length > 0)
    expect(String(lines(app, 'uplink could not connect')[0]?.why)).toMatch(/self.signed/i)
  })

  it('is tried again when a broker refuses and leaves the connection open', async () => {
    const connackNotAuthorized = Buffer.from([0x20, 2, 0, 5])
    let attempts = 0
    const server = createServer((socket) => {
      attempts++
      socket.on('error', () => {})
      socket.once('data', () => socket.write(connackNotAuthorized))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const settings = { name: 'home', url: `mqtt://127.0.0.1:${port}`, prefix: 'site1' }
    await using _app = await startApp({ uplinks: [settings] })
    await waitFor(() => attempts >= 2)
    server.close()
  })

  it('is tried again after a refusal, with the password that the file holds then', async () => {
    await using broker = await startMosquitto({
      passwords: { bridge: 'right' },
      config: ['allow_anonymous false'],
    })
    const passwordFile = join(broker.folder, 'secret')
    writeFileSync(passwordFile, 'wrong')
    await using app = await startApp(uplink(broker, { username: 'bridge', passwordFile }))
    await waitFor(() => lines(app, 'uplink could not connect').length > 0)
    writeFileSync(passwordFile, 'right')
    await waitFor(() => lines(app, 'uplink connected').length === 1)
    expect(JSON.stringify(app.logLines)).not.toMatch(/"wrong"|"right"/)
  })
})

async function waitFor(condition: () => boolean): Promise<void> {
  await expect.poll(condition, { timeout: patience(10_000), interval: 10 }).toBe(true)
}

it('retained messages that found no room while the other broker was slow are made good without a new connection', async () => {
  await using broker = await startMosquitto()
  await using app = await startApp(uplink(broker, { data: ['node/+/data/#'], maxQueued: 100 }))
  const limb = await app.limb('cam1')
  const there = await watcher(broker, 'site1/node/cam1/data/#')
  broker.stall()
  for (let i = 0; i < 250; i++) await limb.publish(`limb/node/cam1/data/t${i}`, 'x', { qos: 1, retain: true })
  broker.heal()
  const seen = new Set<string>()
  while (seen.size < 250) seen.add((await there.next(({ topic }) => topic.includes('/data/'))).topic)
  expect(lines(app, 'uplink connected').length).toBe(1)
})

it('heartbeats and requests go on while the other broker is frozen and its queue overflows', async () => {
  await using broker = await startMosquitto()
  await using app = await startApp(uplink(broker, { data: ['node/+/data/#'], maxQueued: 100 }))
  const limb = await app.limb('cam1', REGISTRATION, keyOf('cam1'))
  const there = await watcher(broker, 'site1/node/+/data/#', 'site1/node/+/status')
  broker.freeze()
  for (let i = 0; i < 400; i++)
    await limb.publish(`limb/node/cam1/data/t${i}`, 'x'.repeat(2000), { qos: 1, retain: i < 200 })
  await limb.publish('limb/node/cam1/heartbeat', '')
  const admin = await app.admin()
  expect((await admin.do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('online')
  // What overflowed of the retained is made good when the other broker is back.
  broker.cut()
  broker.heal()
  await there.next(says('site1/bridge/status', 'offline'))
  await there.next(says('site1/bridge/status', 'online'))
  const kept = () => broker.retained('site1/node/cam1/#')
  expect((await kept()).get('site1/node/cam1/status')).toBe('online')
  await expect
    .poll(async () => [...(await kept()).keys()].filter((topic) => topic.includes('/data/')).length, {
      timeout: patience(10_000),
    })
    .toBe(200)
})
