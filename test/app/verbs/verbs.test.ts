import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../src/protocol/limits.ts'
import { keyOf, REGISTRATION, startApp } from '../../support/app.ts'
import { connect, type Loose, type TestClient } from '../../support/client.ts'
import { worker } from '../../support/worker.ts'

describe('requests', () => {
  it('are answered with their transaction, and state comes before the response that reports it', async () => {
    await using app = await startApp({}, { memory: true })
    await app.limb('cam1')
    const admin = await app.admin()
    await admin.subscribe(['limb/node/+/state', 'limb/principal/admin/response/#'])
    await admin.next('limb/node/cam1/state')
    await admin.publish('limb/principal/admin/request/node/rename', {
      transaction: 7,
      nodeId: 'cam1',
      displayName: 'Porch',
    })
    const first = await admin.next(() => true)
    expect(first).toMatchObject({ topic: 'limb/node/cam1/state', json: { displayName: 'Porch' } })
    expect((await admin.next(() => true)).json).toEqual({
      transaction: 7,
      ok: true,
      data: { nodeId: 'cam1', displayName: 'Porch' },
    })
  })

  it.each([
    ['not JSON', 'pairing/approve', '{', { code: 'invalid_request' }],
    ['not an object', 'node/list', '[]', { code: 'invalid_request' }],
    ['an unknown verb', 'node/explode', '{}', { code: 'invalid_request' }],
    ['a missing key', 'node/get', '{}', { code: 'invalid_request', path: 'nodeId' }],
    ['a wrong type', 'node/list', '{"limit":"ten"}', { code: 'invalid_request', path: 'limit' }],
    ['something that is not there', 'node/get', '{"nodeId":"nobody"}', { code: 'not_found', path: 'nodeId' }],
    ['a transaction that cannot come back', 'node/list', '{"transaction":1e400}', { path: 'transaction' }],
    ['a prototype key', 'node/get', '{"nodeId":"constructor"}', { code: 'not_found' }],
  ])('with %s get a clear error', async (_, verb, payload, error) => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await admin.subscribe('limb/principal/admin/response/#')
    await admin.publish(`limb/principal/admin/request/${verb}`, payload)
    const answer = await admin.next(`limb/principal/admin/response/${verb}`)
    expect(answer.json).toEqual({ ok: false, error: expect.objectContaining(error) })
  })

  it('with more parts than the bridge reads at once are refused under their number, an import too', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await admin.subscribe('limb/principal/admin/response/#')
    const dense = `[${'[],'.repeat(LIMITS.jsonParts)}1]`
    await admin.publish(
      'limb/principal/admin/request/node/list',
      `{"capability":${dense},"transaction":"t1"}`,
    )
    const answer = await admin.next('limb/principal/admin/response/node/list')
    expect(answer.json).toMatchObject({ transaction: 't1', ok: false, error: { path: 'capability' } })
    await admin.publish('limb/principal/admin/request/node/import', `{"nodes":${dense},"transaction":"t2"}`)
    const imported = await admin.next('limb/principal/admin/response/node/import')
    expect(imported.json).toMatchObject({ transaction: 't2', ok: false, error: { path: 'nodes' } })
  })

  it('list in pages', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const nodes = Array.from({ length: 7 }, (_, i) => ({ nodeId: `n${i}` }))
    const made = await admin.do('admin', 'node/import', { nodes })
    expect(made.items[0]).toMatchObject({ nodeId: 'n0', apiKey: expect.any(String) })
    const seen: string[] = []
    let after: string | undefined
    do {
      const page = await admin.do('admin', 'node/list', { limit: 3, ...(after ? { after } : {}) })
      seen.push(...page.items.map((item: { nodeId: string }) => item.nodeId))
      after = page.next
    } while (after)
    expect(seen).toEqual(nodes.map((node) => node.nodeId))
  })

  it('list the limbs that can be used now, with available: false the others, and all without it', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await admin.do('admin', 'node/provision', { nodeId: 'asleep' })
    const { client } = await worker(app, 'blind')
    await worker(app, 'seeing')
    await client.publish('limb/node/blind/heartbeat', { unavailable: ['camera'] })
    await client.settle()
    const listed = async (args: Loose): Promise<string[]> =>
      (await admin.do('admin', 'node/list', args)).items.map((item: { nodeId: string }) => item.nodeId)
    expect(await listed({ available: true })).toEqual(['blind', 'seeing'])
    expect(await listed({ available: false })).toEqual(['asleep'])
    expect(await listed({})).toEqual(['asleep', 'blind', 'seeing'])
    const camera = { capability: 'camera' }
    expect(await listed({ ...camera, available: true })).toEqual(['seeing'])
    expect(await listed({ ...camera, available: false })).toEqual(['blind'])
  })

  it('import all limbs or none', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await admin.do('admin', 'node/provision', { nodeId: 'taken' })
    const answer = await admin.ask('admin', 'node/import', { nodes: [{ nodeId: 'a' }, { nodeId: 'taken' }] })
    expect(answer).toMatchObject({ ok: false, error: { code: 'conflict', path: 'nodes[1].nodeId' } })
    expect((await admin.do('admin', 'node/list')).items).toHaveLength(1)
  })

  it('say of a limb that is twice in an import where', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const nodes = ['a', 'b', 'a'].map((nodeId) => ({ nodeId }))
    expect((await admin.ask('admin', 'node/import', { nodes })).error).toEqual({
      code: 'invalid_request',
      message: 'a is twice in this import, in nodes[0] and nodes[2]; keep one of them',
      path: 'nodes[2].nodeId',
    })
    expect((await admin.do('admin', 'node/list')).items).toEqual([])
  })
})

