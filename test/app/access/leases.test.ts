import { describe, expect, it } from 'vitest'
import { keyOf, startApp } from '../../support/app.ts'
import { agent, attend, ROBOT, send, worker } from '../../support/worker.ts'

const ARM = { nodeId: 'r1', capability: 'arm' }
const MOVE = { nodeId: 'r1', command: 'arm.move' }

describe('a lease', () => {
  it('lets its principal call and nobody else, and its fence goes to the limb', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const lease = await ann.do('ann', 'lease/acquire', { ...ARM, ttlSeconds: 60 })
    expect(lease).toMatchObject({ ...ARM, principal: 'ann', fence: 1, singleCall: false, queued: 0 })
    expect((await bob.ask('bob', 'invoke', MOVE)).error).toMatchObject({
      code: 'leased',
      details: { holder: 'ann', until: lease.expiresAt },
    })
    expect((await bob.ask('bob', 'lease/acquire', ARM)).error.code).toBe('leased')
    const two = [await send(ann, 'ann', 'invoke', MOVE), await send(ann, 'ann', 'invoke', MOVE)]
    for (const answer of two) {
      const invocation = await robot.next()
      expect(invocation.fence).toBe(1)
      await robot.answer(invocation)
      expect((await answer()).ok).toBe(true)
    }
    expect((await bob.ask('bob', 'lease/release', { leaseId: lease.leaseId })).error.code).toBe('not_found')
    await ann.do('ann', 'lease/release', { leaseId: lease.leaseId })
    expect((await bob.do('bob', 'lease/acquire', ARM)).fence).toBe(2)
  })

  it('that is taken again by its holder is the same one, with a later end', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const first = await ann.do('ann', 'lease/acquire', { ...ARM, ttlSeconds: 60 })
    app.clock.advance(10_000)
    const second = await ann.do('ann', 'lease/acquire', { ...ARM, ttlSeconds: 60 })
    expect(second).toMatchObject({ leaseId: first.leaseId, fence: first.fence })
    expect(Date.parse(second.expiresAt) - Date.parse(first.expiresAt)).toBe(10_000)
  })

  it('ends by itself, so that an agent that crashed locks nothing for longer', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const lease = await ann.do('ann', 'lease/acquire', { ...ARM, ttlSeconds: 60 })
    ann.cut()
    const answer = await send(bob, 'bob', 'lease/acquire', { ...ARM, waitSeconds: 120 })
    await bob.settle()
    app.clock.advance(59_999)
    expect((await bob.do('bob', 'lease/list')).items).toMatchObject([{ principal: 'ann', queued: 1 }])
    app.clock.advance(1)
    expect((await answer()).data).toMatchObject({ principal: 'bob', fence: lease.fence + 1 })
  })

  it('lasts as long as it is renewed, and not at all for others', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const { leaseId } = await ann.do('ann', 'lease/acquire', { ...ARM, ttlSeconds: 60 })
    expect((await bob.ask('bob', 'lease/renew', { leaseId })).error.code).toBe('not_found')
    for (let i = 0; i < 5; i++) {
      app.clock.advance(50_000)
      await ann.do('ann', 'lease/renew', { leaseId, ttlSeconds: 60 })
    }
    app.clock.advance(60_000)
    expect((await ann.ask('ann', 'lease/renew', { leaseId })).error.code).toBe('not_found')
  })

  it('does not end while its bridge stood still and its renewal was waiting to be read', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const { leaseId } = await ann.do('ann', 'lease/acquire', { ...ARM, ttlSeconds: 60 })
    app.clock.standStill(90_000)
    expect((await bob.ask('bob', 'lease/acquire', ARM)).error.code).toBe('leased')
    await ann.do('ann', 'lease/renew', { leaseId, ttlSeconds: 60 })
    app.clock.advance(59_999)
    expect((await bob.ask('bob', 'lease/acquire', ARM)).error.code).toBe('leased')
    // Nobody renews it this time: it ends when whatever was sent could be heard.
    app.clock.standStill(90_000)
    app.clock.advance(2000)
    await bob.do('bob', 'lease/acquire', ARM)
  })

  it('is waited for in the order of asking, and a waiter that has gone is passed over', async () => {
    await using app = await startApp({}, { memory: true })
    await worker(app, 'r1')
    const [ann, bob, cid, dot] = [
      await agent(app, 'ann'),
      await agent(app, 'bob'),
      await agent(app, 'cid'),
      await agent(app, 'dot'),
    ]
    const { leaseId } = await ann.do('ann', 'lease/acquire', ARM)
    await send(bob, 'bob', 'lease/acquire', { ...ARM, waitSeconds: 60 })
    const third = await send(cid, 'cid', 'lease/acquire', { ...ARM, waitSeconds: 60 })
    const fourth = await send(dot, 'dot', 'lease/acquire', { ...ARM, waitSeconds: 60 })
    await bob.end()
    await ann.do('ann', 'lease/release', { leaseId })
    const lease = (await third()).data
    expect(lease).toMatchObject({ principal: 'cid', queued: 1 })
    await cid.do('cid', 'lease/release', { leaseId: lease.leaseId })
    expect((await fourth()).data.principal).toBe('dot')
  })

  it('that ends in the moment in which a waiter gives up passes to the next one', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    await worker(app, 'r1')
    const [ann, bob, cid] = [await agent(app, 'ann'), await agent(app, 'bob'), await agent(app, 'cid')]
    const { leaseId } = await ann.do('ann', 'lease/acquire', { ...ARM, ttlSeconds: 30 })
    app.clock.advance(10_000)
    const second = await send(bob, 'bob', 'lease/acquire', { ...ARM, waitSeconds: 50 })
    await bob.settle()
    const third = await send(cid, 'cid', 'lease/acquire', { ...ARM, waitSeconds: 60 })
    await cid.settle()
    app.clock.advance(10_000)
    // From now on the lease ends with the wait, and is looked at after it.
    const { expiresAt } = await ann.do('ann', 'lease/renew', { leaseId, ttlSeconds: 40 })
    app.clock.advance(40_000)
    expect((await second()).error).toMatchObject({
      code: 'leased',
      details: { holder: 'ann', until: expiresAt },
    })
    expect((await third()).data).toMatchObject({ principal: 'cid', fence: 2 })
  })

  it('is not for what is gated or denied, nor for what the limb does not have', async () => {
    await using app = await startApp({}, { memory: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const ask = async (capability: string) =>
      (await ann.ask('ann', 'lease/acquire', { nodeId: 'r1', capability })).error.code
    expect(await ask('saw')).toBe('denied')
    expect(await ask('self-destruct')).toBe('denied')
    expect(await ask('wings')).toBe('not_found')
  })

  it('ends with its principal, its limb, or by an operator', async () => {
    await using app = await startApp({}, { memory: true })
    await worker(app, 'r1')
    await worker(app, 'r2')
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const admin = await app.admin()
    await ann.do('ann', 'lease/acquire', ARM)
    await bob.do('bob', 'lease/acquire', { ...ARM, nodeId: 'r2' })
    await admin.do('admin', 'principal/remove', { name: 'ann' })
    expect((await admin.do('admin', 'lease/list')).items).toMatchObject([{ principal: 'bob' }])
    const { leaseId } = await bob.do('bob', 'lease/acquire', ARM)
    await admin.do('admin', 'lease/release', { leaseId })
    await admin.do('admin', 'node/revoke', { nodeId: 'r2' })
    expect((await admin.do('admin', 'lease/list')).items).toEqual([])
    const { items } = await admin.do('admin', 'audit/list', { kind: 'lease.' })
    expect(items.map((row: { kind: string; outcome: string }) => [row.kind, row.outcome])).toEqual([
      ['lease.ended', 'node_revoked'],
      ['lease.released', 'released'],
      ['lease.granted', 'granted'],
      ['lease.ended', 'principal_removed'],
      ['lease.granted', 'granted'],
      ['lease.granted', 'granted'],
    ])
  })

  it('has a fence that rises over a restart', async () => {
    await using app = await startApp()
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    expect((await ann.do('ann', 'lease/acquire', ARM)).fence).toBe(1)
    await app.restart()
    const again = await app.principal('ann', 'ann-password')
    expect((await again.do('ann', 'lease/list')).items).toEqual([])
    expect((await again.do('ann', 'lease/acquire', ARM)).fence).toBe(2)
  })
})

