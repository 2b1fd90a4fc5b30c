import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Leases } from '../../../src/bridge/access/leases.ts'
import { Announcer } from '../../../src/bridge/live/announcer.ts'
import { start } from '../fixture.ts'

const MANY = 60
/** Each publication takes a millisecond, as hundreds who watch make it; a turn that the test takes may see two of the bridge. */
const MOST_IN_A_TURN = 10

async function watched() {
  const { ask, clock, context, core } = await start()
  const topics: string[] = []
  context.publisher.publish = (topic) => {
    topics.push(topic)
    clock.standStill(1)
  }
  const announcer = new Announcer(context, core.registry, core.pending)
  /** Returns how many were published in the turn of the event loop with most, until `count` were. */
  const mostInATurn = async (count: number) => {
    let most = 0
    for (let before = topics.length; topics.length < count; before = topics.length) {
      await turn()
      most = Math.max(most, topics.length - before)
    }
    return most
  }
  /** Approves limbs, and returns them. */
  const limbs = async () => {
    const names = Array.from({ length: MANY }, (_, i) => `cam${i}`)
    await ask('node/import', { nodes: names.map((nodeId) => ({ nodeId })) })
    // Its answer comes last.
    while (!topics.at(-1)?.includes('/response/')) await turn()
    topics.length = 0
    return names.map((nodeId) => core.registry.require(nodeId))
  }
  return { announcer, ask, clock, context, limbs, topics, mostInATurn }
}

test('leases that end at one moment are told of in turns of the event loop, and requests wait meanwhile', async () => {
  const { announcer, context, topics, mostInATurn } = await watched()
  const leases = new Leases(context, announcer)
  for (let i = 0; i < MANY; i++) {
    const wish = {
      leaseId: `lease-${i}`,
      principal: 'bot',
      nodeId: `cam${i}`,
      capability: 'x',
      ttlMs: 60_000,
      single: false,
    }
    await leases.take(wish, 0, () => true).held
  }
  await mostInATurn(MANY)
  topics.length = 0
  leases.principalGone('bot')
  expect(topics).toEqual([])
  await turn()
  await turn()
  expect(announcer.isBehind).toBe(true)
  expect(await mostInATurn(MANY)).toBeLessThanOrEqual(MOST_IN_A_TURN)
  await turn()
  expect(announcer.isBehind).toBe(false)
  expect(new Set(topics)).toEqual(new Set(['limb/bridge/event/lease_ended']))
  leases.stop()
})

test('limbs that change at one moment are told of so too, each once and with its newest state', async () => {
  const { announcer, limbs, topics, mostInATurn } = await watched()
  const all = await limbs()
  for (let times = 0; times < 3; times++) {
    for (const limb of all) {
      announcer.state(limb)
      announcer.description(limb)
    }
  }
  expect(topics.length).toBeLessThanOrEqual(MOST_IN_A_TURN)
  const expected = 2 * MANY
  expect(await mostInATurn(expected)).toBeLessThanOrEqual(MOST_IN_A_TURN)
  await turn()
  await turn()
  expect(new Set(topics).size).toBe(expected)
  // Those that were published at once, when there was time, and changed again.
  expect(topics.length - expected).toBeLessThanOrEqual(MOST_IN_A_TURN)
})

test('the state of a limb that is due goes with its status before it, and not at all when the limb is gone', async () => {
  const { announcer, ask, limbs, topics, mostInATurn } = await watched()
  const all = await limbs()
  for (const limb of all) announcer.state(limb)
  const [changed, gone] = all.slice(-2)
  if (!changed || !gone) throw new Error('there are too few')
  announcer.status(changed)
  const ofChanged = () => topics.filter((topic) => topic.startsWith(`limb/node/${changed.record.nodeId}/`))
  expect(ofChanged().map((topic) => topic.split('/').at(-1))).toEqual(['state', 'status'])
  await ask('node/revoke', { nodeId: gone.record.nodeId })
  await mostInATurn(MANY)
  while (announcer.isBehind) await turn()
  expect(ofChanged()).toHaveLength(2)
  const stateOfGone = `limb/node/${gone.record.nodeId}/state`
  // Its end alone, by the announcer of the core.
  expect(topics.filter((topic) => topic === stateOfGone)).toHaveLength(1)
})