describe('a provisioned limb', () => {
  it('is a limb at its very first connect', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await admin.subscribe('limb/node/+/status')
    const { apiKey } = await admin.do('admin', 'node/provision', { nodeId: 'cam1', displayName: 'Cam' })
    const device = await app.device('cam1', apiKey)
    await device.publish('limb/node/cam1/heartbeat')
    expect((await admin.next('limb/node/cam1/status')).text).toBe('offline')
    expect((await admin.next('limb/node/cam1/status')).text).toBe('online')
  })

  it('promotes a candidate that waits with that very key', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe('limb/node/cam1/pairing')
    await admin.do('admin', 'node/provision', { nodeId: 'cam1', apiKey: keyOf('cam1') })
    expect((await device.next('limb/node/cam1/pairing')).json.status).toBe('approved')
  })

  it('settles the request of the device that waits with that key, and leaves those of others', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    for (const key of [keyOf('cam1'), keyOf('other')]) {
      const device = await app.device('cam1', key)
      await device.subscribe('limb/node/cam1/pairing')
      await device.publish('limb/node/cam1/register', REGISTRATION)
      await device.next('limb/node/cam1/pairing')
    }
    await admin.do('admin', 'node/provision', { nodeId: 'cam1', apiKey: keyOf('cam1') })
    expect((await admin.do('admin', 'pairing/list')).items).toMatchObject([
      { kind: 'replace', revision: 2, conflict: false },
    ])
  })
})

describe('a rotated key', () => {
  it('is told to the live limb, and the old one ends when the new one is first used', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.limb('cam1')
    const { apiKey, toldToLimb } = await admin.do('admin', 'node/rotate-key', { nodeId: 'cam1' })
    expect(toldToLimb).toBe(true)
    expect((await device.next('limb/node/cam1/pairing')).json).toMatchObject({ status: 'approved', apiKey })
    const old = await app.device('cam1', keyOf('cam1'))
    expect(await old.subscribe('limb/node/cam1/invoke')).toEqual([1])
    const fresh = await app.device('cam1', apiKey)
    expect(await fresh.subscribe('limb/node/cam1/invoke')).toEqual([1])
    const stranger = await app.device('cam1', keyOf('cam1'))
    expect(await isCandidate(stranger)).toBe(true)
  })

  it('ends the old one and the live session at once when the key was stolen', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.limb('cam1')
    const ended = device.ended()
    await admin.do('admin', 'node/rotate-key', { nodeId: 'cam1', immediate: true })
    await ended
    const thief = await app.device('cam1', keyOf('cam1'))
    expect(await isCandidate(thief)).toBe(true)
  })
})

describe('policies', () => {
  it('are set, explained, listed and deleted', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await app.limb('cam1')
    const triple = { principal: 'bot', nodeId: 'cam1', capability: 'camera' }
    expect(await admin.do('admin', 'policy/explain', triple)).toEqual({
      level: 'leased',
      decidedBy: 'capability',
    })
    await admin.do('admin', 'policy/set', {
      principal: 'bot',
      nodeId: '*',
      capability: 'camera',
      level: 'denied',
    })
    await admin.do('admin', 'policy/set', { principal: '*', nodeId: 'cam1', capability: '*', level: 'free' })
    expect(await admin.do('admin', 'policy/explain', triple)).toMatchObject({
      level: 'free',
      decidedBy: 'policy',
      entry: { principal: '*', nodeId: 'cam1', capability: '*' },
    })
    await admin.do('admin', 'policy/delete', { principal: '*', nodeId: 'cam1', capability: '*' })
    expect(await admin.do('admin', 'policy/explain', triple)).toMatchObject({ level: 'denied' })
    expect((await admin.do('admin', 'policy/list', { principal: 'bot' })).items).toHaveLength(1)
    expect(app.logLines).toContainEqual(
      expect.objectContaining({ msg: 'a policy is set', level: 'info', policyLevel: 'denied', by: 'admin' }),
    )
  })
})

describe('principals', () => {
  it('are added with a password that is told once, changed, and removed with their sessions', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const { password } = await admin.do('admin', 'principal/add', { name: 'ops', role: 'operator' })
    const ops = await app.principal('ops', password)
    const ended = ops.ended()
    const changed = await admin.do('admin', 'principal/set-password', { name: 'ops' })
    await ended
    await expect(app.principal('ops', password)).rejects.toMatchObject({ code: 4 })
    const again = await app.principal('ops', changed.password)
    const over = again.ended()
    await admin.do('admin', 'principal/remove', { name: 'ops' })
    await over
  })

  it('share one name space with limbs', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await app.limb('cam1')
    expect(await admin.ask('admin', 'principal/add', { name: 'cam1', role: 'viewer' })).toMatchObject({
      error: { code: 'conflict' },
    })
    await admin.do('admin', 'principal/add', { name: 'ops', role: 'viewer' })
    expect(await admin.ask('admin', 'node/provision', { nodeId: 'ops' })).toMatchObject({
      error: { code: 'conflict' },
    })
  })

  it('always leave an admin', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await connect({ socket: app.bridge.control }, { username: 'local' })
    expect(await admin.ask('local', 'principal/remove', { name: 'admin' })).toMatchObject({
      error: { code: 'conflict' },
    })
    await admin.end()
  })
})

/** An approved limb is told so; a candidate's registration waits. */
async function isCandidate(device: TestClient): Promise<boolean> {
  await device.subscribe('limb/node/cam1/pairing')
  await device.publish('limb/node/cam1/register', REGISTRATION)
  return (await device.next('limb/node/cam1/pairing')).json.status === 'pending'
}
