import { describe, expect, it } from 'vitest'
import { start } from '../../cli/run.ts'
import { keyOf, startApp, type TestApp } from '../../support/app.ts'
import type { Loose, TestClient } from '../../support/client.ts'
import { agent, attend, ROBOT, send, worker } from '../../support/worker.ts'

const SNAP = { nodeId: 'r1', command: 'camera.snap' }
const INVOKE = 'limb/node/r1/invoke'
const DAY_MS = 86_400_000

/** A limb whose session is stored: subscribed to `invoke`, and away. */
async function asleep(app: TestApp, more: Loose = { presence: 'sleepy' }): Promise<void> {
  const limb = await app.limb('r1', { ...ROBOT, ...more })
  await limb.end()
  const visit = await visits(app)
  await visit.subscribe(INVOKE, 1)
  await visit.publish('limb/node/r1/data/t', '1')
  await visit.end()
}

const visits = (app: TestApp): Promise<TestClient> =>
  app.device('r1', keyOf('r1'), { clean: false, clientId: 'r1' })

/** The invocation that waits for its limb, as `invocation/list` shows it. */
async function listed(client: TestClient, name: string, count = 1): Promise<Loose[]> {
  for (;;) {
    const { items } = await client.do(name, 'invocation/list', { state: 'queued', order: 'oldest' })
    const away = items.filter((item: Loose) => item.awaitsLimbUntil !== undefined)
    if (away.length === count) return away
  }
}

const done = (client: TestClient, invocation: Loose) =>
  client.publish('limb/node/r1/result', { invocationId: invocation.invocationId, success: true })

