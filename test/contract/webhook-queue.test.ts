import { expect, test } from 'vitest'
import { createStore } from '../../src/store/sqlite/store.ts'
import { createWebhookQueue } from '../../src/store/sqlite/webhook-queue.ts'
import { opened } from '../store/fixture.ts'
import { patience } from '../support/patience.ts'
import { nodeOf } from './store.contract.ts'
import { webhookQueueContract } from './webhook-queue.contract.ts'

webhookQueueContract('SQLite', async () => {
  const database = opened(':memory:')
  return { queue: createWebhookQueue(database), store: createStore(database) }
})

test('a webhook that comes while others are pruned loses none of its deliveries, and no limb that it was told of', async () => {
  const database = opened(':memory:')
  const [queue, store] = [createWebhookQueue(database), createStore(database)]
  const nodeIds = Array.from({ length: 250 }, (_, i) => `cam-${i}`)
  await store.transact(async (tx) => {
    for (const nodeId of nodeIds) await tx.putNode(nodeOf(nodeId))
  })
  const fill = async (webhook: string) => {
    const each = { webhook, kind: 'k', urgent: false, payload: '{}', expiresAt: 1000 }
    await queue.put(
      nodeIds.map((deliveryId) => ({ ...each, deliveryId })),
      () => 1000,
    )
    await queue.setOffline(webhook, nodeIds, true)
  }
  await fill('gone')
  const names: string[] = []
  const asked: Promise<void>[] = []
  const pruned = queue.prune(0, () => {
    if (names.length === 0) {
      names.push('new')
      asked.push(fill('new'))
      return []
    }
    return names
  })
  expect(await pruned).toEqual(new Map([['gone', 250]]))
  await Promise.all(asked)
  expect(queue.sizes()).toEqual(new Map([['new', 250]]))
  expect(await queue.offline('new')).toHaveLength(250)
  expect(await queue.offline('gone')).toEqual([])
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