describe('the right to a lease', () => {
  it.each([
    ['the policy denies the thing to its holder', 'denied'],
    ['the policy asks an operator about every call', 'gated'],
  ])('ends with the lease when %s', async (_why, level) => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/event/lease_ended')
    const { leaseId } = await ann.do('ann', 'lease/acquire', { ...ARM, ttlSeconds: 3600 })
    const waiting = await send(bob, 'bob', 'invoke', { ...MOVE, waitSeconds: 60 })
    await admin.do('admin', 'policy/set', { principal: 'ann', nodeId: '*', capability: '*', level })
    expect((await admin.next('limb/bridge/event/lease_ended')).json).toMatchObject({
      leaseId,
      why: 'not_allowed',
    })
    await robot.answer(await robot.next())
    expect((await waiting()).ok).toBe(true)
    expect((await ann.ask('ann', 'lease/renew', { leaseId })).error.code).toBe('not_found')
  })

  it('ends with the capability, and others keep theirs', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    await ann.do('ann', 'lease/acquire', ARM)
    await ann.do('ann', 'lease/acquire', { ...ARM, capability: 'camera' })
    await robot.client.publish('limb/node/r1/register', {
      ...ROBOT,
      capabilities: ROBOT.capabilities.slice(0, 1),
    })
    await robot.client.next('limb/node/r1/pairing')
    const { items } = await ann.do('ann', 'lease/list')
    expect(items).toMatchObject([{ capability: 'camera' }])
  })

  it('outlives a change of the policy for somebody else', async () => {
    await using app = await startApp({}, { memory: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await app.admin()
    await ann.do('ann', 'lease/acquire', ARM)
    await admin.do('admin', 'policy/set', { principal: 'bob', nodeId: '*', capability: '*', level: 'denied' })
    await admin.do('admin', 'policy/set', {
      principal: '*',
      nodeId: 'r1',
      capability: 'saw',
      level: 'denied',
    })
    expect((await ann.do('ann', 'lease/list')).items).toHaveLength(1)
  })
})

