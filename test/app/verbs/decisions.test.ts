import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp, type TestApp } from '../../support/app.ts'
import { agent, send, worker } from '../../support/worker.ts'

it('principal/set-role keeps the policies, ends the sessions, and a viewer gets nothing more done', async () => {
  await using app = await startApp({}, { memory: true })
  const robot = await worker(app, 'r1')
  const ann = await agent(app, 'ann')
  const admin = await app.admin()
  await admin.subscribe(['limb/bridge/approval/+', 'limb/bridge/event/+'])
  const entry = { principal: 'ann', nodeId: 'r1', capability: 'arm', level: 'free' }
  await admin.do('admin', 'policy/set', entry)
  await ann.do('ann', 'lease/acquire', { nodeId: 'r1', capability: 'arm' })
  await send(ann, 'ann', 'invoke', { nodeId: 'r1', command: 'saw.cut', idempotencyKey: 'k' })
  const waits = await admin.next(({ topic, text }) => topic.includes('/approval/') && text !== '')
  expect(
    (await admin.ask('admin', 'principal/set-role', { name: 'nobody', role: 'viewer' })).error.code,
  ).toBe('not_found')
  const shown = await admin.do('admin', 'principal/set-role', { name: 'ann', role: 'viewer' })
  expect(shown).toMatchObject({ name: 'ann', role: 'viewer' })
  await ann.ended()
  const { invocationId } = waits.json
  expect((await admin.ask('admin', 'invocation/approve', { invocationId })).error.code).toBe('conflict')
  expect((await admin.do('admin', 'lease/list')).items).toEqual([])
  expect((await admin.do('admin', 'policy/list', { principal: 'ann' })).items).toMatchObject([entry])
  const back = await app.principal('ann', 'ann-password')
  expect((await back.ask('ann', 'invoke', { nodeId: 'r1', command: 'arm.move' })).error.code).toBe(
    'forbidden',
  )
  expect(
    (await admin.ask('admin', 'principal/set-role', { name: 'admin', role: 'agent' })).error,
  ).toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('last admin'),
  })
  const { items } = await admin.do('admin', 'audit/list', { kind: 'principal.role_set' })
  expect(items).toMatchObject([{ actor: 'admin', detail: { name: 'ann', role: 'viewer', before: 'agent' } }])
  expect((await admin.next(({ topic }) => topic.endsWith('principal_role_set'))).json.role).toBe('viewer')
  expect(robot.told).toEqual([])
})

it('policy/set names the narrower entries that are looser, and warns of names that nobody has', async () => {
  await using app = await startApp({}, { memory: true })
  await worker(app, 'r1')
  await agent(app, 'ann')
  const admin = await app.admin()
  const set = (principal: string, nodeId: string, capability: string, level: string) =>
    admin.do('admin', 'policy/set', { principal, nodeId, capability, level })
  expect(await set('*', 'r1', 'camera', 'free')).not.toHaveProperty('warnings')
  await set('ann', '*', 'arm', 'gated')
  const denied = await set('ann', '*', '*', 'denied')
  expect(denied.beatenBy).toMatchObject([
    { principal: '*', nodeId: 'r1', capability: 'camera', level: 'free' },
    { principal: 'ann', nodeId: '*', capability: 'arm', level: 'gated' },
  ])
  expect(denied.warnings.join()).toContain('* r1 camera free')
  // Stricter, wider, or of somebody else: nothing is beaten.
  expect(await set('ann', 'r1', '*', 'free')).not.toHaveProperty('beatenBy')
  expect((await set('anne', 'r1', 'camera', 'denied')).warnings).toEqual([
    'there is no principal anne; the entry holds if one comes, and on the control socket',
  ])
  expect((await set('ann', 'r9', 'camera', 'denied')).warnings.join()).toContain('no approved limb r9')
  expect((await set('ann', 'r1', 'camra', 'denied')).warnings).toEqual(['r1 has no capability camra'])
  expect((await admin.do('admin', 'policy/list', { principal: 'anne' })).items).toHaveLength(1)
})

