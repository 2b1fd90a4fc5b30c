import { describe, expect, it } from 'vitest'
import { startApp, type TestApp } from '../../support/app.ts'
import type { TestClient } from '../../support/client.ts'
import { agent, attend, ROBOT, send, worker } from '../../support/worker.ts'

const CUT = { nodeId: 'r1', command: 'saw.cut', params: { depth: 3 } }

/** An operator who watches the approvals. */
async function operator(app: TestApp): Promise<TestClient> {
  const admin = await app.admin()
  await admin.subscribe(['limb/bridge/approval/+', 'limb/principal/admin/response/#'])
  return admin
}

async function asked(admin: TestClient) {
  return (await admin.next((message) => message.topic.includes('/approval/') && message.text !== '')).json
}

describe('a gated call', () => {
  it('waits on a retained topic until it is approved, runs once, and the topic is cleared', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    const answer = await send(ann, 'ann', 'invoke', CUT)
    const approval = await asked(admin)
    expect(approval).toMatchObject({
      ...CUT,
      principal: 'ann',
      capability: 'saw',
      paramsBytes: 11,
      paramsHash: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    const late = await app.admin()
    await late.subscribe('limb/bridge/approval/+')
    expect((await asked(late)).invocationId).toBe(approval.invocationId)
    expect(robot.told).toEqual([])

    const { invocationId, paramsHash } = approval
    const wrong = await admin.ask('admin', 'invocation/approve', { invocationId, paramsHash: 'f00' })
    expect(wrong.error).toMatchObject({ code: 'conflict', path: 'paramsHash' })
    const approved = await admin.do('admin', 'invocation/approve', {
      invocationId,
      paramsHash,
      reason: 'looks safe',
    })
    expect(approved).toMatchObject({ state: 'running', decidedBy: 'admin', reason: 'looks safe' })
    await late.next((message) => message.topic.endsWith(invocationId) && message.text === '')
    await robot.answer(await robot.next())
    expect((await answer()).ok).toBe(true)
    expect((await admin.ask('admin', 'invocation/approve', { invocationId })).error.code).toBe('conflict')
    expect((await admin.ask('admin', 'invocation/deny', { invocationId })).error.code).toBe('conflict')
    // The next call of the same kind is another question.
    await send(ann, 'ann', 'invoke', CUT)
    expect((await asked(admin)).invocationId).not.toBe(invocationId)
    expect(robot.told).toHaveLength(1)
  })

  it('is denied with the reason', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    const answer = await send(ann, 'ann', 'invoke', { ...CUT, idempotencyKey: 'k' })
    const { invocationId } = await asked(admin)
    await admin.do('admin', 'invocation/deny', { invocationId, reason: 'too deep' })
    const { error } = await answer()
    expect(error).toMatchObject({
      code: 'denied',
      message: 'admin denied it: too deep',
      details: { invocationId },
    })
    // A no is an answer: the same key does not ask again.
    expect((await ann.ask('ann', 'invoke', { ...CUT, idempotencyKey: 'k' })).error).toEqual(error)
    const { items } = await admin.do('admin', 'audit/list', { kind: 'invocation.denied' })
    expect(items).toMatchObject([
      { actor: 'admin', nodeId: 'r1', detail: { invocationId, reason: 'too deep' } },
    ])
    expect(robot.told).toEqual([])
  })

  it('expires when nobody decides', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    const answer = await send(ann, 'ann', 'invoke', CUT)
    const { invocationId } = await asked(admin)
    app.clock.advance(300_000)
    expect((await answer()).error.code).toBe('expired')
    await admin.next((message) => message.topic.endsWith(invocationId) && message.text === '')
    expect((await admin.ask('admin', 'invocation/approve', { invocationId })).error.code).toBe('conflict')
    expect(robot.told).toEqual([])
  })

  it('that has expired may be asked again with the same idempotency key', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    const keyed = { ...CUT, idempotencyKey: 'k' }
    const answer = await send(ann, 'ann', 'invoke', keyed)
    await asked(admin)
    app.clock.advance(300_000)
    expect((await answer()).error.code).toBe('expired')
    await robot.client.publish('limb/node/r1/heartbeat')
    const again = await send(ann, 'ann', 'invoke', keyed)
    await admin.do('admin', 'invocation/approve', { invocationId: (await asked(admin)).invocationId })
    await robot.answer(await robot.next())
    expect((await again()).ok).toBe(true)
  })

  it.each(['approve', 'deny'])(
    'is told as decided (%s) after it is shown as waiting no more',
    async (verb) => {
      await using app = await startApp({}, { memory: true })
      await worker(app, 'r1')
      const ann = await agent(app, 'ann')
      const admin = await operator(app)
      await admin.subscribe('limb/bridge/event/+')
      await send(ann, 'ann', 'invoke', CUT)
      const { invocationId } = await asked(admin)
      await send(admin, 'admin', `invocation/${verb}`, { invocationId })
      const told = /event\/invocation_(approved|denied)$/
      const first = await admin.next(
        ({ topic, text }) => told.test(topic) || (topic.endsWith(invocationId) && text === ''),
      )
      expect(first.topic).toBe(`limb/bridge/approval/${invocationId}`)
      expect((await admin.next(({ topic }) => told.test(topic))).json.invocationId).toBe(invocationId)
    },
  )

  it.each([
    ['the policy denies it now', 'denied'],
    ['the limb is offline now', 'node_offline'],
    ['the command is no longer offered', 'unknown_command'],
    ['the limb does not listen any more', 'node_offline'],
  ])('is checked again at dispatch: %s', async (how, code) => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    const answer = await send(ann, 'ann', 'invoke', CUT)
    const { invocationId } = await asked(admin)
    const topic = 'limb/node/r1'
    if (how.includes('policy')) {
      await admin.do('admin', 'policy/set', {
        principal: 'ann',
        nodeId: '*',
        capability: 'saw',
        level: 'denied',
      })
    } else if (how.includes('offline')) await robot.client.publish(`${topic}/deregister`)
    else if (how.includes('listen')) await robot.client.mqtt.unsubscribeAsync(`${topic}/invoke`)
    else {
      await robot.client.publish(`${topic}/register`, {
        ...ROBOT,
        capabilities: ROBOT.capabilities.slice(0, 2),
      })
      await robot.client.next(`${topic}/pairing`)
    }
    const approved = await admin.do('admin', 'invocation/approve', { invocationId })
    expect(approved.error.code).toBe(code)
    expect((await answer()).error.code).toBe(code)
    expect(robot.told).toEqual([])
  })

  it('that two operators decide at once is decided once', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    const other = await operator(app)
    const answer = await send(ann, 'ann', 'invoke', CUT)
    const { invocationId } = await asked(admin)
    const answers = await Promise.all([
      send(admin, 'admin', 'invocation/approve', { invocationId }),
      send(other, 'admin', 'invocation/deny', { invocationId }),
    ])
    const outcomes = await Promise.all(answers.map(async (each) => (await each()).ok))
    expect(outcomes.filter(Boolean)).toHaveLength(1)
    if (outcomes[0]) await robot.answer(await robot.next())
    expect((await answer()).ok).toBe(outcomes[0])
  })

  it('shows long params by their beginning, and whole on request', async () => {
    await using app = await startApp({}, { memory: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    const params = { path: 'p'.repeat(40_000) }
    await send(ann, 'ann', 'invoke', { ...CUT, params })
    const approval = await asked(admin)
    expect(approval.params).toBeUndefined()
    expect(approval.paramsStart).toBe(JSON.stringify(params).slice(0, 16_384))
    const shown = await admin.do('admin', 'invocation/get', { invocationId: approval.invocationId })
    expect(shown).toMatchObject({ params, expiresAt: approval.expiresAt, state: 'waiting' })
  })

  it('is bounded in number, and a full house says so', async () => {
    await using app = await startApp({ invocation: { maxWaiting: 1 } }, { memory: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    await send(ann, 'ann', 'invoke', CUT)
    expect((await ann.ask('ann', 'invoke', CUT)).error.code).toBe('too_many_requests')
  })
})

describe('a floor of gated', () => {
  it('gates what policy and limb call free, and explains itself', async () => {
    await using app = await startApp({ policy: { floor: 'gated' } }, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    const entry = { principal: 'ann', nodeId: 'r1', capability: 'camera' }
    await admin.do('admin', 'policy/set', { ...entry, level: 'free' })
    expect(await admin.do('admin', 'policy/explain', entry)).toMatchObject({
      level: 'gated',
      decidedBy: 'policy',
      raisedFrom: 'free',
    })
    const answer = await send(ann, 'ann', 'invoke', { nodeId: 'r1', command: 'camera.snap' })
    const { invocationId } = await asked(admin)
    await admin.do('admin', 'invocation/approve', { invocationId })
    await robot.answer(await robot.next())
    expect((await answer()).ok).toBe(true)
  })
})

describe('a stop of the bridge', () => {
  it('answers every caller, and what was under way is interrupted on record and for its key', async () => {
    await using app = await startApp()
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await operator(app)
    const waiting = await send(ann, 'ann', 'invoke', { ...CUT, idempotencyKey: 'a' })
    const running = await send(ann, 'ann', 'invoke', {
      nodeId: 'r1',
      command: 'camera.snap',
      idempotencyKey: 'b',
    })
    await asked(admin)
    await robot.next()
    await app.restart()
    expect((await waiting()).error.code).toBe('internal')
    expect((await running()).error.message).toContain('bridge restarted')
    const again = await app.principal('ann', 'ann-password')
    const { items } = await again.do('ann', 'invocation/list')
    expect(items.map((item: { state: string }) => item.state)).toEqual(['interrupted', 'interrupted'])
    const robotAgain = await attend(app, 'r1', await app.device('r1', `r1-${'k'.repeat(24)}`))
    const repeated = await again.ask('ann', 'invoke', {
      nodeId: 'r1',
      command: 'camera.snap',
      idempotencyKey: 'b',
    })
    expect(repeated.error).toMatchObject({ code: 'internal', message: expect.stringContaining('restarted') })
    expect(robotAgain.told).toEqual([])
  })
})
