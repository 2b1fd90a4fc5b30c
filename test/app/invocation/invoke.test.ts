import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../src/protocol/limits.ts'
import { startApp } from '../../support/app.ts'
import type { Received } from '../../support/client.ts'
import { agent, attend, ROBOT, send, worker } from '../../support/worker.ts'

const SNAP = { nodeId: 'r1', command: 'camera.snap' }

describe('a free call', () => {
  it('reaches the limb with params, principal and deadline, and its result is the response', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', { ...SNAP, params: { zoom: 2 }, timeoutSeconds: 9 })
    const invocation = await robot.next()
    expect(invocation).toEqual({
      invocationId: expect.stringMatching(/^iv_/),
      command: 'camera.snap',
      params: { zoom: 2 },
      principal: 'ann',
      deadline: expect.stringMatching(/^\d{4}-.*Z$/),
    })
    await robot.answer(invocation, { success: true, data: { seen: 'cat' }, artifactUri: 'http://x/1.jpg' })
    expect(await answer()).toMatchObject({
      ok: true,
      data: {
        invocationId: invocation.invocationId,
        nodeId: 'r1',
        data: { seen: 'cat' },
        artifactUri: 'http://x/1.jpg',
      },
    })
    const list = await (await app.admin()).do('admin', 'invocation/list')
    expect(list.items).toMatchObject([
      { invocationId: invocation.invocationId, state: 'done', principal: 'ann' },
    ])
  })

  it('acknowledges its request before the limb has answered', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    // `send` resolves with the PUBACK; a second request of the same session goes through meanwhile.
    const answer = await send(ann, 'ann', 'invoke', SNAP)
    expect((await ann.do('ann', 'node/get', { nodeId: 'r1' })).nodeId).toBe('r1')
    await robot.answer(await robot.next())
    expect((await answer()).ok).toBe(true)
  })

  it('that fails on the limb is a node_error with what the limb said', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', SNAP)
    await robot.answer(await robot.next(), {
      success: false,
      error: { code: 7, message: 'lens\u001b[2J cap' },
    })
    const { error } = await answer()
    expect(error).toMatchObject({ code: 'node_error', details: { nodeError: { code: 7 } } })
    expect(error.message).toBe('r1 says: lens\\x1b[2J cap')
  })

  it.each([
    ['an unknown limb', { nodeId: 'nobody', command: 'camera.snap' }, 'not_found'],
    ['a command that was not approved', { nodeId: 'r1', command: 'camera.format' }, 'unknown_command'],
    ['a command of another capability', { ...SNAP, capability: 'arm' }, 'unknown_command'],
    ['a denied capability', { nodeId: 'r1', command: 'self-destruct.go' }, 'denied'],
    ['neither limb nor capability', { command: 'camera.snap' }, 'invalid_request'],
    ['a capability that nobody has', { capability: 'wings', command: 'camera.snap' }, 'not_found'],
    ['too many params', { ...SNAP, params: 'x'.repeat(262_143) }, 'invalid_request'],
  ])('to %s is refused at once', async (_, args, code) => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    expect((await ann.ask('ann', 'invoke', args)).error.code).toBe(code)
    expect(robot.told).toEqual([])
  })

  it('takes params of 256 KiB and results of 1 MiB, and refuses larger results without waiting', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const params = 'x'.repeat(262_144 - 2)
    const answer = await send(ann, 'ann', 'invoke', { ...SNAP, params })
    const invocation = await robot.next()
    expect(invocation.params).toBe(params)
    const frame = JSON.stringify({ invocationId: invocation.invocationId, success: true, data: '' }).length
    const data = 'y'.repeat(1_048_576 - frame)
    await robot.answer(invocation, { success: true, data })
    expect((await answer()).data.data).toBe(data)

    const second = await send(ann, 'ann', 'invoke', SNAP)
    await robot.answer(await robot.next(), { success: true, data: `${data}z` })
    expect((await second()).error).toMatchObject({
      code: 'node_error',
      message: expect.stringContaining('artifactUri'),
    })
  })

  it('with a number that no reader could take is refused, with its path, from either side', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const request = '{"transaction":7,"nodeId":"r1","command":"camera.snap","params":{"a":[1,{"b":1e400}]}}'
    await ann.mqtt.publishAsync('limb/principal/ann/request/invoke', request, { qos: 1 })
    const refused = (await ann.next((message: Received) => message.json.transaction === 7)).json
    expect(refused.error).toEqual({
      code: 'invalid_request',
      message: expect.stringMatching(/^params\.a\[1\]\.b: is a number beyond .* send it as a string$/),
      path: 'params.a[1].b',
    })
    const answer = await send(ann, 'ann', 'invoke', SNAP)
    const { invocationId } = await robot.next()
    const result = `{"invocationId":"${invocationId}","success":true,"data":[0,-1e400]}`
    await robot.client.mqtt.publishAsync('limb/node/r1/result', result, { qos: 1 })
    expect((await answer()).error).toMatchObject({
      code: 'node_error',
      message: expect.stringContaining('data[1]: is a number beyond'),
    })
    expect(robot.told).toHaveLength(1)
  })

  it('survives JSON that is nested a hundred thousand levels deep, from either side', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    await ann.publish(
      'limb/principal/ann/request/invoke',
      `{"transaction":"d","nodeId":"r1","command":"camera.snap","params":${deep}}`,
    )
    const refused = await ann.next((message) => message.json.transaction === 'd')
    expect(refused.json.error).toMatchObject({ code: 'invalid_request', path: 'params' })

    const answer = await send(ann, 'ann', 'invoke', SNAP)
    const { invocationId } = await robot.next()
    await robot.client.publish(
      'limb/node/r1/result',
      `{"invocationId":"${invocationId}","success":true,"data":${deep}}`,
    )
    expect((await answer()).error.code).toBe('node_error')
  })

  it('ends at once when the result has more parts than the bridge reads, wherever it names the invocation', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', SNAP)
    const { invocationId } = await robot.next()
    const data = `[${'[],'.repeat(LIMITS.jsonParts)}1]`
    await robot.client.publish(
      'limb/node/r1/result',
      `{"data":${data},"success":true,"invocationId":"${invocationId}"}`,
    )
    expect((await answer()).error).toMatchObject({
      code: 'node_error',
      message: expect.stringContaining('data: has more than'),
    })
  })

  it('ends with timeout, and the late result is dropped and counted', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', { ...SNAP, timeoutSeconds: 20 })
    const invocation = await robot.next()
    app.clock.advance(19_999)
    app.clock.advance(1)
    expect((await answer()).error.code).toBe('timeout')
    await robot.answer(invocation)
    expect(app.logLines.some((line) => line.why === 'unknown' && line.nodeId === 'r1')).toBe(true)
    expect((await (await app.admin()).do('admin', 'invocation/list')).items[0].state).toBe('timeout')
  })

  it.each([true, false])(
    'shows a late result (success %s): when it came, in invocation/get, audit and an event',
    async (success) => {
      await using app = await startApp({}, { fakeClock: true, memory: true })
      const [robot, other] = [await worker(app, 'r1'), await worker(app, 'r2')]
      const ann = await agent(app, 'ann')
      const admin = await app.admin()
      await admin.subscribe('limb/bridge/event/invocation_late')
      const answer = await send(ann, 'ann', 'invoke', { ...SNAP, timeoutSeconds: 20 })
      const invocation = await robot.next()
      app.clock.advance(20_000)
      expect((await answer()).error.code).toBe('timeout')
      const { invocationId } = invocation
      // Of another limb it is none.
      await other.answer(invocation, { success: !success })
      app.clock.advance(7000)
      await robot.answer(invocation, { success, error: success ? undefined : 'lens broken' })
      const event = await admin.next('limb/bridge/event/invocation_late')
      expect(event.json).toMatchObject({ invocationId, principal: 'ann', nodeId: 'r1', success })
      // A second one changes nothing.
      await robot.answer(invocation, { success: !success })
      const shown = await admin.do('admin', 'invocation/get', { invocationId })
      expect(shown).toMatchObject({ state: 'timeout', late: { success }, error: { code: 'timeout' } })
      expect(Date.parse(shown.late.at) - Date.parse(shown.endedAt)).toBe(7000)
      const { items } = await admin.do('admin', 'audit/list', { kind: 'invocation.late' })
      expect(items).toMatchObject([
        {
          actor: 'r1',
          nodeId: 'r1',
          outcome: success ? 'done' : 'failed',
          detail: { invocationId, principal: 'ann' },
        },
      ])
    },
  )

  it('goes on until its timeout when a result does not say which call it is of', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', { ...SNAP, timeoutSeconds: 1 })
    await robot.next()
    for (const result of ['not JSON', '{"success":true}', '{"invocationId":7,"success":true}']) {
      await robot.client.mqtt.publishAsync('limb/node/r1/result', result, { qos: 1 })
    }
    expect((await answer()).error.code).toBe('timeout')
  })

  it('logs dropped results once in ten seconds for each limb, and then the newest and how many it left out', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const robot = await worker(app, 'r1')
    const drop = async (times: number) => {
      for (let i = 0; i < times; i++)
        await robot.client.publish('limb/node/r1/result', { invocationId: `iv_${i}`, success: true })
    }
    await drop(4)
    app.clock.advance(10_000)
    await drop(2)
    const lines = app.logLines.filter(({ msg }) => String(msg).startsWith('result of r1 dropped'))
    expect(lines.map(({ suppressed }) => suppressed)).toEqual([0, 2])
  })

  it('takes no answer from another limb', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const thief = await worker(app, 'r2')
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', SNAP)
    const invocation = await robot.next()
    await thief.answer(invocation, { success: true, data: 'forged' })
    await robot.answer(invocation, { success: true, data: 'true' })
    await robot.answer(invocation, { success: true, data: 'twice' })
    expect((await answer()).data.data).toBe('true')
  })

  it('to a limb that is offline, that lacks the capability now, or that does not listen is answered at once', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const deaf = await app.limb('r2', ROBOT)
    await deaf.publish('limb/node/r2/heartbeat')
    await deaf.settle()
    const ann = await agent(app, 'ann')
    expect((await ann.ask('ann', 'invoke', { ...SNAP, nodeId: 'r2' })).error).toMatchObject({
      code: 'node_offline',
      message: expect.stringContaining('limb/node/r2/invoke'),
    })
    await robot.client.publish('limb/node/r1/heartbeat', { unavailable: ['camera'] })
    expect((await ann.ask('ann', 'invoke', SNAP)).error.code).toBe('capability_unavailable')
    await robot.client.publish('limb/node/r1/deregister')
    expect((await ann.ask('ann', 'invoke', SNAP)).error.code).toBe('node_offline')
  })

  it('is answered by a limb that lost its connection meanwhile and came back', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', SNAP)
    const invocation = await robot.next()
    robot.client.cut()
    const again = await attend(app, 'r1', await app.device('r1', `r1-${'k'.repeat(24)}`))
    await again.answer(invocation, { success: true, data: 'late but right' })
    expect((await answer()).data.data).toBe('late but right')
  })

  it('is bounded for each limb and each principal', async () => {
    await using app = await startApp({ invocation: { maxPerNode: 2, maxPerPrincipal: 3 } }, { memory: true })
    const robot = await worker(app, 'r1')
    await worker(app, 'r2')
    const ann = await agent(app, 'ann')
    const first = await send(ann, 'ann', 'invoke', SNAP)
    await send(ann, 'ann', 'invoke', SNAP)
    expect((await ann.ask('ann', 'invoke', SNAP)).error).toMatchObject({ code: 'too_many_requests' })
    await send(ann, 'ann', 'invoke', { ...SNAP, nodeId: 'r2' })
    expect((await ann.ask('ann', 'invoke', { ...SNAP, nodeId: 'r2' })).error.message).toContain(
      'ann has 3 invocations',
    )
    await robot.answer(await robot.next())
    expect((await first()).ok).toBe(true)
    await send(ann, 'ann', 'invoke', SNAP)
    await robot.next()
    expect((await robot.next()).command).toBe('camera.snap')
  })

  it('needs the role agent', async () => {
    await using app = await startApp({}, { memory: true })
    await worker(app, 'r1')
    const eve = await agent(app, 'eve', 'viewer')
    // The broker drops what a viewer may not publish; nobody answers.
    await eve.publish('limb/principal/eve/request/invoke', { transaction: 'x', ...SNAP })
    expect((await eve.do('eve', 'invocation/list')).items).toEqual([])
  })

  it('ends when its limb is revoked, and goes on at its limb when its principal is removed', async () => {
    await using app = await startApp({}, { memory: true })
    await worker(app, 'r1')
    const robot2 = await worker(app, 'r2')
    const ann = await agent(app, 'ann')
    const admin = await app.admin()
    const answer = await send(ann, 'ann', 'invoke', SNAP)
    await admin.do('admin', 'node/revoke', { nodeId: 'r1' })
    expect((await answer()).error.code).toBe('not_found')
    await send(ann, 'ann', 'invoke', { ...SNAP, nodeId: 'r2' })
    const underWay = await robot2.next()
    await admin.do('admin', 'principal/remove', { name: 'ann' })
    const states = async () =>
      (await admin.do('admin', 'invocation/list')).items.map((item: { state: string }) => item.state)
    expect(await states()).toEqual(['running', 'failed'])
    await robot2.answer(underWay)
    await expect.poll(states).toEqual(['done', 'failed'])
  })
})

