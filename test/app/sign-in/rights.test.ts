import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp } from '../../support/app.ts'

describe('rights', () => {
  it('refuse a candidate everything but its own register, pairing and invoke', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await admin.subscribe(['limb/node/+/data/#', 'limb/node/+/status'])
    const candidate = await app.device('cam1', keyOf('cam1'))
    const granted = await Promise.all(
      [
        'limb/node/cam2/invoke',
        'limb/node/cam2/pairing',
        'limb/node/+/status',
        'limb/#',
        '#',
        '$SYS/#',
        'limb/bridge/#',
        'limb/node/cam1/+',
      ].map((filter) => candidate.subscribe(filter)),
    )
    expect(granted.flat()).toEqual(Array.from({ length: 8 }, () => 128))
    for (const topic of [
      'limb/node/cam1/heartbeat',
      'limb/node/cam1/data/x',
      'limb/node/cam2/register',
      'limb/node/cam1/status',
      'limb/bridge/status',
      'other/topic',
      '$SYS/x/new/clients',
    ]) {
      await candidate.publish(topic, 'x')
    }
    await candidate.settle()
    await admin.settle()
    expect(admin.waiting).toEqual([])
    // The session lives: a closed connection would make ordinary clients send it again for ever.
    expect(candidate.mqtt.connected).toBe(true)
    expect((await admin.do('admin', 'pairing/list')).items).toEqual([])
  })

  it('let a limb speak for itself alone', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.limb('cam1')
    await app.limb('cam2')
    await admin.subscribe(['limb/node/+/data/#', 'limb/node/+/status'])
    await admin.next('limb/node/cam1/status')
    await admin.next('limb/node/cam2/status')
    await device.publish('limb/node/cam2/heartbeat')
    await device.publish('limb/node/cam2/data/x', 'forged')
    await device.publish('limb/node/cam2/status', 'online', { qos: 1, retain: true })
    await device.publish('limb/node/cam1/status', 'online', { qos: 1, retain: true })
    await device.publish('limb/node/cam1/data/x', 'mine')
    expect((await admin.next(() => true)).text).toBe('mine')
    expect((await admin.do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('offline')
  })

  it('let the last words of a limb be published on its own data, and on nobody else’s', async () => {
    await using app = await startApp({}, { memory: true })
    await app.limb('cam1')
    const admin = await app.admin()
    await admin.subscribe('limb/node/+/data/#')
    const device = await app.device('cam1', keyOf('cam1'), {
      will: { topic: 'limb/node/cam1/data/will', payload: Buffer.from('gone'), qos: 1, retain: true },
    })
    const forger = await app.device('cam2', keyOf('cam2'), {
      will: { topic: 'limb/node/cam1/data/will', payload: Buffer.from('forged'), qos: 1, retain: true },
    })
    forger.cut()
    device.cut()
    expect((await admin.next('limb/node/cam1/data/will')).text).toBe('gone')
    await expect
      .poll(() => app.logLines.filter((line) => line.msg === 'session closed' && line.why === 'lost').length)
      .toBe(2)
    await admin.settle()
    expect(admin.waiting).toEqual([])
  })

  it('let each role do what it may, and answer forbidden beyond', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    for (const role of ['viewer', 'agent', 'operator']) {
      await admin.do('admin', 'principal/add', { name: role, role, password: `${role}-password` })
    }
    const viewer = await app.principal('viewer', 'viewer-password')
    const operator = await app.principal('operator', 'operator-password')
    expect(await viewer.ask('viewer', 'node/list')).toMatchObject({ ok: true })
    expect(await viewer.ask('viewer', 'node/revoke', { nodeId: 'x' })).toMatchObject({
      ok: false,
      error: { code: 'forbidden' },
    })
    expect(await operator.ask('operator', 'node/revoke', { nodeId: 'x' })).toMatchObject({
      error: { code: 'not_found' },
    })
    expect(await operator.ask('operator', 'principal/list')).toMatchObject({ error: { code: 'forbidden' } })
    expect(await viewer.subscribe('limb/principal/operator/response/#')).toEqual([128])
    await viewer.publish('limb/principal/operator/request/node/list', { transaction: 'forged' })
    await operator.settle()
    expect(operator.waiting).toEqual([])
  })

  it('give nobody a client id: the same one of two names is two sessions, which an operator can list and forget', async () => {
    await using app = await startApp({}, { memory: true })
    await (await app.limb('cam1')).end()
    await (await app.limb('cam2')).end()
    const admin = await app.admin()
    const first = await app.device('cam1', keyOf('cam1'), { clientId: 'same', clean: false })
    const second = await app.device('cam2', keyOf('cam2'), { clientId: 'same', clean: false })
    await first.settle()
    const { items } = await admin.do('admin', 'session/list', { name: 'cam1' })
    expect(items).toMatchObject([
      { name: 'cam1', clientId: 'same', live: true, address: '127.0.0.1', queued: 0 },
    ])
    await admin.do('admin', 'session/forget', { name: 'cam1', clientId: 'same' })
    await first.ended()
    expect((await admin.do('admin', 'session/list', { name: 'cam1' })).items).toEqual([])
    const again = await admin.ask('admin', 'session/forget', { name: 'cam1', clientId: 'same' })
    expect(again.error).toMatchObject({ code: 'not_found', path: 'clientId' })
    const rows = (await admin.do('admin', 'audit/list', { kind: 'session.forgotten' })).items
    expect(rows).toMatchObject([{ actor: 'admin', detail: { name: 'cam1', clientId: 'same' } }])
    await second.settle()
  })

  it('grant topics outside the root by configuration, and only those', async () => {
    await using app = await startApp(
      {
        mqtt: {
          port: 0,
          grants: [{ to: 'ha', publish: ['homeassistant/#'], subscribe: ['homeassistant/#'] }],
        } as never,
      },
      { memory: true },
    )
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', { name: 'ha', role: 'viewer', password: 'ha-password' })
    const ha = await app.principal('ha', 'ha-password')
    expect(await ha.subscribe('homeassistant/#')).toEqual([1])
    await ha.publish('homeassistant/status', 'online', { qos: 1, retain: true })
    expect((await ha.next('homeassistant/status')).text).toBe('online')
    await ha.publish('zigbee2mqtt/x', 'no')
    await ha.settle()
    expect(ha.waiting).toEqual([])
  })

  it('take a name from the client id when there is no user name', async () => {
    await using app = await startApp({}, { memory: true })
    const device = await app.device(undefined as never, undefined, {
      clientId: 'cam7',
      username: undefined as never,
    })
    await device.subscribe('limb/node/cam7/pairing')
    await device.publish('limb/node/cam7/register', REGISTRATION)
    expect((await device.next('limb/node/cam7/pairing')).json.status).toBe('pending')
  })
})

