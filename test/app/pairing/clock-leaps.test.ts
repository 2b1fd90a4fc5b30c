import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp, type TestApp } from '../../support/app.ts'

const DAY_MS = 86_400_000
const YEARS_MS = 54 * 365 * DAY_MS
const pairing = 'limb/node/cam1/pairing'

async function registered(app: TestApp, key: string) {
  const device = await app.device('cam1', key)
  await device.subscribe(pairing)
  await device.publish('limb/node/cam1/register', REGISTRATION)
  return { device, answer: (await device.next(pairing)).json }
}

async function rejected(app: TestApp): Promise<void> {
  const admin = await app.admin()
  const { device, answer } = await registered(app, keyOf('cam1'))
  await admin.do('admin', 'pairing/reject', { requestId: answer.requestId })
  await device.ended()
}

describe.each([
  ['forward', YEARS_MS],
  ['back', -YEARS_MS],
])('a leap of the wall clock %s', (_which, leap) => {
  it.each([['while the bridge runs'], ['between two starts']])(
    'ends no refused key early, and none late, %s',
    async (when) => {
      await using app = await startApp({}, { fakeClock: true })
      await rejected(app)
      app.clock.advance(DAY_MS / 2)
      app.clock.jumpWall(leap)
      if (when === 'between two starts') await app.restart()
      await expect(app.device('cam1', keyOf('cam1'))).rejects.toThrow()
      const admin = await app.admin()
      const { items } = await admin.do('admin', 'pairing/list', { state: 'refused' })
      const left = Date.parse(items[0].until) - app.clock.wallMs()
      expect(left).toBeGreaterThan(DAY_MS / 2 - 120_000)
      expect(left).toBeLessThanOrEqual(DAY_MS / 2)
      app.clock.advance(DAY_MS / 2 - 3_600_000)
      await expect(app.device('cam1', keyOf('cam1'))).rejects.toThrow()
      app.clock.advance(3_600_000 + 1000)
      expect((await registered(app, keyOf('cam1'))).answer.status).toBe('pending')
    },
  )

  it('ends no pending request early, and none late', async () => {
    await using app = await startApp({}, { fakeClock: true })
    const admin = await app.admin()
    const { device, answer } = await registered(app, keyOf('cam1'))
    await device.end()
    app.clock.jumpWall(leap)
    await app.restart()
    const again = await app.admin()
    app.clock.advance(DAY_MS - 60_000)
    await again.settle()
    const { items } = await again.do('admin', 'pairing/list')
    expect(items).toMatchObject([{ requestId: answer.requestId }])
    expect(Date.parse(items[0].expiresAt) - app.clock.wallMs()).toBeLessThanOrEqual(60_000)
    app.clock.advance(62_000)
    await expect.poll(async () => (await again.do('admin', 'pairing/list')).items).toEqual([])
    expect(admin.mqtt.connected).toBe(false)
  })

  it('does not end the key of a limb that was away when it was rotated: it comes back and is told the new one', async () => {
    await using app = await startApp({}, { fakeClock: true })
    const limb = await app.limb('cam1')
    await limb.end()
    const admin = await app.admin()
    const { apiKey, toldToLimb } = await admin.do('admin', 'node/rotate-key', { nodeId: 'cam1' })
    expect(toldToLimb).toBe(false)
    app.clock.advance(3 * DAY_MS)
    app.clock.jumpWall(leap)
    await app.restart()
    const { device, answer } = await registered(app, keyOf('cam1'))
    expect(answer).toMatchObject({ status: 'approved', apiKey })
    await device.end()
    expect((await registered(app, apiKey)).answer.status).toBe('approved')
    // The first use of the new one has ended the old one.
    expect((await registered(app, keyOf('cam1'))).answer.status).toBe('pending')
  })
})

describe('a key that was rotated', () => {
  it('is told at each registration with the old one, which ends a day of running after the first time', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    await (await app.limb('cam1')).end()
    const admin = await app.admin()
    const { apiKey } = await admin.do('admin', 'node/rotate-key', { nodeId: 'cam1' })
    app.clock.advance(30 * DAY_MS)
    for (let i = 0; i < 2; i++) {
      const { device, answer } = await registered(app, keyOf('cam1'))
      expect(answer.apiKey).toBe(apiKey)
      await device.end()
      app.clock.advance(DAY_MS / 3)
    }
    app.clock.advance(DAY_MS / 3 + 1000)
    expect((await registered(app, keyOf('cam1'))).answer.status).toBe('pending')
    expect((await registered(app, apiKey)).answer).not.toHaveProperty('apiKey')
  })

  it('is told to nobody after an immediate rotation', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    await (await app.limb('cam1')).end()
    const admin = await app.admin()
    const { apiKey } = await admin.do('admin', 'node/rotate-key', { nodeId: 'cam1', immediate: true })
    expect((await registered(app, keyOf('cam1'))).answer).toMatchObject({ status: 'pending' })
    expect((await registered(app, apiKey)).answer.status).toBe('approved')
  })
})