describe('a leased call without a lease', () => {
  it('takes one for itself, others wait for it in turn, and it ends with the call', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const first = await send(ann, 'ann', 'invoke', MOVE)
    const one = await robot.next()
    expect(one.fence).toBe(1)
    expect((await bob.ask('bob', 'invoke', MOVE)).error).toMatchObject({ code: 'leased' })
    expect((await ann.ask('ann', 'invoke', MOVE)).error).toMatchObject({ code: 'leased' })
    const second = await send(bob, 'bob', 'invoke', { ...MOVE, waitSeconds: 60 })
    const third = await send(ann, 'ann', 'invoke', { ...MOVE, waitSeconds: 60 })
    expect((await bob.do('bob', 'invocation/list', { state: 'queued' })).items).toHaveLength(2)
    await robot.answer(one)
    const two = await robot.next()
    expect(two).toMatchObject({ fence: 2, principal: 'bob' })
    await robot.answer(two)
    await robot.answer(await robot.next())
    for (const answer of [first, second, third]) expect((await answer()).ok).toBe(true)
    expect((await bob.do('bob', 'lease/list')).items).toEqual([])
  })

  it('gives up when its wait is over, with the holder', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    await ann.do('ann', 'lease/acquire', { ...ARM, ttlSeconds: 600 })
    const answer = await send(bob, 'bob', 'invoke', { ...MOVE, waitSeconds: 5, idempotencyKey: 'k' })
    await bob.settle()
    app.clock.advance(5000)
    expect((await answer()).error).toMatchObject({ code: 'leased', details: { holder: 'ann' } })
    // It never ran: the same key may try again.
    expect((await bob.ask('bob', 'invoke', { ...MOVE, idempotencyKey: 'k' })).error.code).toBe('leased')
  })

  it('is checked again when its turn comes', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const admin = await app.admin()
    const { leaseId } = await ann.do('ann', 'lease/acquire', ARM)
    const answer = await send(bob, 'bob', 'invoke', { ...MOVE, waitSeconds: 60 })
    await admin.do('admin', 'policy/set', {
      principal: 'bob',
      nodeId: 'r1',
      capability: 'arm',
      level: 'denied',
    })
    await ann.do('ann', 'lease/release', { leaseId })
    expect((await answer()).error.code).toBe('denied')
    expect(robot.told).toEqual([])
    expect((await admin.do('admin', 'lease/list')).items).toEqual([])
  })

  it('of a command in two leased capabilities needs the lease of both, whichever is named', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1', TWO_NAMES)
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const go = { nodeId: 'r1', command: 'go' }
    for (const capability of ['a', 'b']) {
      const { leaseId } = await bob.do('bob', 'lease/acquire', { nodeId: 'r1', capability })
      for (const named of [{}, { capability: 'a' }, { capability: 'b' }]) {
        const { error } = await ann.ask('ann', 'invoke', { ...go, ...named })
        expect(error).toMatchObject({ code: 'leased', details: { holder: 'bob' } })
      }
      await bob.do('bob', 'lease/release', { leaseId })
    }
    // Calls that name them in different orders wait for each other in turn, not for ever.
    const calls = ['a', 'b', 'a', 'b'].map((capability) =>
      send(ann, 'ann', 'invoke', { ...go, capability, waitSeconds: 60 }),
    )
    const answers = await Promise.all(calls)
    for (const _ of calls) await robot.answer(await robot.next())
    for (const answer of answers) expect((await answer()).ok).toBe(true)
    const fences = robot.told.map(({ fence }) => fence)
    expect(fences).toEqual([...fences].sort((x, y) => x - y))
    expect((await bob.do('bob', 'lease/list')).items).toEqual([])
  })

  it('of a command in two leased capabilities keeps the first one as long as it runs, however long it waited for the second', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const robot = await worker(app, 'r1', TWO_NAMES)
    const [ann, bob] = [await agent(app, 'ann'), await agent(app, 'bob')]
    const [first, second] = [
      { nodeId: 'r1', capability: 'a' },
      { nodeId: 'r1', capability: 'b' },
    ]
    await bob.do('bob', 'lease/acquire', { ...second, ttlSeconds: 34 })
    const go = { nodeId: 'r1', command: 'go', timeoutSeconds: 30, waitSeconds: 60 }
    const answer = await send(ann, 'ann', 'invoke', go)
    await ann.settle()
    app.clock.advance(34_000)
    const invocation = await robot.next()
    app.clock.advance(5_000)
    expect((await bob.ask('bob', 'lease/acquire', first)).error).toMatchObject({
      code: 'leased',
      details: { holder: 'ann' },
    })
    await robot.answer(invocation)
    expect((await answer()).ok).toBe(true)
    expect((await bob.do('bob', 'lease/acquire', first)).principal).toBe('bob')
  })

  it('does not run under the lease of a capability that decides no more', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const [a, b] = TWO_NAMES.capabilities
    const robot = await worker(app, 'r1', { ...TWO_NAMES, capabilities: [{ ...b, authLevel: 'free' }, a] })
    const [ann, bob, cat] = [await agent(app, 'ann'), await agent(app, 'bob'), await agent(app, 'cat')]
    const admin = await app.admin()
    const { leaseId } = await bob.do('bob', 'lease/acquire', { nodeId: 'r1', capability: 'a' })
    await cat.do('cat', 'lease/acquire', { nodeId: 'r1', capability: 'b' })
    const answer = await send(ann, 'ann', 'invoke', { nodeId: 'r1', command: 'go', waitSeconds: 1 })
    const entry = { principal: '*', nodeId: 'r1', capability: 'b', level: 'leased' }
    await admin.do('admin', 'policy/set', entry)
    await bob.do('bob', 'lease/release', { leaseId })
    app.clock.advance(1000)
    expect((await answer()).error).toMatchObject({ code: 'leased', details: { holder: 'cat' } })
    expect(robot.told).toEqual([])
    expect((await admin.do('admin', 'lease/list')).items).toMatchObject([{ principal: 'cat' }])
  })
})