describe('an idempotency key', () => {
  const KEYED = { ...SNAP, params: { n: 1 }, idempotencyKey: 'once' }

  it('gives the first answer to both while the call is under way, afterwards, and after a restart', async () => {
    await using app = await startApp()
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const first = await send(ann, 'ann', 'invoke', KEYED)
    const invocation = await robot.next()
    const second = await send(ann, 'ann', 'invoke', KEYED)
    await robot.answer(invocation, { success: true, data: 'first' })
    const { data } = await first()
    expect(data).toMatchObject({ data: 'first' })
    expect((await second()).data).toEqual(data)
    expect((await ann.ask('ann', 'invoke', KEYED)).data).toEqual(data)
    await app.restart()
    const again = await app.principal('ann', 'ann-password')
    expect((await again.ask('ann', 'invoke', KEYED)).data).toEqual(data)
    expect(robot.told).toHaveLength(1)
  })

  it('is a conflict for other arguments, and another principal has keys of its own', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const first = await send(ann, 'ann', 'invoke', KEYED)
    expect((await ann.ask('ann', 'invoke', { ...KEYED, params: { n: 2 } })).error.code).toBe('conflict')
    await robot.answer(await robot.next())
    await first()
    expect((await ann.ask('ann', 'invoke', { ...KEYED, params: { n: 2 } })).error.code).toBe('conflict')
    const other = await send(bob, 'bob', 'invoke', { ...KEYED, params: { n: 3 } })
    await robot.answer(await robot.next())
    expect((await other()).ok).toBe(true)
  })

  it('gives the stored answer although the policy says no by now, and runs nothing', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const first = await send(ann, 'ann', 'invoke', KEYED)
    await robot.answer(await robot.next())
    const { data } = await first()
    const admin = await app.admin()
    await admin.do('admin', 'policy/set', { principal: 'ann', nodeId: '*', capability: '*', level: 'denied' })
    expect((await ann.ask('ann', 'invoke', KEYED)).data).toEqual(data)
    expect((await ann.ask('ann', 'invoke', { ...KEYED, idempotencyKey: 'new' })).error.code).toBe('denied')
    expect(robot.told).toHaveLength(1)
  })

  it('is not used up by a call that never reached a limb', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    await robot.client.publish('limb/node/r1/heartbeat', { status: 'offline' })
    expect((await ann.ask('ann', 'invoke', KEYED)).error.code).toBe('node_offline')
    await robot.client.publish('limb/node/r1/heartbeat')
    const answer = await send(ann, 'ann', 'invoke', KEYED)
    await robot.answer(await robot.next())
    expect((await answer()).ok).toBe(true)
  })

  it('of a principal that is removed is nothing to one that is added under its name', async () => {
    await using app = await startApp()
    const robot = await worker(app, 'r1')
    const admin = await app.admin()
    const ann = await agent(app, 'ann')
    const first = await send(ann, 'ann', 'invoke', KEYED)
    await robot.answer(await robot.next())
    await first()
    // This one ends after the removal.
    await send(ann, 'ann', 'invoke', { ...KEYED, idempotencyKey: 'late' })
    const late = await robot.next()
    await admin.do('admin', 'principal/remove', { name: 'ann' })
    await robot.answer(late)
    await expect
      .poll(async () => (await admin.do('admin', 'invocation/list', { state: 'done' })).items)
      .toHaveLength(2)
    expect(await app.sql('SELECT * FROM invocation_answers')).toEqual([])

    const another = await agent(app, 'ann')
    for (const idempotencyKey of ['once', 'late']) {
      const params = { n: 2 }
      const answer = await send(another, 'ann', 'invoke', { ...KEYED, idempotencyKey, params })
      await robot.answer(await robot.next(), { success: true, data: 'hers' })
      expect((await answer()).data).toMatchObject({ data: 'hers' })
    }
  })

  it('does not end when the clock is set, as on a board that booted in 1970', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const first = await send(ann, 'ann', 'invoke', KEYED)
    await robot.answer(await robot.next())
    const { data } = await first()
    app.clock.jumpWall(56 * 365 * 86_400_000)
    expect((await ann.ask('ann', 'invoke', KEYED)).data).toEqual(data)
    expect(robot.told).toHaveLength(1)
  })

  it('ends after a day', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const first = await send(ann, 'ann', 'invoke', KEYED)
    await robot.answer(await robot.next())
    await first()
    app.clock.advance(86_400_001)
    await robot.client.publish('limb/node/r1/heartbeat')
    await robot.client.settle()
    const second = await send(ann, 'ann', 'invoke', KEYED)
    await robot.answer(await robot.next())
    expect((await second()).ok).toBe(true)
  })
})

