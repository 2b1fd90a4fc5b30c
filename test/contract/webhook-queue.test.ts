import { createStore } from '../../src/store/sqlite/store.ts'
import { createWebhookQueue } from '../../src/store/sqlite/webhook-queue.ts'
import { opened } from '../store/fixture.ts'
import { webhookQueueContract } from './webhook-queue.contract.ts'

webhookQueueContract('SQLite', async () => {
  const database = opened(':memory:')
  return { queue: createWebhookQueue(database), store: createStore(database) }
})
