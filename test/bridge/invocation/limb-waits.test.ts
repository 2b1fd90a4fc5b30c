import { expect, test } from 'vitest'
import { LimbWaits } from '../../../src/bridge/invocation/limb-waits.ts'
import type { OpenInvocation } from '../../../src/bridge/invocation/open-invocation.ts'

type Settings = ConstructorParameters<typeof LimbWaits>[0]

test('invocations go to their limb in the order of asking, also when the store answered in another one', async () => {
  let isThere = false
  const waits = new LimbWaits({ maxOfflinePerNode: 10 } as Settings, () => isThere)
  const asked = [1, 2, 3].map(() => {
    const wish = { place: waits.nextPlace() }
    return { wish, record: { nodeId: 'r1' } } as unknown as OpenInvocation
  })
  const went: number[] = []
  // The second one had a key to be looked up.
  const waiting = [0, 2, 1].map(async (n) => {
    const invocation = asked[n] as OpenInvocation
    await waits.wait(invocation, false)
    went.push(n)
    waits.passed(invocation)
    waits.look('r1')
  })
  expect(waits.size).toBe(3)
  isThere = true
  waits.look('r1')
  await Promise.all(waiting)
  expect(went).toEqual([0, 1, 2])
})
