import { describe, expect, it } from 'vitest'
import { startApp, type TestApp } from '../../support/app.ts'
import type { Loose, TestClient } from '../../support/client.ts'
import { agent, send, worker } from '../../support/worker.ts'

const CUT = { nodeId: 'r1', command: 'saw.cut', params: { depth: 3 } }
const MOVE = { nodeId: 'r1', command: 'arm.move', waitSeconds: 60 }

/** An operator who sees approvals and how invocations end. */
async function operator(app: TestApp): Promise<TestClient> {
  const admin = await app.admin()
  await admin.subscribe([
    'limb/bridge/approval/+',
    'limb/bridge/event/invocation_ended',
    'limb/principal/admin/response/#',
  ])
  return admin
}

async function asked(admin: TestClient, accepts: (approval: Loose) => boolean = () => true): Promise<Loose> {
  const message = await admin.next(
    ({ topic, text, json }) => topic.includes('/approval/') && text !== '' && accepts(json),
  )
  return message.json
}

async function ended(admin: TestClient, invocationId: string): Promise<Loose> {
  return (
    await admin.next(({ topic, json }) => topic.endsWith('_ended') && json.invocationId === invocationId)
  ).json
}

async function stateOf(admin: TestClient, invocationId: string): Promise<Loose> {
  return admin.do('admin', 'invocation/get', { invocationId })
}

describe('invocation/cancel', () => {
  it('takes back an invocation that waits for an operator, on record, and no approval runs it', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    const answer = await send(ann, 'ann', 'invoke', CUT)
    const { invocationId } = await asked(admin)
    const cancelled = await ann.do('ann', 'invocation/cancel', { invocationId, reason: 'wrong depth' })
    expect(cancelled).toEqual({ invocationId, state: 'cancelled' })
    expect((await answer()).error).toMatchObject({
      code: 'cancelled',
      message: 'ann cancelled it: wrong depth; it did not run',
      details: { invocationId, nodeId: 'r1' },
    })
    expect(await ended(admin, invocationId)).toMatchObject({ state: 'cancelled', error: 'cancelled' })
    await admin.next(({ topic, text }) => topic.endsWith(invocationId) && text === '')
    expect((await admin.ask('admin', 'invocation/approve', { invocationId })).error.code).toBe('conflict')
    expect(await stateOf(admin, invocationId)).toMatchObject({ state: 'cancelled', reason: 'wrong depth' })
    const { items } = await admin.do('admin', 'audit/list', { kind: 'invocation.ended' })
    expect(items[0]).toMatchObject({
      actor: 'ann',
      outcome: 'cancelled',
      detail: { invocationId, reason: 'wrong depth' },
    })
    expect((await admin.do('admin', 'invocation/list', { state: 'cancelled' })).items).toHaveLength(1)
    // To cancel it once more says what is so.
    expect(await ann.do('ann', 'invocation/cancel', { invocationId })).toEqual(cancelled)
    expect(robot.told).toEqual([])
  })

  it('takes back one that queues for a lease, and the next in the queue keeps its place', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const [ann, bob] = [await agent(app, 'ann'), await agent(app, 'bob')]
    const admin = await operator(app)
    const lease = await bob.do('bob', 'lease/acquire', { nodeId: 'r1', capability: 'arm' })
    const first = await send(ann, 'ann', 'invoke', MOVE)
    const second = await send(ann, 'ann', 'invoke', { ...MOVE, command: 'arm.home' })
    let queued: Loose[] = []
    while (queued.length < 2) {
      queued = (await ann.do('ann', 'invocation/list', { state: 'queued', order: 'oldest' })).items
    }
    await ann.do('ann', 'invocation/cancel', { invocationId: queued[0].invocationId })
    expect((await first()).error.code).toBe('cancelled')
    await bob.do('bob', 'lease/release', { leaseId: lease.leaseId })
    const told = await robot.next()
    expect(told.command).toBe('arm.home')
    await robot.answer(told)
    expect((await second()).ok).toBe(true)
    expect(await stateOf(admin, queued[0].invocationId)).toMatchObject({ state: 'cancelled' })
  })

  it('is a conflict for one that runs or has ended, and forbidden for that of another agent', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const [ann, bob] = [await agent(app, 'ann'), await agent(app, 'bob')]
    const admin = await operator(app)
    const answer = await send(ann, 'ann', 'invoke', { nodeId: 'r1', command: 'camera.snap' })
    const told = await robot.next()
    const { invocationId } = told
    expect((await ann.ask('ann', 'invocation/cancel', { invocationId })).error).toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('runs on r1 already'),
    })
    await robot.answer(told)
    expect((await answer()).ok).toBe(true)
    expect((await ann.ask('ann', 'invocation/cancel', { invocationId })).error.message).toContain(
      'it is done',
    )
    await send(ann, 'ann', 'invoke', CUT)
    const waits = await asked(admin)
    expect(
      (await bob.ask('bob', 'invocation/cancel', waits && { invocationId: waits.invocationId })).error.code,
    ).toBe('forbidden')
    expect((await ann.ask('ann', 'invocation/cancel', { invocationId: 'iv_none' })).error.code).toBe(
      'not_found',
    )
    await admin.do('admin', 'invocation/cancel', { invocationId: waits.invocationId })
    expect((await ended(admin, waits.invocationId)).state).toBe('cancelled')
  })

  it('leaves the idempotency key free', async () => {
    await using app = await startApp({}, { memory: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    const keyed = { ...CUT, idempotencyKey: 'k' }
    await send(ann, 'ann', 'invoke', keyed)
    const first = await asked(admin)
    await ann.do('ann', 'invocation/cancel', { invocationId: first.invocationId })
    await send(ann, 'ann', 'invoke', keyed)
    expect((await asked(admin)).invocationId).not.toBe(first.invocationId)
  })

  it('and an approval at the same moment agree: either it runs or it is cancelled', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    for (let i = 0; i < 6; i++) {
      const answer = await send(ann, 'ann', 'invoke', CUT)
      const { invocationId } = await asked(admin)
      const [approve, cancel] = await Promise.all([
        send(admin, 'admin', 'invocation/approve', { invocationId }),
        send(ann, 'ann', 'invocation/cancel', { invocationId }),
      ])
      const before = robot.told.length
      if ((await cancel()).ok) {
        expect((await answer()).error.code).toBe('cancelled')
        await approve()
        expect(robot.told).toHaveLength(before)
      } else {
        expect((await approve()).ok).toBe(true)
        await robot.answer(await robot.next())
        expect((await answer()).ok).toBe(true)
      }
    }
  })
})