describe('a call in the queue for a lease', () => {
  it.each([
    ['its limb is revoked', 'not_found', 'r1 has been revoked', 'failed'],
    ['the policy comes to deny it', 'denied', 'the policy denies arm of r1 to bob', 'denied'],
    ['its limb goes offline', 'node_offline', 'r1 is offline (deregistered)', 'failed'],
    ['its command is withdrawn', 'unknown_command', 'arm.move is not an approved command', 'failed'],
  ])('is told at once that %s', async (how, code, message, state) => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const [ann, bob, cid] = [await agent(app, 'ann'), await agent(app, 'bob'), await agent(app, 'cid')]
    const admin = await app.admin()
    await ann.do('ann', 'lease/acquire', { ...ARM, ttlSeconds: 3600 })
    const answer = await send(bob, 'bob', 'invoke', { ...MOVE, waitSeconds: 3600, idempotencyKey: 'k' })
    const other = await send(cid, 'cid', 'lease/acquire', { ...ARM, waitSeconds: 3600 })
    expect((await bob.do('bob', 'invocation/list', { state: 'queued' })).items).toHaveLength(1)
    const policy = { principal: 'bob', nodeId: '*', capability: 'arm', level: 'denied' }
    if (how.includes('revoked')) await admin.do('admin', 'node/revoke', { nodeId: 'r1' })
    else if (how.includes('policy')) await admin.do('admin', 'policy/set', policy)
    else if (how.includes('offline')) await robot.client.publish('limb/node/r1/deregister')
    else {
      const capabilities = ROBOT.capabilities.filter(({ cap }) => cap !== 'arm')
      await robot.client.publish('limb/node/r1/register', { ...ROBOT, capabilities })
    }
    const { error } = await answer()
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
    expect(error.details).toEqual({ invocationId: expect.any(String), nodeId: 'r1' })
    const ended = await admin.do('admin', 'audit/list', { kind: 'invocation.ended' })
    expect(ended.items).toMatchObject([{ outcome: state, detail: { code, principal: 'bob' } }])
    // Those who may still wait keep their places: the queue has one of them, and none of the call.
    if (code === 'denied' || code === 'node_offline') {
      const { items } = await admin.do('admin', 'lease/list')
      expect(items).toMatchObject([{ principal: 'ann', queued: 1 }])
      await ann.do('ann', 'lease/release', { leaseId: items[0].leaseId })
      expect((await other()).data).toMatchObject({ principal: 'cid', queued: 0 })
    }
    expect(robot.told).toEqual([])
  })

  it('goes on waiting when the policy changes for others, and while its limb is only losing its connection', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const [ann, bob] = [await agent(app, 'ann'), await agent(app, 'bob')]
    const admin = await app.admin()
    const { leaseId } = await ann.do('ann', 'lease/acquire', ARM)
    const answer = await send(bob, 'bob', 'invoke', { ...MOVE, waitSeconds: 60 })
    robot.client.cut()
    await robot.client.ended()
    const about = { nodeId: '*', capability: 'arm', level: 'denied' }
    await admin.do('admin', 'policy/set', { principal: 'cid', ...about })
    await admin.do('admin', 'policy/set', { principal: '*', ...about, level: 'leased' })
    const again = await attend(app, 'r1', await app.device('r1', keyOf('r1')))
    await ann.do('ann', 'lease/release', { leaseId })
    await again.answer(await again.next())
    expect((await answer()).ok).toBe(true)
  })

  it('ends as denied on record when its principal is removed', async () => {
    await using app = await startApp({}, { memory: true })
    await worker(app, 'r1')
    const [ann, bob] = [await agent(app, 'ann'), await agent(app, 'bob')]
    const admin = await app.admin()
    await ann.do('ann', 'lease/acquire', ARM)
    await send(bob, 'bob', 'invoke', { ...MOVE, waitSeconds: 60, idempotencyKey: 'k' })
    await admin.do('admin', 'principal/remove', { name: 'bob' })
    const error = { code: 'denied', message: 'bob has been removed' }
    await expect
      .poll(async () => (await admin.do('admin', 'invocation/list')).items)
      .toMatchObject([{ state: 'denied', error }])
    const { items } = await admin.do('admin', 'audit/list', { kind: 'invocation.ended' })
    expect(items).toMatchObject([{ outcome: 'denied', detail: { code: 'denied', principal: 'bob' } }])
  })

  it('that was refused for its key keeps no place there, so that nothing is locked for it', async () => {
    await using app = await startApp({ invocation: { maxKeysPerPrincipal: 1 } }, { memory: true })
    const robot = await worker(app, 'r1')
    const [ann, bob] = [await agent(app, 'ann'), await agent(app, 'bob')]
    const first = await send(bob, 'bob', 'invoke', { ...MOVE, idempotencyKey: 'one' })
    await robot.answer(await robot.next())
    expect((await first()).ok).toBe(true)
    const { leaseId } = await ann.do('ann', 'lease/acquire', ARM)
    const second = { ...MOVE, waitSeconds: 60, idempotencyKey: 'two' }
    expect((await bob.ask('bob', 'invoke', second)).error.code).toBe('too_many_requests')
    expect((await ann.do('ann', 'lease/list')).items).toMatchObject([{ queued: 0 }])
    await ann.do('ann', 'lease/release', { leaseId })
    expect(await ann.do('ann', 'lease/acquire', ARM)).toMatchObject({ principal: 'ann' })
  })

  it('is told that the bridge stops, and that it did not run', async () => {
    await using app = await startApp()
    await worker(app, 'r1')
    const [ann, bob] = [await agent(app, 'ann'), await agent(app, 'bob')]
    await ann.do('ann', 'lease/acquire', ARM)
    const keyed = { ...MOVE, waitSeconds: 60, idempotencyKey: 'k' }
    const answer = await send(bob, 'bob', 'invoke', keyed)
    await bob.settle()
    await app.restart()
    const message = expect.stringMatching(/^bridge restarted: .* did not run/)
    expect((await answer()).error).toMatchObject({ code: 'internal', message })
    const again = await app.principal('bob', 'bob-password')
    expect((await again.ask('bob', 'invoke', keyed)).error).toMatchObject({ code: 'internal', message })
    const { items } = await again.do('bob', 'invocation/list')
    expect(items).toMatchObject([{ state: 'interrupted', error: { code: 'internal', message } }])
  })
})

