import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp } from '../../support/app.ts'

const WEEK = 604_800

describe('presence by activity', () => {
  it('takes anything that the limb publishes for a sign of life, and its deadline for its end', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    const limb = await app.limb('cam1', { ...REGISTRATION, presence: 'activity' })
    const admin = await app.admin()
    await admin.subscribe('limb/node/cam1/status')
    expect((await admin.next('limb/node/cam1/status')).text).toBe('offline')
    await limb.publish('limb/node/cam1/data/x', '1')
    expect((await admin.next('limb/node/cam1/status')).text).toBe('online')
    app.clock.advance(46_000)
    expect((await admin.next('limb/node/cam1/status')).text).toBe('offline')
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam1' })).toMatchObject({ reason: 'timeout' })
  })
})

describe('presence by connection', () => {
  it('is online from the approval on, without a heartbeat, and offline when the connection ends', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    const limb = await app.limb('plug1', { ...REGISTRATION, presence: 'connection' })
    const admin = await app.admin()
    expect(await admin.do('admin', 'node/get', { nodeId: 'plug1' })).toMatchObject({ status: 'online' })
    app.clock.advance(3_600_000)
    expect(await admin.do('admin', 'node/get', { nodeId: 'plug1' })).toMatchObject({ status: 'online' })
    await admin.subscribe('limb/node/plug1/status')
    await admin.next('limb/node/plug1/status')
    await limb.end()
    expect((await admin.next('limb/node/plug1/status')).text).toBe('offline')
    const again = await app.device('plug1', keyOf('plug1'))
    expect((await admin.next('limb/node/plug1/status')).text).toBe('online')
    await again.end()
  })

  it('follows the limb’s own availability topic, its will too', async () => {
    await using app = await startApp({}, { memory: true })
    const presence = { mode: 'connection', topic: 'data/tele/LWT', online: 'Online', offline: 'Offline' }
    const topic = 'limb/node/plug1/data/tele/LWT'
    await (await app.limb('plug1', { ...REGISTRATION, presence })).end()
    const will = { topic, payload: Buffer.from('Offline'), qos: 1 as const, retain: true }
    const limb = await app.device('plug1', keyOf('plug1'), { will })
    const admin = await app.admin()
    await admin.subscribe(['limb/node/plug1/status', topic])
    expect((await admin.next('limb/node/plug1/status')).text).toBe('offline')
    await limb.publish(topic, 'Online', { retain: true, qos: 1 })
    expect((await admin.next('limb/node/plug1/status')).text).toBe('online')
    limb.mqtt.stream.destroy()
    expect((await admin.next('limb/node/plug1/status')).text).toBe('offline')
  })
})

describe('a sleepy limb', () => {
  it('sleeps between visits, cannot be invoked meanwhile, and is offline only when its deadline passes', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    const limb = await app.limb('t1', { ...REGISTRATION, presence: 'sleepy', heartbeatSeconds: WEEK })
    const admin = await app.admin()
    await admin.subscribe('limb/node/t1/status')
    await admin.next('limb/node/t1/status')
    await limb.publish('limb/node/t1/data/t', '21')
    expect((await admin.next('limb/node/t1/status')).text).toBe('online')
    await limb.end()
    expect((await admin.next('limb/node/t1/status')).text).toBe('asleep')
    const refused = await admin.ask('admin', 'invoke', { nodeId: 't1', command: 'camera.snap' })
    expect(refused.error).toMatchObject({ code: 'node_offline', message: expect.stringContaining('asleep') })
    expect((await admin.do('admin', 'node/list', { status: 'asleep' })).items).toHaveLength(1)
    app.clock.advance(3 * WEEK * 1000 - 1000)
    expect(await admin.do('admin', 'node/get', { nodeId: 't1' })).toMatchObject({ status: 'asleep' })
    app.clock.advance(2000)
    expect((await admin.next('limb/node/t1/status')).text).toBe('offline')
  })

  it('sleeps on over a restart of the bridge', async () => {
    await using app = await startApp()
    const limb = await app.limb('t1', { ...REGISTRATION, presence: 'sleepy' })
    await limb.publish('limb/node/t1/heartbeat', {})
    await limb.end()
    await app.restart()
    const admin = await app.admin()
    expect(await admin.do('admin', 'node/get', { nodeId: 't1' })).toMatchObject({ status: 'asleep' })
  })
})

describe('node/set', () => {
  it('wins over what the limb asks for, is told to it truly, and can be taken back', async () => {
    await using app = await startApp()
    const limb = await app.limb('cam1', { ...REGISTRATION, heartbeatSeconds: 60 })
    const admin = await app.admin()
    const set = {
      nodeId: 'cam1',
      presence: 'sleepy',
      heartbeatSeconds: 3600,
      timeoutSeconds: 8000,
      area: 'Attic',
    }
    expect(await admin.do('admin', 'node/set', set)).toEqual(set)
    await limb.publish('limb/node/cam1/register', { ...REGISTRATION, heartbeatSeconds: 60 })
    expect((await limb.next('limb/node/cam1/pairing')).json).toMatchObject({
      status: 'approved',
      heartbeatSeconds: 3600,
      timeoutSeconds: 8000,
    })
    await app.restart()
    const again = await app.admin()
    expect((await again.do('admin', 'node/get', { nodeId: 'cam1' })).description.area).toBe('Attic')
    const back = { nodeId: 'cam1', presence: null, heartbeatSeconds: null, timeoutSeconds: null, area: null }
    expect(await again.do('admin', 'node/set', back)).toEqual({
      nodeId: 'cam1',
      presence: 'heartbeat',
      heartbeatSeconds: 60,
      timeoutSeconds: 180,
    })
  })

  it('refuses a timeout that no heartbeat could meet', async () => {
    await using app = await startApp({}, { memory: true })
    await app.limb('cam1', { ...REGISTRATION, heartbeatSeconds: 60 })
    const admin = await app.admin()
    const { error } = await admin.ask('admin', 'node/set', { nodeId: 'cam1', timeoutSeconds: 30 })
    expect(error).toMatchObject({ code: 'invalid_request', path: 'timeoutSeconds' })
  })

  it('can be said when the limb is provisioned', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await admin.do('admin', 'node/provision', {
      nodeId: 'tasmota1',
      presence: 'activity',
      apiKey: keyOf('tasmota1'),
    })
    const limb = await app.device('tasmota1', keyOf('tasmota1'))
    await limb.publish('limb/node/tasmota1/data/x', '1', { qos: 1 })
    expect(await admin.do('admin', 'node/get', { nodeId: 'tasmota1' })).toMatchObject({ status: 'online' })
  })
})