describe('a call without a limb', () => {
  it('goes to one that is online and allowed: free before leased before gated, the least busy first', async () => {
    await using app = await startApp({}, { memory: true })
    const robots = { r1: await worker(app, 'r1'), r2: await worker(app, 'r2'), r3: await worker(app, 'r3') }
    await app.limb('r0', ROBOT)
    const admin = await app.admin()
    const ann = await agent(app, 'ann')
    const set = (nodeId: string, level: string) =>
      admin.do('admin', 'policy/set', { principal: 'ann', nodeId, capability: 'camera', level })
    const any = { capability: 'camera', command: 'camera.snap' }
    await set('r1', 'gated')
    await set('r2', 'leased')
    const first = await send(ann, 'ann', 'invoke', any)
    const one = await robots.r3.next()
    // r3 is busy but free; a lease would be needed on r2.
    const second = await send(ann, 'ann', 'invoke', any)
    const two = await robots.r3.next()
    await robots.r3.answer(one)
    await robots.r3.answer(two)
    expect((await first()).data.nodeId).toBe('r3')
    await second()
    await set('r1', 'free')
    const busy = await send(ann, 'ann', 'invoke', { ...any, nodeId: 'r1' })
    const onR1 = await robots.r1.next()
    const third = await send(ann, 'ann', 'invoke', any)
    await robots.r3.answer(await robots.r3.next())
    expect((await third()).data.nodeId).toBe('r3')
    await robots.r1.answer(onR1)
    await busy()
    await set('*', 'denied')
    await set('r1', 'denied')
    await set('r2', 'denied')
    expect((await ann.ask('ann', 'invoke', any)).error.code).toBe('denied')
  })

  it.each([
    ['free', 'camera', 'camera.snap'],
    ['leased', 'arm', 'arm.move'],
  ])('that comes with others at once goes to an idle limb: %s', async (_level, capability, command) => {
    await using app = await startApp({ invocation: { maxPerNode: 1 } }, { memory: true })
    const robots = [await worker(app, 'r1'), await worker(app, 'r2'), await worker(app, 'r3')]
    const ann = await agent(app, 'ann')
    const answers = await Promise.all(robots.map(() => send(ann, 'ann', 'invoke', { capability, command })))
    for (const robot of robots) await robot.answer(await robot.next())
    const ended = await Promise.all(answers.map((answer) => answer()))
    expect(ended.map(({ data }) => data?.nodeId).sort()).toEqual(['r1', 'r2', 'r3'])
  })

  it('leaves out a limb that works on as many calls as it may, and says so when all do', async () => {
    await using app = await startApp({ invocation: { maxPerNode: 1 } }, { memory: true })
    const first = await worker(app, 'r1')
    const second = await worker(app, 'r2')
    const ann = await agent(app, 'ann')
    const admin = await app.admin()
    const entry = { principal: '*', nodeId: 'r2', capability: 'camera', level: 'leased' }
    await admin.do('admin', 'policy/set', entry)
    const any = { capability: 'camera', command: 'camera.snap' }
    // r1 is the better one, until it is busy.
    await send(ann, 'ann', 'invoke', any)
    await first.next()
    await send(ann, 'ann', 'invoke', any)
    await second.next()
    expect((await ann.ask('ann', 'invoke', any)).error.code).toBe('too_many_requests')
  })

  it('says node_offline when all that have the capability are', async () => {
    await using app = await startApp({}, { memory: true })
    await app.limb('r0', ROBOT)
    const ann = await agent(app, 'ann')
    const answer = await ann.ask('ann', 'invoke', { capability: 'camera', command: 'camera.snap' })
    expect(answer.error.code).toBe('node_offline')
  })
})