describe('a principal that waits for the same lease more than once', () => {
  it('is served in the order of asking: its call first, and then its lease, which others wait for', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const [ann, bob, cid] = [await agent(app, 'ann'), await agent(app, 'bob'), await agent(app, 'cid')]
    const { leaseId } = await ann.do('ann', 'lease/acquire', ARM)
    const calls = [
      await send(bob, 'bob', 'invoke', { ...MOVE, waitSeconds: 60 }),
      await send(bob, 'bob', 'invoke', { ...MOVE, waitSeconds: 60 }),
    ]
    const acquired = await send(bob, 'bob', 'lease/acquire', { ...ARM, waitSeconds: 60 })
    const other = await send(cid, 'cid', 'lease/acquire', { ...ARM, waitSeconds: 60 })
    await cid.settle()
    await ann.do('ann', 'lease/release', { leaseId })
    for (const [at, call] of calls.entries()) {
      const invocation = await robot.next()
      expect(invocation.fence).toBe(at + 2)
      await robot.answer(invocation)
      expect((await call()).ok).toBe(true)
    }
    const { data } = await acquired()
    expect(data).toMatchObject({ principal: 'bob', fence: 4, queued: 1 })
    await bob.do('bob', 'lease/release', { leaseId: data.leaseId })
    expect((await other()).data).toMatchObject({ principal: 'cid', fence: 5 })
  })

  it('gets one lease for all of its sessions, with its calls under it, as if it took it again', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const [ann, bob, cid] = [await agent(app, 'ann'), await agent(app, 'bob'), await agent(app, 'cid')]
    const { leaseId } = await ann.do('ann', 'lease/acquire', ARM)
    const first = await send(bob, 'bob', 'lease/acquire', { ...ARM, ttlSeconds: 60, waitSeconds: 60 })
    const other = await send(cid, 'cid', 'lease/acquire', { ...ARM, waitSeconds: 60 })
    const call = await send(bob, 'bob', 'invoke', { ...MOVE, waitSeconds: 60 })
    const second = await send(bob, 'bob', 'lease/acquire', { ...ARM, ttlSeconds: 600, waitSeconds: 60 })
    await bob.settle()
    await ann.do('ann', 'lease/release', { leaseId })
    const [one, two] = [(await first()).data, (await second()).data]
    expect(two).toMatchObject({ leaseId: one.leaseId, fence: one.fence, principal: 'bob' })
    expect(Date.parse(two.expiresAt) - Date.now()).toBeGreaterThan(500_000)
    const invocation = await robot.next()
    expect(invocation).toMatchObject({ principal: 'bob', fence: one.fence })
    await robot.answer(invocation)
    expect((await call()).ok).toBe(true)
    // The end of the call has not ended what its principal holds.
    expect((await bob.do('bob', 'lease/list')).items).toMatchObject([{ leaseId: one.leaseId, queued: 1 }])
    await bob.do('bob', 'lease/release', { leaseId: one.leaseId })
    expect((await other()).data.principal).toBe('cid')
  })

  it('is served although the session that asked first has gone', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const [ann, bob] = [await agent(app, 'ann'), await agent(app, 'bob')]
    const gone = await app.principal('bob', 'bob-password')
    const { leaseId } = await ann.do('ann', 'lease/acquire', ARM)
    await send(gone, 'bob', 'lease/acquire', { ...ARM, waitSeconds: 60 })
    await send(gone, 'bob', 'invoke', { ...MOVE, params: 'of nobody', waitSeconds: 60 })
    await gone.settle()
    await gone.end()
    const call = await send(bob, 'bob', 'invoke', { ...MOVE, waitSeconds: 60 })
    await bob.settle()
    await ann.do('ann', 'lease/release', { leaseId })
    await robot.answer(await robot.next())
    expect((await call()).ok).toBe(true)
    expect(robot.told).toHaveLength(1)
    expect((await ann.do('ann', 'lease/list')).items).toEqual([])
  })

  it('runs no call of a session that has gone under a lease that another one gets', async () => {
    await using app = await startApp({}, { memory: true })
    const robot = await worker(app, 'r1')
    const [ann, bob] = [await agent(app, 'ann'), await agent(app, 'bob')]
    const gone = await app.principal('bob', 'bob-password')
    const { leaseId } = await ann.do('ann', 'lease/acquire', ARM)
    const acquired = await send(bob, 'bob', 'lease/acquire', { ...ARM, waitSeconds: 60 })
    await bob.settle()
    await send(gone, 'bob', 'invoke', { ...MOVE, waitSeconds: 60 })
    await send(gone, 'bob', 'invoke', { ...MOVE, params: 'kept', waitSeconds: 60, idempotencyKey: 'k' })
    await gone.settle()
    await gone.end()
    await ann.do('ann', 'lease/release', { leaseId })
    expect((await acquired()).data.principal).toBe('bob')
    // The one with a key can be asked for later.
    const invocation = await robot.next()
    expect(invocation.params).toBe('kept')
    await robot.answer(invocation)
    const states = async () =>
      (await bob.do('bob', 'invocation/list')).items.map(({ state }: { state: string }) => state)
    await expect.poll(states).toEqual(['done', 'cancelled'])
    expect(robot.told).toHaveLength(1)
  })
})

/** One command under two names. */
const TWO_NAMES = {
  displayName: 'Robot',
  platform: 'linux',
  capabilities: [
    { cap: 'a', commands: ['go'], authLevel: 'leased' },
    { cap: 'b', commands: ['go'], authLevel: 'leased' },
  ],
}