describe('the end of the session that asked', () => {
  it.each([
    ['a DISCONNECT', (client: TestClient) => client.end()],
    ['a lost connection', async (client: TestClient) => client.cut()],
  ])(
    'cancels what waits for an operator (%s), and an approval afterwards runs nothing',
    async (_how, leave) => {
      await using app = await startApp({}, { memory: true })
      const robot = await worker(app, 'r1')
      const ann = await agent(app, 'ann')
      const admin = await operator(app)
      await send(ann, 'ann', 'invoke', CUT)
      const { invocationId } = await asked(admin)
      await leave(ann)
      expect(await ended(admin, invocationId)).toMatchObject({ state: 'cancelled' })
      expect((await admin.ask('admin', 'invocation/approve', { invocationId })).error.code).toBe('conflict')
      expect((await stateOf(admin, invocationId)).error.message).toContain('the session that asked has ended')
      expect(robot.told).toEqual([])
    },
  )

  it('cancels what it asked for in the packet before its DISCONNECT, as mosquitto_pub does', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    ann.mqtt.publish('limb/principal/ann/request/invoke', JSON.stringify(CUT), { qos: 0 })
    await ann.end()
    const ending = await admin.next(({ topic }) => topic.endsWith('_ended'))
    expect(ending.json.state).toBe('cancelled')
    expect(robot.told).toEqual([])
  })

  it('cancels what queues for a lease at once, not when its turn comes', async () => {
    await using app = await startApp({}, { memory: true })
    await worker(app, 'r1')
    const [ann, bob] = [await agent(app, 'ann'), await agent(app, 'bob')]
    const admin = await operator(app)
    await bob.do('bob', 'lease/acquire', { nodeId: 'r1', capability: 'arm' })
    await send(ann, 'ann', 'invoke', MOVE)
    let items: Loose[] = []
    while (items.length === 0) items = (await bob.do('bob', 'invocation/list', { state: 'queued' })).items
    await ann.end()
    expect((await ended(admin, items[0].invocationId)).state).toBe('cancelled')
    expect((await bob.do('bob', 'lease/list')).items).toMatchObject([{ queued: 0 }])
  })

  it('leaves what runs alone: a free invocation that was sent and left runs', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    ann.mqtt.publish(
      'limb/principal/ann/request/invoke',
      JSON.stringify({ nodeId: 'r1', command: 'camera.snap' }),
      { qos: 0 },
    )
    await ann.end()
    const told = await robot.next()
    await robot.answer(told)
    expect((await ended(admin, told.invocationId)).state).toBe('done')
  })

  it('leaves one with a key waiting, shown as of a caller that is away, until it asks again', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    const keyed = { ...CUT, idempotencyKey: 'k' }
    await send(ann, 'ann', 'invoke', keyed)
    const approval = await asked(admin)
    const { invocationId } = approval
    expect(approval).not.toHaveProperty('callerAway')
    await ann.end()
    expect(await asked(admin)).toEqual({ ...approval, callerAway: true })
    expect(await stateOf(admin, invocationId)).toMatchObject({ state: 'waiting', callerAway: true })
    const back = await app.principal('ann', 'ann-password')
    await back.subscribe('limb/principal/ann/response/#')
    const answer = await send(back, 'ann', 'invoke', keyed)
    expect(await asked(admin)).not.toHaveProperty('callerAway')
    await admin.do('admin', 'invocation/approve', { invocationId })
    await robot.answer(await robot.next())
    expect((await answer()).data.invocationId).toBe(invocationId)
    expect(await stateOf(admin, invocationId)).not.toHaveProperty('callerAway')
  })

  it('counts a session as the one that asked, not another one of the same principal', async () => {
    await using app = await startApp({}, { memory: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const other = await app.principal('ann', 'ann-password')
    const admin = await operator(app)
    await send(ann, 'ann', 'invoke', CUT)
    const { invocationId, transaction } = await asked(admin)
    expect(transaction).toMatch(/^later-/)
    await other.end()
    expect((await stateOf(admin, invocationId)).state).toBe('waiting')
    await ann.end()
    expect((await ended(admin, invocationId)).state).toBe('cancelled')
  })
})
