import { describe, expect, test } from 'vitest'
import { spoken } from '../../support/spoken.ts'
// Its clean-up is for every suite of this file.
import { start } from '../fixture.ts'

/** Rights, limits and what keeps a bare broker's traps shut hold in MQTT 5 as in 3.1.1: the same suites, in the other version. */

spoken.version = 5

const SUITES = {
  'what stands before the parser': () => import('../guard.test.ts'),
  'what is published': () => import('../inbound.test.ts'),
  limits: () => import('../limits.test.ts'),
  strangers: () => import('../strangers.test.ts'),
  'wide filters': () => import('../wide-filters.test.ts'),
  'readers that do not read': () => import('../pressure.test.ts'),
  'limits of subscriptions': () => import('../subscription-limits.test.ts'),
  'what was not acknowledged': () => import('../unacknowledged.test.ts'),
}

for (const [name, load] of Object.entries(SUITES)) {
  describe(`in MQTT 5, ${name}`, async () => {
    await load()
  })
}

test('the clients of these suites do speak MQTT 5', async () => {
  const { connect, broker } = await start()
  await (await connect({ username: 'viewer1' })).settle()
  expect(broker.counters.versions).toMatchObject({ 5: 1, '3.1.1': 0 })
})
