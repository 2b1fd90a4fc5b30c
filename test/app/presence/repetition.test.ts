import { describe, expect, it } from 'vitest'
import { REGISTRATION, startApp } from '../../support/app.ts'

/** Firmware says things twice. */

describe('a candidate without a key that registers twice in one breath', () => {
  it('makes one request, and is told one key', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.device('cam1')
    await device.subscribe('limb/node/cam1/pairing')
    await Promise.all([
      device.publish('limb/node/cam1/register', REGISTRATION),
      device.publish('limb/node/cam1/register', REGISTRATION),
    ])
    const first = (await device.next('limb/node/cam1/pairing')).json
    const second = (await device.next('limb/node/cam1/pairing')).json
    expect(first).toMatchObject({ status: 'pending', apiKey: expect.any(String) })
    expect(second).toMatchObject({ status: 'pending', requestId: first.requestId, code: first.code })
    expect(second).not.toHaveProperty('apiKey')
    const { items } = await admin.do('admin', 'pairing/list')
    expect(items).toMatchObject([{ requestId: first.requestId, conflict: false }])
  })

  it('is told a key by the first registration that is taken, when earlier ones were refused', async () => {
    await using app = await startApp({ pairing: { maxPending: 1 } }, { memory: true })
    const admin = await app.admin()
    const other = await app.device('cam1')
    await other.subscribe('limb/node/cam1/pairing')
    await other.publish('limb/node/cam1/register', REGISTRATION)
    const { requestId } = (await other.next('limb/node/cam1/pairing')).json
    const device = await app.device('cam2')
    await device.subscribe('limb/node/cam2/pairing')
    await device.publish('limb/node/cam2/register', REGISTRATION)
    expect((await device.next('limb/node/cam2/pairing')).json.error.code).toBe('too_many_requests')
    await admin.do('admin', 'pairing/reject', { requestId })
    await device.publish('limb/node/cam2/register', REGISTRATION)
    expect((await device.next('limb/node/cam2/pairing')).json.apiKey).toMatch(/^[\w-]{43}$/)
  })
})

describe('a limb whose heartbeat names a capability twice', () => {
  it('is shown with what it named, and nothing of before', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const capabilities = ['a', 'b'].map((cap) => ({ cap, commands: [], authLevel: 'free' }))
    const limb = await app.limb('cam1', { ...REGISTRATION, capabilities })
    await limb.publish('limb/node/cam1/heartbeat', { unavailable: ['a', 'b'] })
    await limb.publish('limb/node/cam1/heartbeat', { unavailable: ['a', 'a'] })
    const state = await admin.do('admin', 'node/get', { nodeId: 'cam1' })
    expect(state.capabilities).toMatchObject([
      { cap: 'a', available: false },
      { cap: 'b', available: true },
    ])
  })
})
