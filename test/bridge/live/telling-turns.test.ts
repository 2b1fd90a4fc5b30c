import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Leases } from '../../../src/bridge/access/leases.ts'
import { Announcer } from '../../../src/bridge/live/announcer.ts'
import { start } from '../fixture.ts'

const MANY = 60
/** Each publication takes a millisecond, as hundreds who watch make it; a turn that the test takes may see two of the bridge. */
const MOST_IN_A_TURN = 10

async function watched() {
  const { clock, context, core } = await start()
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
  return { announcer, context, topics, mostInATurn }
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