it('policy/explain without a limb or a capability lists what the principal can still use', async () => {
  await using app = await startApp({}, { memory: true })
  await worker(app, 'r1')
  await worker(app, 'r2')
  await agent(app, 'ann')
  const admin = await app.admin()
  await admin.do('admin', 'policy/set', { principal: 'ann', nodeId: '*', capability: '*', level: 'denied' })
  await admin.do('admin', 'policy/set', { principal: '*', nodeId: 'r1', capability: 'camera', level: 'free' })
  const { items } = await admin.do('admin', 'policy/explain', { principal: 'ann' })
  expect(items).toMatchObject([{ nodeId: 'r1', capability: 'camera', level: 'free', decidedBy: 'policy' }])
  const explain = (args: object) => admin.do('admin', 'policy/explain', { principal: 'bob', ...args })
  const all = (await explain({})).items.map(
    (item: { nodeId: string; capability: string }) => `${item.nodeId} ${item.capability}`,
  )
  expect(all).toEqual(['r1 arm', 'r1 camera', 'r1 saw', 'r2 arm', 'r2 camera', 'r2 saw'])
  const first = await explain({ limit: 4 })
  const rest = await explain({ limit: 4, after: first.next })
  expect([...first.items, ...rest.items]).toHaveLength(6)
  expect(rest).not.toHaveProperty('next')
  expect((await explain({ capability: 'arm' })).items).toHaveLength(2)
  expect((await explain({ nodeId: 'r2' })).items).toHaveLength(3)
  expect(await explain({ nodeId: 'r2', capability: 'arm' })).toEqual({
    level: 'leased',
    decidedBy: 'capability',
  })
  expect((await admin.ask('admin', 'policy/explain', { principal: 'bob', nodeId: 'r9' })).error.code).toBe(
    'not_found',
  )
})

it.each(['approve', 'reject'])(
  'a request that is decided says what became of it when it is decided again (%s)',
  async (again) => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe('limb/node/cam1/pairing')
    await device.publish('limb/node/cam1/register', REGISTRATION)
    const { requestId } = (await device.next('limb/node/cam1/pairing')).json
    await admin.do('admin', 'pairing/approve', { requestId })
    const { error } = await admin.ask('admin', `pairing/${again}`, { requestId })
    expect(error).toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(/approved as cam1 by admin \d+ s ago/),
      details: { outcome: 'approved', by: 'admin', nodeId: 'cam1' },
    })
    expect((await admin.ask('admin', `pairing/${again}`, { requestId: 'pr_madeup' })).error.code).toBe(
      'not_found',
    )
  },
)

describe('a request that nobody decided says what became of it when it is approved', () => {
  const WIDER = {
    ...REGISTRATION,
    capabilities: [...REGISTRATION.capabilities, { cap: 'light', commands: ['light.on'], authLevel: 'free' }],
  }

  /** A limb whose wish for more waits. */
  async function widening(app: TestApp) {
    const limb = await app.limb('cam1', REGISTRATION)
    await limb.publish('limb/node/cam1/register', WIDER)
    const { awaiting } = (await limb.next('limb/node/cam1/pairing')).json
    return { limb, requestId: awaiting as string }
  }

  it('withdrawn by its limb', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const { limb, requestId } = await widening(app)
    await limb.publish('limb/node/cam1/register', REGISTRATION)
    await limb.next('limb/node/cam1/pairing')
    expect((await admin.ask('admin', 'pairing/approve', { requestId })).error).toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(/of cam1 was withdrawn \d+ s ago: the limb asks for no more/),
      details: { outcome: 'withdrawn', by: 'cam1', nodeId: 'cam1' },
    })
  })

  it('gone with its limb', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const { requestId } = await widening(app)
    await admin.do('admin', 'node/revoke', { nodeId: 'cam1' })
    expect((await admin.ask('admin', 'pairing/reject', { requestId })).error).toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('admin replaced or revoked the limb'),
    })
  })

  it('its device was provisioned meanwhile', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.device('cam2', keyOf('cam2'))
    await device.subscribe('limb/node/cam2/pairing')
    await device.publish('limb/node/cam2/register', REGISTRATION)
    const { requestId } = (await device.next('limb/node/cam2/pairing')).json
    await admin.do('admin', 'node/provision', { nodeId: 'cam2', apiKey: keyOf('cam2') })
    expect((await admin.ask('admin', 'pairing/approve', { requestId })).error).toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(/approved as cam2 by admin/),
    })
  })
})