test('the description of a limb that is due goes before its status, and once', async () => {
  const { announcer, limbs, topics, mostInATurn } = await watched()
  const all = await limbs()
  for (const limb of all) announcer.description(limb)
  const added = all.at(-1)
  if (!added) throw new Error('there are too few')
  const ofAdded = () => topics.filter((topic) => topic.startsWith(`limb/node/${added.record.nodeId}/`))
  expect(ofAdded()).toEqual([])
  announcer.status(added)
  await mostInATurn(MANY)
  while (announcer.isBehind) await turn()
  expect(ofAdded().map((topic) => topic.split('/').at(-1))).toEqual(['description', 'state', 'status'])
})

test('an event that is told at once goes behind those that are due, for who watches and for webhooks', async () => {
  const { announcer, topics, mostInATurn } = await watched()
  const heard: string[] = []
  announcer.onEvent = (kind) => heard.push(kind)
  const removed = () => announcer.event('principal_removed', { name: 'bot', by: 'ada' })
  removed()
  expect(heard).toEqual(['principal_removed'])
  for (let i = 0; i < MANY; i++) announcer.eventSoon('node_updated', { nodeId: `cam${i}` })
  await turn()
  await turn()
  expect(announcer.isBehind).toBe(true)
  announcer.event('node_revoked', { nodeId: 'cam0', by: 'ada' })
  announcer.eventSoon('node_updated', { nodeId: 'cam1' })
  expect(await mostInATurn(MANY + 3)).toBeLessThanOrEqual(MOST_IN_A_TURN)
  const updates = Array.from({ length: MANY }, () => 'node_updated')
  expect(heard).toEqual(['principal_removed', ...updates, 'node_revoked', 'node_updated'])
  expect(topics).toEqual(heard.map((kind) => `limb/bridge/event/${kind}`))
  // Nothing is due any more.
  removed()
  expect(heard.at(-1)).toBe('principal_removed')
})

test('approvals that end at one moment are told of so too, each after its beginning', async () => {
  const { announcer, topics, mostInATurn } = await watched()
  const ids = Array.from({ length: MANY }, (_, i) => `iv_${i}`)
  for (const invocationId of ids) announcer.approval({ invocationId } as never)
  for (const invocationId of ids) announcer.approvalGone(invocationId)
  expect(topics.length).toBeLessThanOrEqual(MOST_IN_A_TURN)
  expect(await mostInATurn(2 * MANY)).toBeLessThanOrEqual(MOST_IN_A_TURN)
  expect(topics.slice(MANY)).toEqual(topics.slice(0, MANY))
})

test('what waits to be told is told at a stop', async () => {
  const { announcer, topics } = await watched()
  for (let i = 0; i < MANY; i++) announcer.approvalGone(`iv_${i}`)
  await turn()
  await turn()
  expect(topics.length).toBeLessThan(MANY)
  announcer.stop()
  expect(topics).toHaveLength(MANY)
})

test('a stop tells the events that are due in their order, those after it at once, and leaves no timer', async () => {
  const { announcer, clock, topics } = await watched()
  const timers = clock.timers
  const request = { requestId: 'pr_1', nodeId: 'cam' } as never
  // The second change of a second waits.
  announcer.requestChanged(request)
  announcer.requestChanged(request)
  expect(clock.timers).toBeGreaterThan(timers)
  announcer.eventSoon('node_updated', { nodeId: 'cam' })
  announcer.event('node_revoked', { nodeId: 'cam', by: 'ada' })
  expect(topics).toEqual([])
  announcer.stop()
  announcer.eventSoon('node_renamed', { nodeId: 'cam1', displayName: 'x', by: 'ada' })
  announcer.event('node_revoked', { nodeId: 'cam1', by: 'ada' })
  expect(topics.map((topic) => topic.split('/').at(-1))).toEqual([
    'node_updated',
    'node_revoked',
    'node_renamed',
    'node_revoked',
  ])
  expect(clock.timers).toBe(timers)
})
