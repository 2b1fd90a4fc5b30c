import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { connectPacket } from '../../broker/wire.ts'
import { keyOf, startApp } from '../../support/app.ts'
import { proxied, version2 } from '../../support/proxy.ts'

describe('a refused CONNECT', () => {
  it('names user, client id and address in log, event and audit log', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/event/#')
    const dev2 = await app.limb('dev2')
    await dev2.end()
    const long = { clientId: 'rtl_433', keepalive: 60_000 }
    await expect(app.device('dev2', keyOf('dev2'), long)).rejects.toMatchObject({ code: 2 })
    const told = { name: 'dev2', clientId: 'rtl_433', address: '127.0.0.1' }
    const { json } = await admin.next('limb/bridge/event/sign_in_refused')
    expect(json).toMatchObject({ ...told, reason: expect.stringContaining('keepalive') })
    expect(app.logLines.find(({ msg }) => String(msg).startsWith('CONNECT refused'))).toMatchObject({
      ...told,
      level: 'warn',
    })
    const { items } = await admin.do('admin', 'audit/list', { nodeId: 'dev2', kind: 'signin.refused' })
    expect(items[0]).toMatchObject({
      nodeId: 'dev2',
      actor: '127.0.0.1',
      detail: { name: 'dev2', clientId: 'rtl_433' },
    })
  })

  it.each([
    ['for its keepalive', { keepalive: 60_000 }, /keepalive must be/],
    ['for its client id', { clientId: 'x'.repeat(200) }, /client id is too long/],
  ])('%s names who it was', async (_, options, reason) => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await expect(app.device('dev2', keyOf('dev2'), options)).rejects.toMatchObject({ code: 2 })
    await expect
      .poll(async () => (await admin.do('admin', 'audit/list', { nodeId: 'dev2' })).items[0]?.detail)
      .toMatchObject({ name: 'dev2', reason: expect.stringMatching(reason) })
  })

  it.each([
    ['the name of a principal', { username: 'admin', password: 'wrong-password' }],
    ['a name that is none', { username: 'my device!', password: keyOf('dev2') }],
  ])('with %s is found under the client id, if that is a name', async (_, credentials) => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await expect(app.device('', '', { ...credentials, clientId: 'dev2' })).rejects.toThrow()
    await expect
      .poll(async () => (await admin.do('admin', 'audit/list', { nodeId: 'dev2' })).items[0])
      .toMatchObject({ kind: 'signin.refused', detail: { clientId: 'dev2' } })
  })

  it('over HTTP is no limb’s, because who comes there has no client id', async () => {
    await using app = await startApp({ http: { enabled: true, port: 0 } }, { memory: true })
    const admin = await app.admin()
    const response = await fetch(`http://127.0.0.1:${app.bridge.http?.port}/api/v1/node/list`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from('admin:wrong-password').toString('base64')}` },
    })
    expect(response.status).toBe(401)
    const refused = async () => (await admin.do('admin', 'audit/list', { kind: 'signin.' })).items[0]
    await expect.poll(refused).toMatchObject({ kind: 'signin.refused', detail: { clientId: 'http' } })
    expect(await refused()).not.toHaveProperty('nodeId')
  })

  it('with a revoked key is found under its limb, and one of a name that is none is not kept', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await app.limb('dev3')
    await admin.do('admin', 'node/revoke', { nodeId: 'dev3' })
    await expect(app.device('dev3', keyOf('dev3'))).rejects.toMatchObject({ code: 5 })
    await expect
      .poll(
        async () => (await admin.do('admin', 'audit/list', { nodeId: 'dev3', kind: 'signin.' })).items.length,
      )
      .toBe(1)
    await expect(app.device('correct horse!', undefined, { keepalive: 60_000 })).rejects.toMatchObject({
      code: 2,
    })
    await admin.settle()
    expect(JSON.stringify(app.logLines)).not.toContain('correct horse')
  })

  it('from any address of one IPv6 network is told as one, and those of another by themselves', async () => {
    const proxy = { proxyNetworks: ['127.0.0.0/8'] }
    await using app = await startApp({ mqtt: { port: 0, ...proxy } }, { fakeClock: true, memory: true })
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/event/sign_in_refused')
    const refused = { username: 'dev2', password: keyOf('dev2'), clientId: 'd', keepalive: 60_000 }
    for (const source of ['2001:db8:0:1::1', '2001:db8:0:1::2', '2001:db8:0:1:ffff::3', '2001:db8:0:2::1']) {
      const socket = await proxied(app.bridge.mqtt.port, version2({ source }))
      socket.write(connectPacket(refused))
      const [connack] = (await once(socket, 'data')) as [Buffer]
      expect(connack[3]).toBe(2)
      socket.destroy()
    }
    const event = async () => (await admin.next(() => true)).json
    expect(await event()).toMatchObject({ address: '2001:db8:0:1::1', suppressed: 0 })
    expect(await event()).toMatchObject({ address: '2001:db8:0:2::1', suppressed: 0 })
    app.clock.advance(60_000)
    expect(await event()).toMatchObject({ suppressed: 1 })
    expect(admin.waiting).toEqual([])
  })

  it('is told once a minute for each name and address, and counted', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/event/sign_in_refused')
    for (let i = 0; i < 5; i++)
      await expect(app.device('dev2', keyOf('dev2'), { keepalive: 60_000 })).rejects.toMatchObject({
        code: 2,
      })
    expect((await admin.next(() => true)).json.suppressed).toBe(0)
    app.clock.advance(60_000)
    expect((await admin.next(() => true)).json.suppressed).toBe(3)
    expect(admin.waiting).toEqual([])
  })
})

describe('two devices with one key', () => {
  it.each(['the same client id', 'client ids of their own'])(
    'that end each other, with %s, are told by event, log and metric',
    async (ids) => {
      await using app = await startApp(
        { http: { enabled: true, port: 0 } },
        { fakeClock: true, memory: true },
      )
      const admin = await app.admin()
      await admin.subscribe('limb/bridge/event/limb_replaced')
      const first = await app.limb('dev1')
      for (let i = 0; i < 6; i++) {
        const clientId = ids === 'the same client id' ? 'board' : `board-${i % 2}`
        const board = await app.device('dev1', keyOf('dev1'), { clientId })
        if (i === 0) await first.ended()
        await board.settle()
      }
      expect((await admin.next(() => true)).json).toMatchObject({
        nodeId: 'dev1',
        addresses: ['127.0.0.1'],
        count: 2,
      })
      app.clock.advance(60_000)
      expect((await admin.next(() => true)).json).toMatchObject({ nodeId: 'dev1', count: 4 })
      expect(
        app.logLines.filter(({ msg }) => String(msg).includes('two devices with one key')),
      ).toMatchObject([
        { level: 'warn', nodeId: 'dev1', addresses: ['127.0.0.1'], count: 2 },
        { level: 'warn', count: 4 },
      ])
      const metrics = await (await fetch(`http://127.0.0.1:${app.bridge.http?.port}/metrics`)).text()
      expect(metrics).toContain('limb_sessions_replaced_total 6')
    },
  )

  it('are not thought of when a limb comes back once, or is replaced by an approval', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/event/limb_replaced')
    await app.limb('dev1')
    await (await app.device('dev1', keyOf('dev1'))).settle()
    await app.limb('dev1', undefined, keyOf('another'))
    await admin.settle()
    expect(admin.waiting).toEqual([])
  })
})
