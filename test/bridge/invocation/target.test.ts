import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Policies } from '../../../src/bridge/access/policies.ts'
import { OpenInvocations } from '../../../src/bridge/invocation/open-invocations.ts'
import { TargetSelector } from '../../../src/bridge/invocation/target.ts'
import type { Store } from '../../../src/bridge/ports.ts'
import type { AuthLevel } from '../../../src/protocol/names.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const LIMBS = 500
const WISH = { command: 'x.y', capability: 'x', params: {}, unchecked: true }

/** A fleet of idle limbs with one capability, and a policy that is read from a store in a millisecond. */
function fleet(levelOf: (nodeId: string) => AuthLevel) {
  const clock = new FakeClock()
  const read: string[] = []
  const limbs = Array.from({ length: LIMBS }, (_, i) => ({
    record: {
      nodeId: `n${i}`,
      capabilities: [{ cap: 'x', commands: ['x.y'], authLevel: 'free' }],
      adapter: null,
      invoke: 'mqtt',
    },
    status: 'online',
    unavailable: [],
    rule: { mode: 'heartbeat' },
  }))
  const byId = new Map(limbs.map((limb) => [limb.record.nodeId, limb]))
  const tx = {
    policiesAt: async (principal: string, nodeId: string) => {
      if (principal !== 'bot' || nodeId === '*') return []
      read.push(nodeId)
      clock.standStill(1)
      return [{ principal, nodeId, capability: 'x', level: levelOf(nodeId) }]
    },
  }
  const store = { read: async (work: (tx: unknown) => Promise<unknown>) => work(tx) } as unknown as Store
  const settings = { maxPerPrincipal: 1000, maxPerNode: 1000 }
  const selector = new TargetSelector({
    clock,
    registry: {
      offering: () => limbs,
      get: (id: string) => byId.get(id),
      require: (id: string) => byId.get(id),
    },
    policies: new Policies(store, 'free'),
    leases: { of: () => undefined },
    mqtt: { unreachable: () => undefined },
    open: new OpenInvocations(settings as never),
  } as never)
  const charged: number[] = []
  const caller = { name: 'bot', charge: (ms: number) => void charged.push(ms) }
  const select = () => selector.select(caller, 'x', WISH as never, ({ nodeId }) => nodeId)
  return { read, select, charged }
}

test('a fleet whose policy is not in memory is read no further than to the first limb that is as good as any', async () => {
  const { read, select } = fleet((nodeId) => (nodeId === 'n20' ? 'free' : 'gated'))
  expect(await select()).toBe('n20')
  expect(read.at(-1)).toBe('n20')
  expect(new Set(read).size).toBe(21)
})

test('the policy of a whole fleet is read in many turns of the event loop, on the account of who asks', async () => {
  const { read, select, charged } = fleet(() => 'denied')
  const answered = select().catch((error: { code: string }) => error.code)
  let most = 0
  for (let before = 0; read.length < LIMBS; ) {
    await turn()
    most = Math.max(most, read.length - before)
    before = read.length
  }
  expect(await answered).toBe('denied')
  expect(most).toBeLessThanOrEqual(32)
  const [all, free] = [charged.reduce((sum, ms) => sum + ms, 0), 32]
  expect(all).toBeGreaterThanOrEqual(LIMBS - free)
})
