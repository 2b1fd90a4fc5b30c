import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp, type TestApp } from '../../support/app.ts'

/** What the pairing window does with requests that wait when it is opened. */

async function waits(app: TestApp, nodeId: string, key = keyOf(nodeId)) {
  const device = await app.device(nodeId, key)
  await device.subscribe(`limb/node/${nodeId}/pairing`)
  await device.publish(`limb/node/${nodeId}/register`, REGISTRATION)
  const { json } = await device.next(`limb/node/${nodeId}/pairing`)
  return { device, answer: json }
}

describe('pairing/permit', () => {
  it('leaves those that wait already where they are, unless it is asked to take them', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const { device } = await waits(app, 'cam1')
    expect(await admin.do('admin', 'pairing/permit', { seconds: 60 })).not.toHaveProperty('approved')
    expect((await admin.do('admin', 'pairing/list')).items).toHaveLength(1)
    expect(await admin.do('admin', 'pairing/permit', { seconds: 60, waiting: true })).toMatchObject({
      approved: ['cam1'],
      pairingWindow: { until: expect.any(String) },
    })
    expect((await device.next('limb/node/cam1/pairing')).json).toMatchObject({ status: 'approved' })
    const { items } = await admin.do('admin', 'audit/list', { kind: 'pairing.approved' })
    expect(items).toMatchObject([{ actor: 'window:admin', nodeId: 'cam1' }])
  })

  it('takes the oldest first, no more than its number, and is closed then', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    for (const nodeId of ['z', 'm', 'a']) await waits(app, nodeId)
    const taken = await admin.do('admin', 'pairing/permit', { seconds: 60, max: 2, waiting: true })
    expect(taken).toEqual({ approved: ['z', 'm'], pairingWindow: null })
    expect((await admin.do('admin', 'pairing/list')).items).toMatchObject([{ nodeId: 'a' }])
  })

  it('takes no conflict, no other key of a paired limb, no wish for more, and none but its one name', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const paired = await app.limb('paired')
    await waits(app, 'both', 'a'.repeat(24))
    await waits(app, 'both', 'b'.repeat(24))
    await waits(app, 'paired', 'c'.repeat(24))
    const camera = { cap: 'camera', commands: ['camera.snap', 'camera.erase'], authLevel: 'leased' }
    await paired.publish('limb/node/paired/register', { ...REGISTRATION, capabilities: [camera] })
    await paired.next('limb/node/paired/pairing')
    await waits(app, 'cam1')
    await waits(app, 'cam2')
    const only = { seconds: 60, nodeId: 'cam2', waiting: true }
    expect((await admin.do('admin', 'pairing/permit', only)).approved).toEqual(['cam2'])
    const all = { seconds: 60, waiting: true }
    expect((await admin.do('admin', 'pairing/permit', all)).approved).toEqual(['cam1'])
    const left = (await admin.do('admin', 'pairing/list')).items.map(
      (each: { nodeId: string }) => each.nodeId,
    )
    expect(left.sort()).toEqual(['both', 'both', 'paired', 'paired'])
  })

  it('passes over one whose name a principal has taken meanwhile', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await waits(app, 'ann')
    await waits(app, 'cam1')
    await admin.do('admin', 'principal/add', { name: 'ann', role: 'viewer' })
    const all = { seconds: 60, waiting: true }
    expect((await admin.do('admin', 'pairing/permit', all)).approved).toEqual(['cam1'])
  })

  it('refuses to close the window and take those that wait in one', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    expect(await admin.ask('admin', 'pairing/permit', { seconds: 0, waiting: true })).toMatchObject({
      error: { code: 'invalid_request', path: 'waiting' },
    })
  })
})