describe('invoke with offlineWaitSeconds', () => {
  it('reaches a sleepy limb with the first packets of its next visit, in the order of asking', async () => {
    await using app = await startApp({}, { memory: true })
    await asleep(app)
    const ann = await agent(app, 'ann')
    const answers = []
    for (const n of [1, 2, 3]) {
      const more = n === 2 ? { idempotencyKey: 'k2' } : {}
      answers.push(
        await send(ann, 'ann', 'invoke', { ...SNAP, params: { n }, offlineWaitSeconds: 3600, ...more }),
      )
    }
    const [first] = await listed(ann, 'ann', 3)
    expect(first).toMatchObject({ state: 'queued', command: 'camera.snap', nodeId: 'r1' })
    // It connects and says nothing.
    const visit = await visits(app)
    for (const n of [1, 2, 3]) {
      const { json } = await visit.next(INVOKE)
      expect(json.params).toEqual({ n })
      await done(visit, json)
    }
    for (const answer of answers) expect((await answer()).ok).toBe(true)
  })

  it('reaches a limb that was offline when it is heard again', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    await robot.client.end()
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', { ...SNAP, offlineWaitSeconds: 60 })
    await listed(ann, 'ann')
    const again = await attend(app, 'r1', await app.device('r1', keyOf('r1')))
    await again.answer(await again.next())
    expect((await answer()).ok).toBe(true)
  })

  it('ends as node_offline when its time is over, and says that nothing ran', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    await asleep(app)
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', { ...SNAP, offlineWaitSeconds: 604_800 })
    const [waiting] = await listed(ann, 'ann')
    app.clock.advance(604_799_000)
    expect(await listed(ann, 'ann')).toHaveLength(1)
    app.clock.advance(2000)
    const { error } = await answer()
    expect(error).toMatchObject({ code: 'node_offline', message: expect.stringContaining('did not run') })
    const ended = await ann.do('ann', 'invocation/get', { invocationId: waiting?.invocationId })
    expect(ended.state).toBe('expired')
  })

  it('can be cancelled', async () => {
    await using app = await startApp({}, { memory: true })
    await asleep(app)
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', { ...SNAP, offlineWaitSeconds: 60 })
    const [waiting] = await listed(ann, 'ann')
    await ann.do('ann', 'invocation/cancel', { invocationId: waiting?.invocationId })
    expect((await answer()).error.code).toBe('cancelled')
    const visit = await visits(app)
    await visit.publish('limb/node/r1/data/t', '2')
    expect(visit.waiting.filter(({ topic }) => topic === INVOKE)).toEqual([])
  })

  it('with a key waits on over a restart and is sent once, and whoever asks again gets the answer', async () => {
    await using app = await startApp()
    await asleep(app)
    const ann = await agent(app, 'ann')
    const args = { ...SNAP, params: { zoom: 2 }, offlineWaitSeconds: 3600, idempotencyKey: 'k' }
    const answer = await send(ann, 'ann', 'invoke', args)
    const keyless = await send(ann, 'ann', 'invoke', { ...SNAP, offlineWaitSeconds: 3600 })
    const before = await listed(ann, 'ann', 2)
    await app.restart()
    expect((await answer()).error.message).toContain('ask again with the same key')
    expect((await keyless()).error.message).toContain('did not run')
    const again = await app.principal('ann', 'ann-password')
    await again.subscribe('limb/principal/ann/response/#')
    const [kept] = await listed(again, 'ann')
    expect(before.map(({ invocationId }) => invocationId)).toContain(kept?.invocationId)
    const repeated = await send(again, 'ann', 'invoke', args)
    const visit = await visits(app)
    const { json } = await visit.next(INVOKE)
    expect(json).toMatchObject({ invocationId: kept?.invocationId, params: { zoom: 2 } })
    await done(visit, json)
    expect(await repeated()).toMatchObject({ ok: true, data: { invocationId: kept?.invocationId } })
    await app.restart()
    const last = await visits(app)
    await last.publish('limb/node/r1/data/t', '2')
    expect(last.waiting.filter(({ topic }) => topic === INVOKE)).toEqual([])
  })

  it('keeps its key for a day from its end on, however long it has waited', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    await asleep(app, { presence: 'sleepy', heartbeatSeconds: 604_800 })
    const ann = await agent(app, 'ann')
    const args = { ...SNAP, offlineWaitSeconds: 604_800, idempotencyKey: 'k' }
    const answer = await send(ann, 'ann', 'invoke', args)
    await listed(ann, 'ann')
    app.clock.advance(3 * DAY_MS)
    const visit = await visits(app)
    const { json } = await visit.next(INVOKE)
    await done(visit, json)
    const { data } = await answer()
    app.clock.advance(DAY_MS - 60_000)
    expect((await ann.ask('ann', 'invoke', args)).data).toEqual(data)
    app.clock.advance(120_000)
    const second = await send(ann, 'ann', 'invoke', args)
    const again = (await visit.next(INVOKE)).json
    expect(again.invocationId).not.toBe(json.invocationId)
    await done(visit, again)
    expect((await second()).data.invocationId).toBe(again.invocationId)
  })

  it('is judged again: what the policy denies meanwhile ends at once, and bad params are refused at once', async () => {
    await using app = await startApp({}, { memory: true })
    await asleep(app)
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', { ...SNAP, offlineWaitSeconds: 60 })
    await listed(ann, 'ann')
    const admin = await app.admin()
    await admin.do('admin', 'policy/set', {
      principal: 'ann',
      nodeId: 'r1',
      capability: 'camera',
      level: 'denied',
    })
    expect((await answer()).error.code).toBe('denied')
    const unknown = await ann.ask('ann', 'invoke', { nodeId: 'r1', command: 'x', offlineWaitSeconds: 60 })
    expect(unknown.error.code).toBe('unknown_command')
  })

  it('takes the lease when the limb is there, and holds none while it is away', async () => {
    await using app = await startApp({}, { memory: true })
    await asleep(app)
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const move = { nodeId: 'r1', command: 'arm.move' }
    const answer = await send(ann, 'ann', 'invoke', { ...move, offlineWaitSeconds: 60 })
    await listed(ann, 'ann')
    await bob.do('bob', 'lease/acquire', { nodeId: 'r1', capability: 'arm' })
    const visit = await visits(app)
    expect((await answer()).error.code).toBe('leased')
    expect(visit.waiting.filter(({ topic }) => topic === INVOKE)).toEqual([])
  })

  it('asks the operator of a gated one while the limb sleeps, and sends it on the visit', async () => {
    await using app = await startApp({}, { memory: true })
    await asleep(app)
    const ann = await agent(app, 'ann')
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/approval/+')
    const cut = { nodeId: 'r1', command: 'saw.cut', offlineWaitSeconds: 60, idempotencyKey: 'cut' }
    const answer = await send(ann, 'ann', 'invoke', cut)
    const { invocationId } = (await admin.next((m) => m.topic.startsWith('limb/bridge/approval/'))).json
    await admin.do('admin', 'invocation/approve', { invocationId })
    await listed(ann, 'ann')
    const visit = await visits(app)
    const { json } = await visit.next(INVOKE)
    expect(json.invocationId).toBe(invocationId)
    await done(visit, json)
    expect((await answer()).ok).toBe(true)
  })

  it('is bounded for each principal and for each limb, and needs the name of a limb', async () => {
    await using app = await startApp(
      { invocation: { maxOfflinePerPrincipal: 2, maxOfflinePerNode: 3 } },
      { memory: true },
    )
    await asleep(app)
    const patient = { ...SNAP, offlineWaitSeconds: 60 }
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    for (let i = 0; i < 2; i++) await send(ann, 'ann', 'invoke', patient)
    await listed(ann, 'ann', 2)
    const ofAnn = await ann.ask('ann', 'invoke', patient)
    expect(ofAnn.error).toMatchObject({ code: 'too_many_requests' })
    expect(ofAnn.error.message).toContain('maxOfflinePerPrincipal')
    await send(bob, 'bob', 'invoke', patient)
    await listed(bob, 'bob', 3)
    const ofLimb = await bob.ask('bob', 'invoke', patient)
    expect(ofLimb.error.message).toContain('maxOfflinePerNode')
    const nobody = { capability: 'camera', command: 'camera.snap', offlineWaitSeconds: 60 }
    expect((await bob.ask('bob', 'invoke', nobody)).error).toMatchObject({
      code: 'invalid_request',
      path: 'offlineWaitSeconds',
    })
    const long = await bob.ask('bob', 'invoke', { ...SNAP, offlineWaitSeconds: 604_801 })
    expect(long.error).toMatchObject({ code: 'invalid_request', path: 'offlineWaitSeconds' })
  })

  it('sends no more at once than the limb works on', async () => {
    await using app = await startApp({ invocation: { maxPerNode: 1 } }, { memory: true })
    await asleep(app)
    const ann = await agent(app, 'ann')
    const answers = []
    for (const n of [1, 2])
      answers.push(await send(ann, 'ann', 'invoke', { ...SNAP, params: { n }, offlineWaitSeconds: 60 }))
    await listed(ann, 'ann', 2)
    const visit = await visits(app)
    const first = await visit.next(INVOKE)
    expect(await listed(ann, 'ann', 1)).toHaveLength(1)
    await done(visit, first.json)
    await done(visit, (await visit.next(INVOKE)).json)
    for (const answer of answers) expect((await answer()).ok).toBe(true)
  })

  it('without a key ends when the session that asked has gone, and with the limb or the principal when those are removed', async () => {
    await using app = await startApp({}, { memory: true })
    await asleep(app)
    const admin = await app.admin()
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const patient = { ...SNAP, offlineWaitSeconds: 3600 }
    await send(ann, 'ann', 'invoke', patient)
    await listed(admin, 'admin', 1)
    await ann.end()
    await listed(admin, 'admin', 0)
    const answer = await send(bob, 'bob', 'invoke', patient)
    await listed(admin, 'admin', 1)
    await admin.do('admin', 'node/revoke', { nodeId: 'r1' })
    expect((await answer()).error).toMatchObject({ code: 'not_found' })
    await listed(admin, 'admin', 0)
  })

  it('leaves the queue for a lease when the limb goes away, and takes the lease on the next visit', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const { leaseId } = await bob.do('bob', 'lease/acquire', { nodeId: 'r1', capability: 'arm' })
    const move = { nodeId: 'r1', command: 'arm.move', waitSeconds: 3600, offlineWaitSeconds: 3600 }
    const answer = await send(ann, 'ann', 'invoke', move)
    await robot.client.end()
    await listed(ann, 'ann')
    await bob.do('bob', 'lease/release', { leaseId })
    const again = await attend(app, 'r1', await app.device('r1', keyOf('r1')))
    const told = await again.next()
    expect(told).toMatchObject({ command: 'arm.move', fence: expect.any(Number) })
    await again.answer(told)
    expect((await answer()).ok).toBe(true)
  })

  it('that an operator approved stays approved over a restart', async () => {
    await using app = await startApp()
    await asleep(app)
    const ann = await agent(app, 'ann')
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/approval/+')
    const cut = { nodeId: 'r1', command: 'saw.cut', offlineWaitSeconds: 3600, idempotencyKey: 'cut' }
    await send(ann, 'ann', 'invoke', cut)
    const { invocationId } = (await admin.next((m) => m.topic.startsWith('limb/bridge/approval/'))).json
    await admin.do('admin', 'invocation/approve', { invocationId })
    await listed(ann, 'ann')
    await app.restart()
    const visit = await visits(app)
    const { json } = await visit.next(INVOKE)
    expect(json).toMatchObject({ invocationId, command: 'saw.cut' })
  })

  it('is an option of the command line', async () => {
    await using app = await startApp({}, { memory: true })
    await asleep(app)
    const admin = await app.admin()
    const started = start([
      ...['invoke', 'camera.snap', '--node-id', 'r1', '--offline-wait-seconds', '3600', '--json'],
      ...['--socket', app.bridge.control],
    ])
    await listed(admin, 'admin')
    const visit = await visits(app)
    await done(visit, (await visit.next(INVOKE)).json)
    const { code, out, err } = await started.exit
    expect([code, err]).toEqual([0, ''])
    expect(JSON.parse(out)).toMatchObject({ nodeId: 'r1' })
  })
})
