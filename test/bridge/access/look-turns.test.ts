import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { LeaseRights } from '../../../src/bridge/access/lease-rights.ts'
import type { Leases } from '../../../src/bridge/access/leases.ts'
import type { Policies } from '../../../src/bridge/access/policies.ts'
import { QueuedInvocations } from '../../../src/bridge/invocation/queued-invocations.ts'
import { Refusal } from '../../../src/kernel/errors.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const MANY = 100
const MOST_IN_A_TURN = 10
const ANY = { principal: '*', nodeId: '*' }
const all = Array.from({ length: MANY }, (_, i) => i)

/** Returns the most that was done in one turn of the event loop until all was. */
async function mostInATurn(done: () => number): Promise<number> {
  let most = 0
  for (let before = 0; done() < MANY; before = done()) {
    await turn()
    most = Math.max(most, done() - before)
  }
  return most
}

test('after a change of the policy leases are looked at in turns of the event loop', async () => {
  const clock = new FakeClock()
  let ended = 0
  const wish = { principal: 'bot', nodeId: 'r1', capability: 'arm', single: false }
  const leases = { values: () => all.map(() => ({ wish })), end: () => ended++ }
  const policies = {
    async decide() {
      clock.standStill(1)
      return { level: 'denied' }
    },
  }
  const rights = new LeaseRights({ clock } as never, {
    registry: new Map() as never,
    policies: policies as unknown as Policies,
    leases: leases as unknown as Leases,
  })
  const looked = rights.look(ANY)
  expect(await mostInATurn(() => ended)).toBeLessThanOrEqual(MOST_IN_A_TURN)
  await looked
})

test('invocations that wait for their lease are looked at so too', async () => {
  const clock = new FakeClock()
  let cancelled = 0
  const waiting = () => ({ record: { ...ANY, state: 'queued' }, wish: {}, wait: {} })
  const invocations = { open: new Map(all.map((i) => [`iv_${i}`, waiting()])), cancel: () => cancelled++ }
  const targets = {
    async check() {
      clock.standStill(1)
      throw new Refusal('denied', 'no')
    },
  }
  const queued = new QueuedInvocations(invocations as never, targets as never, clock)
  const looked = queued.look(ANY)
  expect(await mostInATurn(() => cancelled)).toBeLessThanOrEqual(MOST_IN_A_TURN)
  await looked
})
