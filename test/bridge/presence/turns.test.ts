import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Announcer } from '../../../src/bridge/live/announcer.ts'
import type { LiveLimb, Registry } from '../../../src/bridge/live/registry.ts'
import { StateRefresh } from '../../../src/bridge/presence/state-refresh.ts'
import { StatusPace } from '../../../src/bridge/presence/status-pace.ts'
import type { BridgeContext } from '../../../src/bridge/settings.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const LIMBS = 20
/** The time that it takes to tell all sessions of one change. */
const PUBLISH_MS = 2
/** The first, those of five milliseconds, and the one that goes beyond them. */
const MOST = 4

/** Lets time pass a bit at a time, each in a turn of its own, until all was published; returns the most of a turn. */
async function mostInATurn(clock: FakeClock, stepMs: number, published: () => number, all: number) {
  let most = 0
  for (let before = published(); before < all; before = published()) {
    await turn()
    clock.advance(stepMs)
    most = Math.max(most, published() - before)
  }
  return most
}

test('changes of very many limbs that waited are published in turns, and none waits for ever', async () => {
  const clock = new FakeClock()
  const published: LiveLimb[] = []
  const pace = new StatusPace({
    clock,
    changesPerSecond: () => 1,
    publish(limb) {
      published.push(limb)
      clock.standStill(PUBLISH_MS)
    },
    flaps: () => undefined,
  })
  const limbs = Array.from({ length: LIMBS }, () => ({ status: 'online' }) as LiveLimb)
  // Its burst is two changes, and the third one waits.
  for (let i = 0; i < 3; i++) for (const limb of limbs) pace.changed(limb, 'offline')
  published.length = 0
  const everybody = () => new Set(published).size
  const most = await mostInATurn(
    clock,
    20,
    () => {
      // Those that were published change again at once.
      for (const limb of new Set(published)) pace.changed(limb, 'offline')
      return everybody()
    },
    LIMBS,
  )
  expect(most).toBeLessThanOrEqual(MOST)
  pace.stop()
})

test('changes that waited for a turn with time wait no longer than for that', async () => {
  const clock = new FakeClock()
  let published = 0
  const pace = new StatusPace({
    clock,
    changesPerSecond: () => 1,
    publish() {
      published++
      clock.standStill(PUBLISH_MS)
    },
    flaps: () => undefined,
  })
  const limbs = Array.from({ length: LIMBS }, () => ({ status: 'online' }) as LiveLimb)
  for (let i = 0; i < 2; i++) for (const limb of limbs) pace.changed(limb, 'offline')
  // By now each may change again, and one that does is published at the next look.
  const began = clock.monotonicMs()
  published = 0
  for (const limb of limbs) pace.changed(limb, 'offline')
  await mostInATurn(clock, 20, () => published, LIMBS)
  expect(clock.monotonicMs() - began).toBeLessThan(1500)
  pace.stop()
})

test('states of very many limbs that are old at the same moment are published again in turns', async () => {
  const clock = new FakeClock()
  let published = 0
  const announcer = {
    onState: (_limb: LiveLimb) => {},
    state() {
      published++
      clock.standStill(PUBLISH_MS)
    },
  }
  const limbs = Array.from({ length: LIMBS }, (_, i) => ({
    record: { nodeId: `cam${i}` },
    heardSinceState: true,
    statePublishedAt: clock.monotonicMs(),
  }))
  const registry = { get: (nodeId: string) => limbs.find(({ record }) => record.nodeId === nodeId) }
  const settings = { presence: { stateRefreshSeconds: 10 } }
  const refresh = new StateRefresh(
    { clock, settings } as unknown as BridgeContext,
    registry as unknown as Registry,
    announcer as unknown as Announcer,
  )
  for (const limb of limbs) announcer.onState(limb as unknown as LiveLimb)
  clock.advance(9_000)
  expect(published).toBe(0)
  expect(await mostInATurn(clock, 20, () => published, LIMBS)).toBeLessThanOrEqual(MOST)
  refresh.stop()
})
