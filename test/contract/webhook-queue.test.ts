import { expect, test } from 'vitest'
import { createStore } from '../../src/store/sqlite/store.ts'
import { createWebhookQueue } from '../../src/store/sqlite/webhook-queue.ts'
import { opened } from '../store/fixture.ts'
import { patience } from '../support/patience.ts'
import { webhookQueueContract } from './webhook-queue.contract.ts'

webhookQueueContract('SQLite', async () => {
  const database = opened(':memory:')
  return { queue: createWebhookQueue(database), store: createStore(database) }
})

test('a queue that is full costs as little as one that is not', async () => {
  const queue = createWebhookQueue(opened(':memory:'))
  const full = 10_000
  const some = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      webhook: 'hook',
      deliveryId: `d${i}`,
      kind: `kind-${i % 5}`,
      urgent: false,
      payload: '{}',
      expiresAt: 9,
    }))
  await queue.put(some(full), () => full)
  const before = process.threadCpuUsage()
  expect(await queue.put(some(1000), () => full)).toEqual(new Map([['hook', 1000]]))
  const { user, system } = process.threadCpuUsage(before)
  // A look at all of them for each that goes took more than a second.
  expect((user + system) / 1000).toBeLessThan(patience(300))
})