describe('retained topics of a limb', () => {
  it('are bounded: a further one reaches those who are there, is not kept, counted, and told once', async () => {
    await using app = await startApp(
      {
        mqtt: { port: 0, maxRetainedPerNode: 2 },
        http: { enabled: true, port: 0 },
      } as never,
      { memory: true },
    )
    const limb = await app.limb('cam1')
    const live = await app.admin()
    await live.subscribe('limb/node/+/data/#')
    for (const topic of ['a', 'b', 'c', 'd', 'a']) {
      await limb.publish(`limb/node/cam1/data/${topic}`, topic, { qos: 1, retain: true })
    }
    for (const topic of ['a', 'b', 'c', 'd']) await live.next(`limb/node/cam1/data/${topic}`)
    const later = await app.admin()
    await later.subscribe('limb/node/+/data/#')
    // They may come behind the answer to a ping.
    while (later.waiting.length < 2) await later.settle()
    await later.settle()
    expect(later.waiting.map(({ text }) => text).sort()).toEqual(['a', 'b'])
    const text = await (await fetch(`http://127.0.0.1:${app.bridge.http?.port}/metrics`)).text()
    expect(text).toContain('limb_messages_dropped_total{why="retained_below"} 2')
    const told = app.logLines.filter(({ msg }) => String(msg).includes('mqtt.maxRetainedPerNode'))
    expect(told.length).toBe(1)
  })
})
