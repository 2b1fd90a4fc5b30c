import { describe, expect, it } from 'vitest'
import { startApp, type TestApp } from '../../support/app.ts'
import type { Loose, TestClient } from '../../support/client.ts'
import { agent, send, type Worker, worker } from '../../support/worker.ts'

const ARM = { nodeId: 'r1', capability: 'arm' }
const MOVE = { nodeId: 'r1', command: 'arm.move' }

interface Scene {
  readonly app: TestApp
  readonly robot: Worker
  readonly ann: TestClient
  readonly bob: TestClient
  /** What ann's invocation was told as, and its answer. */
  readonly told: Loose
  readonly answer: () => Promise<Loose>
  readonly leaseId: string
}

/** ann holds a lease, and an invocation of hers runs under it. */
async function scene(app: TestApp): Promise<Scene> {
  const robot = await worker(app, 'r1')
  const [ann, bob] = [await agent(app, 'ann'), await agent(app, 'bob')]
  const { leaseId } = await ann.do('ann', 'lease/acquire', { ...ARM, ttlSeconds: 1 })
  const answer = await send(ann, 'ann', 'invoke', { ...MOVE, timeoutSeconds: 20 })
  return { app, robot, ann, bob, told: await robot.next(), answer, leaseId }
}

const ENDS: [string, (scene: Scene) => Promise<unknown>][] = [
  ['whose time is up', async ({ app }) => app.clock.advance(1000)],
  ['that its holder releases', ({ ann, leaseId }) => ann.do('ann', 'lease/release', { leaseId })],
  [
    'that an operator ends',
    async ({ app, leaseId }) => (await app.admin()).do('admin', 'lease/release', { leaseId }),
  ],
  [
    'that the policy takes away',
    async ({ app }) =>
      (await app.admin()).do('admin', 'policy/set', {
        principal: 'ann',
        nodeId: 'r1',
        capability: 'arm',
        level: 'denied',
      }),
  ],
]

describe.each(ENDS)('a lease %s while an invocation runs under it', (_how, end) => {
  it('keeps everybody out until that invocation has ended', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const begun = await scene(app)
    const { robot, bob, told, answer } = begun
    await end(begun)
    const refused = await bob.ask('bob', 'invoke', MOVE)
    expect(refused.error).toMatchObject({
      code: 'leased',
      message: expect.stringContaining('an invocation of ann still runs on arm of r1'),
      details: { holder: 'ann' },
    })
    expect((await bob.ask('bob', 'lease/acquire', ARM)).error.code).toBe('leased')
    expect((await bob.do('bob', 'lease/list')).items).toEqual([])
    const waits = await send(bob, 'bob', 'invoke', { ...MOVE, command: 'arm.home', waitSeconds: 60 })
    await bob.settle()
    expect(robot.told).toHaveLength(1)
    await robot.answer(told)
    expect((await answer()).ok).toBe(true)
    const next = await robot.next()
    expect(next.principal).toBe('bob')
    await robot.answer(next)
    expect((await waits()).ok).toBe(true)
  })

  it('keeps them out no longer than until the deadline of that invocation', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const begun = await scene(app)
    const { bob, answer } = begun
    await end(begun)
    const waits = await send(bob, 'bob', 'lease/acquire', { ...ARM, waitSeconds: 60 })
    await bob.settle()
    app.clock.advance(20_000)
    expect((await answer()).error.code).toBe('timeout')
    expect((await waits()).data.principal).toBe('bob')
  })
})

describe.each([
  ['under its own lease', true],
  ['under one that was taken for it', false],
])('an invocation %s whose principal is removed', (_how, holds) => {
  it('keeps others out until it has ended, and ends as what became of it', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const robot = await worker(app, 'r1')
    const [ann, bob] = [await agent(app, 'ann'), await agent(app, 'bob')]
    if (holds) await ann.do('ann', 'lease/acquire', ARM)
    const keyed = { ...MOVE, timeoutSeconds: 20, idempotencyKey: 'k' }
    await send(ann, 'ann', 'invoke', keyed)
    const told = await robot.next()
    const admin = await app.admin()
    await admin.do('admin', 'principal/remove', { name: 'ann' })
    expect((await bob.ask('bob', 'invoke', MOVE)).error).toMatchObject({
      code: 'leased',
      details: { holder: 'ann' },
    })
    const waits = await send(bob, 'bob', 'invoke', { ...MOVE, waitSeconds: 60 })
    await bob.settle()
    expect(robot.told).toHaveLength(1)
    // Another principal of the same name has no part in it.
    const other = await agent(app, 'ann')
    expect((await other.ask('ann', 'invoke', keyed)).error.code).toBe('leased')
    await robot.answer(told)
    const next = await robot.next()
    expect(next.principal).toBe('bob')
    await robot.answer(next)
    expect((await waits()).ok).toBe(true)
    const again = await send(other, 'ann', 'invoke', keyed)
    await robot.answer(await robot.next())
    expect((await again()).ok).toBe(true)
    const { items } = await admin.do('admin', 'invocation/list', { principal: 'ann' })
    expect(items.map(({ state }: Loose) => state)).toEqual(['done', 'done'])
  })
})

describe('lease/acquire', () => {
  it('says of a free capability that the lease keeps nobody out, and nothing of a leased one', async () => {
    await using app = await startApp({}, { memory: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const free = await ann.do('ann', 'lease/acquire', { nodeId: 'r1', capability: 'camera' })
    expect(free.warning).toContain('keeps nobody out')
    expect(await ann.do('ann', 'lease/acquire', ARM)).not.toHaveProperty('warning')
  })
})
