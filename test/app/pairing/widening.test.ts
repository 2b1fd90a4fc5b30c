import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp } from '../../support/app.ts'

const camera = (commands: string[], authLevel: string) => ({ cap: 'camera', commands, authLevel })

describe('a pending request', () => {
  it('shows every command that it adds, with what the limb says of it, and every level that it loosens', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/pairing/+')
    const device = await app.limb('cam1', {
      ...REGISTRATION,
      capabilities: [camera(['camera.snap'], 'gated')],
    })
    const wider = [
      camera(['camera.snap', 'camera.delete-all'], 'leased'),
      { cap: 'arm', commands: [{ name: 'arm.move', description: 'Moves the arm' }], authLevel: 'gated' },
    ]
    await device.publish('limb/node/cam1/register', { ...REGISTRATION, capabilities: wider })
    await device.next('limb/node/cam1/pairing')
    const { items } = await admin.do('admin', 'pairing/list')
    const difference = {
      kind: 'widen',
      adds: ['camera.delete-all', { name: 'arm.move', description: 'Moves the arm' }],
      loosens: [{ capability: 'camera', from: 'gated', to: 'leased' }],
    }
    expect(items).toMatchObject([difference])
    const retained = await admin.next(
      ({ topic, text }) => topic.includes('/pairing/') && text.includes('widen'),
    )
    expect(retained.json).toMatchObject(difference)
  })

  it('of a limb that is new adds all of its commands', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.device('cam1', keyOf('cam1'))
    await device.publish('limb/node/cam1/register', REGISTRATION)
    await device.settle()
    expect((await admin.do('admin', 'pairing/list')).items).toMatchObject([
      { adds: ['camera.snap'], loosens: [] },
    ])
  })

  it('is approved with a name, an area and stricter levels, and does not ask again for what it was not given', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe('limb/node/cam1/pairing')
    await device.publish('limb/node/cam1/register', REGISTRATION)
    const { requestId } = (await device.next('limb/node/cam1/pairing')).json
    const approve = (levels: object) =>
      admin.ask('admin', 'pairing/approve', { requestId, displayName: 'Door', area: 'Hall', levels })
    expect(await approve({ camera: 'free' })).toMatchObject({
      error: { code: 'invalid_request', path: 'levels.camera' },
    })
    expect(await approve({ saw: 'denied' })).toMatchObject({
      error: { code: 'invalid_request', path: 'levels.saw' },
    })
    expect(await approve({ camera: 'gated' })).toMatchObject({ ok: true })
    expect((await device.next('limb/node/cam1/pairing')).json).toMatchObject({ status: 'approved' })
    const node = await admin.do('admin', 'node/get', { nodeId: 'cam1' })
    expect(node).toMatchObject({ displayName: 'Door', capabilities: [{ cap: 'camera', authLevel: 'gated' }] })
    await device.publish('limb/node/cam1/register', REGISTRATION)
    expect((await device.next('limb/node/cam1/pairing')).json).not.toHaveProperty('awaiting')
    expect((await admin.do('admin', 'pairing/list')).items).toEqual([])
  })
})

describe('a wish for more that comes and goes', () => {
  it('is held to thirty changes a minute, with a line and a row of it a minute', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    const admin = await app.admin()
    const device = await app.limb('cam1')
    const wider = { ...REGISTRATION, capabilities: [camera(['camera.snap', 'camera.delete-all'], 'free')] }
    const answers = []
    for (let i = 0; i < 40; i++) {
      await device.publish('limb/node/cam1/register', wider)
      answers.push((await device.next('limb/node/cam1/pairing')).json)
      await device.publish('limb/node/cam1/register', REGISTRATION)
      await device.next('limb/node/cam1/pairing')
      // It is no faster than a session may be.
      app.clock.advance(1000)
    }
    expect(answers.filter(({ status }) => status === 'error')).toHaveLength(10)
    expect(answers.at(-1)).toMatchObject({ error: { code: 'too_many_requests' } })
    const lines = app.logLines.filter(({ msg }) => msg === 'cam1 asks for more capabilities')
    expect(lines).toHaveLength(1)
    const { items } = await admin.do('admin', 'audit/list', { nodeId: 'cam1', kind: 'pairing.requested' })
    // The first row is that of its claim.
    expect(items).toHaveLength(2)
  })
})
