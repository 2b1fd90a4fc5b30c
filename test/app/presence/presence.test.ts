import { describe, expect, it } from 'vitest'
import { keyOf, startApp } from '../../support/app.ts'

const heartbeat = 'limb/node/cam1/heartbeat'
const status = 'limb/node/cam1/status'

async function watched(overrides = {}) {
  const app = await startApp(overrides, { fakeClock: true, memory: true })
  const device = await app.limb('cam1')
  const admin = await app.admin()
  await admin.subscribe(['limb/node/+/status', 'limb/node/+/state'])
  expect((await admin.next(status)).text).toBe('offline')
  await admin.next('limb/node/cam1/state')
  return { app, device, admin }
}

describe('a limb', () => {
  it('is online at an empty heartbeat, and offline by timeout 45 s after the last one', async () => {
    const { app, device, admin } = await watched()
    await using _ = app
    await device.publish(heartbeat)
    expect((await admin.next(status)).text).toBe('online')
    app.clock.advance(30_000)
    await device.publish(heartbeat)
    app.clock.advance(44_000)
    expect((await admin.do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('online')
    app.clock.advance(2000)
    expect((await admin.next(status)).text).toBe('offline')
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam1' })).toMatchObject({ reason: 'timeout' })
  })

  it.each(['busy', 'degraded', 'online'])('has the status %s when it says so', async (word) => {
    const { app, device, admin } = await watched()
    await using _ = app
    await device.publish(heartbeat, { status: word, unavailable: ['camera'], metrics: { t: 21.5 } })
    expect((await admin.next(status)).text).toBe(word)
    const state = await admin.do('admin', 'node/get', { nodeId: 'cam1' })
    expect(state).toMatchObject({ status: word, reason: 'heartbeat', metrics: { t: 21.5 } })
    expect(state.capabilities[0].available).toBe(false)
  })

  it('asks for its own interval, and its timeout is three times that', async () => {
    const { app, device, admin } = await watched()
    await using _ = app
    await device.publish('limb/node/cam1/register', {
      displayName: 'x',
      platform: 'y',
      capabilities: [],
      heartbeatSeconds: 60,
    })
    expect((await device.next('limb/node/cam1/pairing')).json).toMatchObject({
      heartbeatSeconds: 60,
      timeoutSeconds: 180,
    })
    await device.publish(heartbeat)
    expect((await admin.next(status)).text).toBe('online')
    app.clock.advance(179_000)
    expect((await admin.do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('online')
    app.clock.advance(2000)
    expect((await admin.next(status)).text).toBe('offline')
  })

  it('has a grace of 5 s when its connection is lost, then is offline with that reason', async () => {
    const { app, device, admin } = await watched()
    await using _ = app
    await admin.subscribe('limb/bridge/event/node_status')
    await device.publish(heartbeat)
    expect((await admin.next(status)).text).toBe('online')
    device.cut()
    await sessionClosed(app, 'lost')
    app.clock.advance(4900)
    expect((await admin.do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('online')
    app.clock.advance(200)
    expect((await admin.next(status)).text).toBe('offline')
    const state = await admin.do('admin', 'node/get', { nodeId: 'cam1' })
    expect(state.reason).toBe('connection_lost')
  })

  it('stays online over a lost connection when it is back with a heartbeat in time', async () => {
    const { app, device, admin } = await watched()
    await using _ = app
    await device.publish(heartbeat)
    await admin.next(status)
    device.cut()
    await sessionClosed(app, 'lost')
    const again = await app.device('cam1', keyOf('cam1'))
    await again.publish(heartbeat)
    app.clock.advance(6000)
    expect((await admin.do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('online')
    expect(admin.waiting.filter((message) => message.topic === status)).toEqual([])
  })

  it.each([
    ['disconnected', async (device: Awaited<ReturnType<typeof watched>>['device']) => device.end()],
    [
      'deregistered',
      async (device: Awaited<ReturnType<typeof watched>>['device']) =>
        device.publish('limb/node/cam1/deregister'),
    ],
    [
      'reported',
      async (device: Awaited<ReturnType<typeof watched>>['device']) =>
        device.publish(heartbeat, { status: 'offline' }),
    ],
  ] as const)('is offline at once, with the reason %s', async (reason, goodbye) => {
    const { app, device, admin } = await watched()
    await using _ = app
    await device.publish(heartbeat)
    expect((await admin.next(status)).text).toBe('online')
    await goodbye(device)
    expect((await admin.next(status)).text).toBe('offline')
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam1' })).toMatchObject({ reason })
  })

  it('has one live session: a newer one ends the older, whose end changes nothing', async () => {
    const { app, device, admin } = await watched()
    await using _ = app
    await device.publish(heartbeat)
    await admin.next(status)
    const ended = device.ended()
    const newer = await app.device('cam1', keyOf('cam1'))
    await ended
    await newer.publish(heartbeat, { status: 'busy' })
    expect((await admin.next(status)).text).toBe('busy')
    app.clock.advance(10_000)
    expect((await admin.do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('busy')
  })

  it('does not go offline with everybody else because the wall clock jumps', async () => {
    const { app, device, admin } = await watched()
    await using _ = app
    await device.publish(heartbeat)
    await admin.next(status)
    app.clock.jumpWall(3_000_000_000)
    app.clock.advance(10_000)
    expect((await admin.do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('online')
  })

  it('is online by whatever it sends, and told what of it cannot be used', async () => {
    const { app, device, admin } = await watched()
    await using _ = app
    await device.publish(heartbeat, { status: 'dancing', metrics: { t: null, h: 5 } })
    expect((await device.next('limb/node/cam1/pairing')).json).toMatchObject({
      status: 'error',
      error: { code: 'invalid_request', path: 'status' },
    })
    const state = await admin.do('admin', 'node/get', { nodeId: 'cam1' })
    expect(state).toMatchObject({ status: 'online', reason: 'heartbeat', metrics: { h: 5 } })
  })

  it('stays what it said last when a heartbeat makes no sense, and is offline by timeout all the same', async () => {
    const { app, device, admin } = await watched()
    await using _ = app
    await device.publish(heartbeat, { status: 'busy', unavailable: ['camera'] })
    for (let i = 0; i < 6; i++) {
      app.clock.advance(15_000)
      await device.publish(heartbeat, 'x'.repeat(5000))
    }
    const state = await admin.do('admin', 'node/get', { nodeId: 'cam1' })
    expect(state).toMatchObject({ status: 'busy', capabilities: [{ cap: 'camera', available: false }] })
    app.clock.advance(45_000)
    await expect
      .poll(async () => (await admin.do('admin', 'node/get', { nodeId: 'cam1' })).reason)
      .toBe('timeout')
  })

  it('is told of another mistake after a minute, and of the same one after an hour', async () => {
    const { app, device } = await watched()
    await using _ = app
    const told = () => device.waiting.filter((message) => message.topic === 'limb/node/cam1/pairing').length
    await device.publish(heartbeat, { metrics: { t: null } })
    await device.publish(heartbeat, 'x'.repeat(5000))
    await device.settle()
    expect(told()).toBe(1)
    for (let i = 0; i < 30; i++) {
      app.clock.advance(15_000)
      await device.publish(heartbeat, { metrics: { t: null } })
    }
    await device.settle()
    expect(told()).toBe(1)
    await device.publish(heartbeat, 'x'.repeat(5000))
    await device.settle()
    expect(told()).toBe(2)
    expect(app.logLines.filter((line) => /cannot be used/.test(String(line.msg)))).toHaveLength(2)
  })

  it('has its state refreshed once a minute, no more', async () => {
    const { app, device, admin } = await watched()
    await using _ = app
    await device.publish(heartbeat)
    expect((await admin.next('limb/node/cam1/state')).json.status).toBe('online')
    for (let i = 0; i < 12; i++) {
      app.clock.advance(10_000)
      await device.publish(heartbeat, { metrics: { i } })
    }
    await admin.settle()
    const refreshed = admin.waiting.filter((message) => message.topic === 'limb/node/cam1/state')
    // At the very minute, with the last heartbeat before it.
    expect(refreshed.map((message) => message.json.metrics.i)).toEqual([4, 10])
  })

  it('has its last metrics published when a minute is over, also when no further heartbeat comes', async () => {
    const { app, device, admin } = await watched({
      presence: { heartbeatSeconds: 3600, timeoutSeconds: 10_800 },
    })
    await using _ = app
    await device.publish(heartbeat, { metrics: { t: 10 } })
    expect((await admin.next('limb/node/cam1/state')).json.metrics).toEqual({ t: 10 })
    app.clock.advance(300)
    await device.publish(heartbeat, { metrics: { t: 11 } })
    await device.settle()
    app.clock.advance(60_000)
    expect((await admin.next('limb/node/cam1/state')).json.metrics).toEqual({ t: 11 })
    app.clock.advance(600_000)
    await admin.settle()
    expect(admin.waiting.filter((message) => message.topic === 'limb/node/cam1/state')).toEqual([])
  })
})

async function sessionClosed(app: Awaited<ReturnType<typeof startApp>>, why: string): Promise<void> {
  await expect
    .poll(() => app.logLines.some((line) => line.msg === 'session closed' && line.why === why))
    .toBe(true)
}
