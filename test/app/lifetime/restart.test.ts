import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, test } from 'vitest'
import { keyOf, REGISTRATION, startApp } from '../../support/app.ts'
import type { Loose, TestClient } from '../../support/client.ts'
import { skipOnPostgres } from '../../support/store.ts'

describe('a restart', () => {
  it('brings every approved limb back as offline, and its next heartbeat online, without asking anybody', async () => {
    await using app = await startApp()
    const device = await app.limb('cam1')
    await device.publish('limb/node/cam1/heartbeat')
    await app.restart()
    const admin = await app.admin()
    await admin.subscribe(['limb/node/+/status', 'limb/node/+/state', 'limb/bridge/status'])
    expect(await admin.next('limb/bridge/status')).toMatchObject({ text: 'online', retain: true })
    expect(await admin.next('limb/node/cam1/status')).toMatchObject({ text: 'offline', retain: true })
    expect((await admin.next('limb/node/cam1/state')).json).toMatchObject({
      status: 'offline',
      reason: 'bridge_restart',
      displayName: 'Front camera',
      lastHeartbeatAt: expect.any(String),
      approvedBy: 'admin',
    })
    const again = await app.device('cam1', keyOf('cam1'))
    await again.publish('limb/node/cam1/heartbeat')
    expect((await admin.next('limb/node/cam1/status')).text).toBe('online')
  })

  it('says goodbye before: limbs and the bridge are offline for whoever is still connected', async () => {
    await using app = await startApp()
    const device = await app.limb('cam1')
    await device.publish('limb/node/cam1/heartbeat')
    const admin = await app.admin()
    await admin.subscribe(['limb/node/+/status', 'limb/bridge/status'])
    await admin.next('limb/node/cam1/status')
    await admin.next('limb/bridge/status')
    await app.restart()
    expect((await admin.next('limb/node/cam1/status')).text).toBe('offline')
    expect((await admin.next('limb/bridge/status')).text).toBe('offline')
  })

  it('keeps pending requests, rejections, policies, principals and retained telemetry', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    const limb = await app.limb('cam1')
    await limb.publish('limb/node/cam1/data/temp', '21.5', { qos: 1, retain: true })
    await admin.do('admin', 'policy/set', {
      principal: 'bot',
      nodeId: 'cam1',
      capability: '*',
      level: 'denied',
    })
    await admin.do('admin', 'principal/add', { name: 'bot', role: 'agent', password: 'bot-password' })
    const waiting = await app.device('cam2', keyOf('cam2'))
    await waiting.publish('limb/node/cam2/register', REGISTRATION)
    const rejected = await app.device('cam3', keyOf('cam3'))
    await rejected.publish('limb/node/cam3/register', REGISTRATION)
    const { items } = await admin.do('admin', 'pairing/list')
    const request = items.find((item: { nodeId: string }) => item.nodeId === 'cam3')
    await admin.do('admin', 'pairing/reject', { requestId: request.requestId })

    await app.restart()
    const bot = await app.principal('bot', 'bot-password')
    await bot.subscribe('limb/node/+/data/#')
    expect(await bot.next('limb/node/cam1/data/temp')).toMatchObject({ text: '21.5', retain: true })
    expect((await bot.do('bot', 'pairing/list')).items).toMatchObject([{ nodeId: 'cam2' }])
    expect((await bot.do('bot', 'policy/list')).items).toMatchObject([{ principal: 'bot', level: 'denied' }])
    await expect(app.device('cam3', keyOf('cam3'))).rejects.toMatchObject({ code: 5 })
  })

  it('tells a persistent session that comes back what became of the limbs meanwhile', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', { name: 'dash', role: 'viewer', password: 'dash-password' })
    const session = { clientId: 'dash-1', clean: false }
    const device = await app.limb('cam1')
    await device.publish('limb/node/cam1/heartbeat')
    const dash = await app.principal('dash', 'dash-password', session)
    await dash.subscribe('limb/node/+/status')
    expect((await dash.next('limb/node/cam1/status')).text).toBe('online')
    dash.cut()
    await app.restart()
    const back = await app.principal('dash', 'dash-password', session)
    // It does not subscribe again: its session is still there.
    let last = ''
    while (last !== 'offline') last = (await back.next('limb/node/cam1/status')).text
    await back.settle()
    for (const message of back.waiting) last = message.text
    expect(last).toBe('offline')
  })

  it('keeps nothing with LIMB_DB=:memory:', async (context) => {
    skipOnPostgres(context)
    await using app = await startApp({}, { memory: true })
    await app.limb('cam1')
    await app.restart()
    const admin = await app.admin()
    expect((await admin.do('admin', 'node/list')).items).toEqual([])
  })
})

describe('the first start', () => {
  it('creates the principal admin, whose password is in a file that only the owner can read', async () => {
    await using app = await startApp()
    const file = join(app.folder, 'admin-password')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const password = readFileSync(file, 'utf8').trim()
    const admin = await app.principal('admin', password)
    expect((await admin.do('admin', 'principal/list')).items).toMatchObject([
      { name: 'admin', role: 'admin' },
    ])
    await app.restart()
    expect(readFileSync(file, 'utf8').trim()).toBe(password)
    await expect(app.principal('admin', 'wrong-password')).rejects.toMatchObject({ code: 4 })
  })

  it('writes no secret into the log', async () => {
    await using app = await startApp()
    await app.limb('cam1')
    const password = readFileSync(join(app.folder, 'admin-password'), 'utf8').trim()
    const text = JSON.stringify(app.logLines)
    expect(text).toContain('cam1')
    expect(text).not.toContain(password)
    expect(text).not.toContain(keyOf('cam1'))
  })
})

test('a start with smaller limits forgets stored sessions whose subscriptions are more than those, before it loads them', async () => {
  await using app = await startApp({ mqtt: { port: 0, maxSubscriptionsPerPrincipal: 5000 } })
  const admin = await app.admin()
  const password = 'ops-has-a-long-password'
  await admin.do('admin', 'principal/add', { name: 'ops', role: 'operator', password })
  const kept = async (client: TestClient) => {
    const { items } = await client.do('admin', 'session/list', { name: 'ops' })
    return items.map(({ clientId }: Loose) => clientId).sort()
  }
  for (const [clientId, count] of [
    ['many', 1300],
    ['few', 10],
  ] as const) {
    const client = await app.principal('ops', password, { clientId, clean: false })
    await client.subscribe(Array.from({ length: count }, (_, i) => `limb/node/cam${i}/status`))
    await client.end()
  }
  await app.restart()
  expect(await kept(await app.admin())).toEqual(['few', 'many'])
  await app.restart({ mqtt: { maxSubscriptionsPerPrincipal: 100 } })
  expect(await kept(await app.admin())).toEqual(['few'])
  expect(app.logLines.some(({ msg }) => String(msg).startsWith('there were more stored sessions'))).toBe(true)
})
