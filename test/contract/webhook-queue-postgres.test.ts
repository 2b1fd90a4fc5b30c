import { describe, expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { openPostgres } from '../../src/store/postgres/database.ts'
import { createPostgresStore } from '../../src/store/postgres/store.ts'
import { PostgresWebhookQueue } from '../../src/store/postgres/webhook-queue.ts'
import { silent } from '../store/fixture.ts'
import { onePostgres } from '../support/one-postgres.ts'
import { webhookQueueContract } from './webhook-queue.contract.ts'

describe('on a server of PostgreSQL', () => {
  const postgres = onePostgres()
  let schemas = 0

  const open = async (schema: string) => {
    const database = openPostgres({ server: postgres.server, schema, clock: systemClock, log: silent })
    onTestFinished(() => database.close())
    const queue = new PostgresWebhookQueue(database)
    await queue.load()
    return { queue, store: createPostgresStore(database) }
  }
  webhookQueueContract('PostgreSQL', () => open(`contract_${schemas++}`))

  test('what an earlier bridge left is counted at the start', async () => {
    const first = await open('restarted')
    const waiting = { webhook: 'hook', deliveryId: 'a', kind: 'k', urgent: false, payload: '', expiresAt: 9 }
    await first.queue.put([waiting], () => 9)
    await first.store.close()
    const second = await open('restarted')
    expect(second.queue.sizes()).toEqual(new Map([['hook', 1]]))
  })
})
